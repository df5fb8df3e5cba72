"""Lock what ``make`` installs: ``python -m tools.trust.lock`` writes ``requirements.lock``.

Every wheel is there by version and by the hashes of all its files, for any system and Python. torch alone is
named by its version, in the Makefile: its CPU build and the ordinary one have the same version. It needs uv
(``pip install uv``). Versions stay as they are here, unless ``--upgrade``.
"""

import argparse
import importlib.metadata
import re
import subprocess
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LOCK = ROOT / "requirements.lock"
PYTHON = "3.11"
"""The oldest one; the lock has what newer ones need, too."""
WITHOUT_DEPENDENCIES = ["OpenNMT-py==3.5.1"]
"""Its declared ones are those of its training, and of an older torch."""
BESIDE = ["setuptools>=77"]
"""What installs this project itself."""
_HEADER = "# Made by `python -m tools.trust.lock`; `make` installs from it by hash. See CONTRIBUTING.md.\n"


def read_torch() -> str:
    """Return torch's CPU build as the Makefile names it."""
    version = re.search(r"^TORCH := (\S+)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert version is not None  # noqa: S101 - the Makefile has it
    return f"torch=={version[1]}+cpu"


def compile_lock(requirements: list[str], options: list[str], constraints: Path) -> str:
    """Return pins with hashes of requirements and of the project's own, as uv resolves them."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "requirements.in"
        file.write_text("\n".join([*requirements, ""]), encoding="utf-8")
        command = [
            "uv", "pip", "compile", "--quiet", "--universal", "--python-version", PYTHON, "--generate-hashes",
            "--only-binary", ":all:", "--no-annotate", "--no-header", "--no-emit-package", "torch",
            "--constraint", str(constraints), *options, str(file),
        ]  # fmt: skip
        return subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT).stdout


def list_installed() -> list[str]:
    """Return the versions of this environment, so that what is tested is what is locked."""
    return sorted(
        f"{one.metadata['Name']}=={one.version}"
        for one in importlib.metadata.distributions()
        if one.metadata["Name"] not in {"torch", "serverless-translation", "pip", "OpenNMT-py"}
    )


def main() -> None:
    """Write the lock."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--upgrade", action="store_true", help="take the newest versions that fit together")
    parser.add_argument("--find-links", default="https://download.pytorch.org/whl/cpu/torch/", metavar="URL",
                        help="where torch's CPU build is (default: %(default)s)")  # fmt: skip
    options = parser.parse_args()
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as constraints:
        constraints.write("\n".join([] if options.upgrade else list_installed()))
        constraints.flush()
        here = Path(constraints.name)
        links = ["--find-links", options.find_links]
        whole = compile_lock(
            [read_torch(), *BESIDE], [*links, "--extra", "dev", str(ROOT / "pyproject.toml")], here
        )
        alone = compile_lock(WITHOUT_DEPENDENCIES, ["--no-deps"], here)
    LOCK.write_text(_HEADER + whole + alone, encoding="utf-8")


if __name__ == "__main__":
    main()

"""Collect the layers of a release: ``python -m tools.trust.assets DIR``.

Each layer for Lambda that was built: a zip, and its bill of materials; and the sha256 of all of them.
"""

import argparse
import shutil
from pathlib import Path

from layer.builder.publish.package import pack
from layer.builder.report.sbom import SBOM
from layer.builder.tree import file_sha256

ROOT = Path(__file__).resolve().parents[2]
SUMS = "SHA256SUMS"


def collect(layers: Path, out: Path) -> list[str]:
    """Write the release of all layers for Lambda below a folder, and return the names of its files.

    Raises:
        SystemExit: there is none, or one has no bill of materials.

    """
    built = sorted(path.parent for path in layers.glob("*-python*/layer"))
    if not built:
        raise SystemExit(f"there is no layer for Lambda below {layers}; run python -m layer build first")
    out.mkdir(parents=True, exist_ok=True)
    for folder in built:
        sbom = folder / SBOM
        if not sbom.is_file():
            raise SystemExit(f"{folder} has no {sbom.name}; build the layer again")
        pack(folder / "layer", out / f"{folder.name}.zip")
        shutil.copyfile(sbom, out / f"{folder.name}.{sbom.name}")
    files = sorted(path for path in out.iterdir() if path.name != SUMS)
    (out / SUMS).write_text(
        "".join(f"{file_sha256(path)}  {path.name}\n" for path in files), encoding="utf-8"
    )
    return [*(path.name for path in files), SUMS]


def main() -> None:
    """Collect what is in ``.layers``."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("out", type=Path, metavar="DIR")
    print("\n".join(collect(ROOT / ".layers", parser.parse_args().out)))


if __name__ == "__main__":
    main()

"""Wheels and source distributions of a few lines, for pip to find in a folder."""

import io
import tarfile
import zipfile
from pathlib import Path

BACKEND = """\
import zipfile

def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    name = "{name}-1.0-{tag}.whl"
    info = "{name}-1.0.dist-info"
    contents = {{
        "{name}.py": "x = 1\\n",
        info + "/METADATA": "Metadata-Version: 2.1\\nName: {name}\\nVersion: 1.0\\n",
        info + "/WHEEL": "Wheel-Version: 1.0\\nGenerator: test\\nRoot-Is-Purelib: true\\nTag: {tag}\\n",
        info + "/LICENSE": "take it\\n",
    }}
    contents[info + "/RECORD"] = "".join(path + ",,\\n" for path in contents)
    with zipfile.ZipFile(wheel_directory + "/" + name, "w") as archive:
        for path, text in contents.items():
            archive.writestr(path, text)
    return name
"""
"""A build backend that needs no other package."""

_PROJECT = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'


def make_wheel(
    folder: Path, name: str, files: dict[str, str | bytes] | None = None, requires: tuple[str, ...] = (),
    version: str = "1.0", tag: str = "py3-none-any", python: str = "",
) -> Path:  # fmt: skip
    """Make a wheel, by default with one module of its name and for every Python, and return its path."""
    info = f"{name}-{version}.dist-info"
    needs = "".join(f"Requires-Dist: {one}\n" for one in requires)
    needs += f"Requires-Python: {python}\n" if python else ""
    contents = {
        **(files or {f"{name}.py": f'NAME = "{name}"\n'}),
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}",
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: {tag}\n",
    }
    contents[f"{info}/RECORD"] = "".join(f"{path},,\n" for path in (*contents, f"{info}/RECORD"))
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-{version}-{tag}.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for member, content in contents.items():
            archive.writestr(zipfile.ZipInfo(member), content)
    return path


def make_sdist(folder: Path, name: str, tag: str = "py3-none-any") -> Path:
    """Make a source distribution that builds a wheel of this tag, and return its path."""
    backend = BACKEND.format(name=name, tag=tag)
    info = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-1.0.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for member, text in {"PKG-INFO": info, "pyproject.toml": _PROJECT, "backend.py": backend}.items():
            entry = tarfile.TarInfo(f"{name}-1.0/{member}")
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text.encode()))
    return path

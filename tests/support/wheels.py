"""Toy wheels, and what was made of them."""

import zipfile


def wheel(folder, name, files, *requires):
    """Make a wheel, the same bytes each time."""
    info = f"{name}-1.0.dist-info"
    metadata = ["Metadata-Version: 2.1", f"Name: {name}", "Version: 1.0"]
    metadata += [f"Requires-Dist: {one}" for one in requires]
    contents = {
        **files,
        f"{info}/METADATA": "\n".join([*metadata, "", f"# {name}", ""]),
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    contents[f"{info}/RECORD"] = "".join(f"{path},,\n" for path in (*contents, f"{info}/RECORD"))
    with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w") as file:
        for path, content in contents.items():
            file.writestr(zipfile.ZipInfo(path), content)


def contents(folder):
    """Return every file's bytes."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

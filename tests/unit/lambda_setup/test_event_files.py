"""Event files of ``invoke``: which encodings are read, and how the others are refused."""

import json

import pytest

from lambda_setup.__main__ import main
from lambda_setup.errors import CommandError
from lambda_setup.events import REQUEST_LIMIT, read_event

EVENT = {"data": ["¿Qué?", "one"]}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_encodings_of_json_are_read(tmp_path, encoding):
    """UTF-8 and UTF-16 are read, with a byte order mark or without, as editors on Windows save them."""
    path = tmp_path / "event.json"
    path.write_text(json.dumps(EVENT, ensure_ascii=False), encoding=encoding)
    assert read_event(path) == EVENT


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{'data': []}", "is not JSON: .*; see events/event.json"),
        (b"", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b"1" * 5000, "is not JSON"),
        ('{"data": "ñ"}'.encode("latin-1"), "is not text in utf-8, at byte 10; save it as UTF-8"),
        (
            json.dumps({"data": "x" * REQUEST_LIMIT}).encode(),
            "6,291,468 bytes, and Lambda takes 6,291,456; send",
        ),
    ],
    ids=["other quotes", "empty", "nested too deeply", "a number that is too long", "latin-1", "too long"],
)
def test_other_files_are_refused_by_name(tmp_path, content, message):
    """The error names the file and what to do."""
    path = tmp_path / "event.json"
    path.write_bytes(content)
    with pytest.raises(CommandError, match=f"event file {path} .*{message}"):
        read_event(path)


def test_the_longest_request_is_read(tmp_path):
    """Lambda's limit counts bytes of the request as it is sent, not of the file."""
    path = tmp_path / "event.json"
    path.write_text(json.dumps({"data": "x" * (REQUEST_LIMIT - len('{"data": ""}'))}) + "\n" * 9)
    assert len(json.dumps(read_event(path))) == REQUEST_LIMIT


def test_missing_files_and_folders_are_refused(tmp_path, capsys):
    """Before anything is started, with exit code 2."""
    assert main(["invoke", "--event", str(tmp_path / "none.json")]) == 2
    assert "none.json is missing; check the path" in capsys.readouterr().err
    assert main(["invoke", "--event", str(tmp_path)]) == 2
    assert "is a folder; name a file in it" in capsys.readouterr().err

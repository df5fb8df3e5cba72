"""Models fetched from real servers: whole, checked, continued where they stopped, or not there at all."""

import hashlib
import http.server
import json
import os
import random
import re
import shutil
import sys
import threading
from pathlib import Path

import boto3
import pytest
from support.applications import create_bucket
from support.project import MODEL, ROOT

from lambda_setup.__main__ import main
from lambda_setup.deployment.local.process import Program
from lambda_setup.models.describe import describe
from lambda_setup.models.upload import publish

WEIGHTS = random.Random(1).randbytes(1_000_000)  # noqa: S311
FILES = {"weights.pt": WEIGHTS, "pieces.model": b"pieces"}
KEEP_GOING = 10**9


def sha256(data: bytes) -> str:
    """Return a digest as model.toml has it."""
    return hashlib.sha256(data).hexdigest()


def description(files=None, digests=None, name="mine", **fields) -> bytes:
    """Return a model.toml; without ``digests`` it states those of ``FILES``."""
    digests = {name: sha256(data) for name, data in FILES.items()} if digests is None else digests
    stated = {
        "name": name,
        "engine": "opennmt",
        "precision": "float16",
        "files": files or list(FILES),
        **fields,
    }
    lines = [f"{key} = {json.dumps(value)}" for key, value in stated.items()]
    lines += ["[libraries]", 'torch = "2.13.0"', "[sha256]"]
    return "\n".join(lines + [f'"{key}" = "{value}"' for key, value in digests.items()]).encode() + b"\n"


class WebServer(http.server.ThreadingHTTPServer):
    """A folder on the web, ``files``, whose faults are set by its other attributes.

    Attributes:
        ranges: it understands Range and If-Range.
        cuts: after how many bytes the connection of each of the next answers is cut.
        flips: how many of the next answers have a wrong byte.
        waits: it goes on after the first half only when this is set.
        log: what it was asked and how many bytes it answered: (name, Range, status, bytes).

    """

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), WebHandler)
        self.files = {"model.toml": description(), **FILES}
        self.ranges, self.cuts, self.flips, self.waits = True, [], 0, None
        self.log = []
        self.url = f"http://127.0.0.1:{self.server_port}/models/mine"

    def asked(self, name: str) -> list[tuple]:
        """Return what was asked of a file."""
        return [entry[1:] for entry in self.log if entry[0] == name]

    def handle_error(self, *_):
        """Say nothing: clients that are killed are what these tests are about."""


class WebHandler(http.server.BaseHTTPRequestHandler):
    """See WebServer."""

    def do_GET(self):
        server, name = self.server, self.path.removeprefix("/models/mine/")
        if self.path.startswith("/moved/"):
            self.send_response(302)
            self.send_header("Location", self.path.replace("/moved/", "/models/"))
            self.end_headers()
            return
        if name not in server.files:
            self.send_error(404)
            return
        data = server.files[name]
        tag = f'"{sha256(data)[:16]}"'
        start = 0
        asked = self.headers["Range"]
        if server.ranges and asked and self.headers["If-Range"] == tag:
            start = int(re.fullmatch(r"bytes=(\d+)-", asked)[1])
        if start and start >= len(data):
            self.send_error(416)
            return
        body = bytearray(data[start:])
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body)))
        if server.ranges:
            self.send_header("ETag", tag)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.end_headers()
        big = len(data) > 10_000
        if big and server.flips:
            server.flips -= 1
            body[-1] ^= 1
        end = server.cuts.pop(0) if big and server.cuts else KEEP_GOING
        server.log.append((name, asked, 206 if start else 200, len(body[:end])))
        if big and server.waits:
            self.wfile.write(body[: len(body) // 2])
            server.waits.wait()
            body = body[len(body) // 2 :]
        self.wfile.write(body[:end])

    def log_message(self, *_):
        """Keep the log for ourselves."""


@pytest.fixture
def web():
    """Yield a web server with a model that states its digests."""
    with WebServer() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def s3(stack):
    """Yield a bucket, ``bucket``, in a real S3."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in stack.s3.environment().items():
            patch.setenv(name, value)
        create_bucket(stack, "bucket")
        yield stack.client


@pytest.fixture
def s3_answers(monkeypatch):
    """Return the status and length of every answer to a GetObject."""
    session = boto3.Session()
    monkeypatch.setattr("lambda_setup.commands.model.download.open_session", lambda *_: session)
    answers = []

    def note(http_response, **_):
        answers.append((http_response.status_code, int(http_response.headers.get("Content-Length", 0))))

    session.events.register("after-call.s3.GetObject", note)
    return answers


@pytest.fixture(autouse=True)
def surroundings(monkeypatch):
    """Loopback is reached without a proxy."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def download(tmp_path, capfd):
    """Run the command into ``tmp_path / "model"``; return its exit code, output and errors."""

    def run(*arguments, to=tmp_path / "model"):
        code = main(["model", "download", *map(str, arguments), *(["--out", str(to)] if to else [])])
        return code, *capfd.readouterr()

    return run


def content(folder: Path) -> dict[str, bytes]:
    """Return everything in a folder, hidden or not."""
    return {path.name: path.read_bytes() for path in folder.iterdir()} if folder.exists() else {}


def refusal(result) -> str:
    """Return the message of a refusal, which is one line and nothing else."""
    code, out, err = result
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert err.startswith("error: ")
    return err


def failure(result) -> str:
    """Return the message of a failed download, which is the last line; there is no traceback."""
    code, out, err = result
    assert (code, out) == (1, "")
    assert "Traceback" not in err
    assert err.splitlines()[-1].startswith("error: ")
    return err.splitlines()[-1]


class TestHttp:
    """From a web server."""

    def test_all_of_it_and_nothing_else(self, web, download, tmp_path):
        """A download leaves the files and model.toml, and prints only the folder."""
        code, out, err = download(web.url + "/")
        assert (code, out) == (0, f"{tmp_path / 'model'}\n")
        assert "weights.pt" in err
        assert content(tmp_path / "model") == web.files
        assert describe(tmp_path / "model").name == "mine"

    def test_redirects_are_followed(self, web, download, tmp_path):
        """A folder that moved is found at its new address."""
        assert download(web.url.replace("/models/", "/moved/"))[0] == 0
        assert content(tmp_path / "model") == web.files

    def test_redirects_to_files_are_not(self, web, download, tmp_path):
        """A server cannot lead to another scheme than http and https."""

        class Elsewhere(WebHandler):
            def do_GET(self):
                self.send_response(302)
                self.send_header("Location", "ftp://127.0.0.1:9/model.toml")
                self.end_headers()

        web.RequestHandlerClass = Elsewhere
        assert "unknown url type: ftp" in failure(download(web.url))
        assert content(tmp_path) == {}

    def test_twice_fetches_once(self, web, download):
        """What is there and right is not fetched again."""
        download(web.url)
        web.log.clear()
        assert download(web.url)[0] == 0
        assert [entry[0] for entry in web.log] == ["model.toml"]

    def test_cut_connection(self, web, download, tmp_path):
        """When the connection breaks, only the rest is fetched."""
        web.cuts = [600_000]
        assert download(web.url)[0] == 0
        assert web.asked("weights.pt") == [(None, 200, 600_000), ("bytes=600000-", 206, 400_000)]
        assert content(tmp_path / "model") == web.files

    def test_gives_up_and_goes_on_later(self, web, download, tmp_path):
        """After three new connections it fails; the next run goes on where it stopped."""
        web.cuts = [100_000] * 4
        message = failure(download(web.url))
        assert "broke 4 times" in message
        assert len(web.asked("weights.pt")) == 4
        assert set(content(tmp_path / "model")) == {".weights.pt.partial", ".weights.pt.partial.etag"}
        assert download(web.url)[0] == 0
        assert web.asked("weights.pt")[-1] == ("bytes=400000-", 206, 600_000)
        assert content(tmp_path / "model") == web.files

    def test_changed_in_between(self, web, download, tmp_path):
        """A file that is another one by now is started over, and no byte of the old one stays."""
        web.cuts = [100_000] * 4
        download(web.url)
        web.files["weights.pt"] = bytes(reversed(WEIGHTS))
        web.files["model.toml"] = description(digests={n: sha256(web.files[n]) for n in FILES})
        assert download(web.url)[0] == 0
        assert web.asked("weights.pt")[-1] == ("bytes=400000-", 200, 1_000_000)
        assert content(tmp_path / "model") == web.files

    def test_without_ranges(self, web, download, tmp_path):
        """A server that cannot continue a file is asked for all of it."""
        web.ranges, web.cuts = False, [600_000]
        assert download(web.url)[0] == 0
        assert web.asked("weights.pt") == [(None, 200, 600_000), (None, 200, 1_000_000)]
        assert content(tmp_path / "model") == web.files

    def test_ranges_ignored(self, web, download, tmp_path):
        """A server that answers with the whole file when asked for a part starts it over."""
        web.cuts = [100_000] * 4
        download(web.url)
        web.ranges = False
        assert download(web.url)[0] == 0
        assert web.asked("weights.pt")[-1] == ("bytes=400000-", 200, 1_000_000)
        assert content(tmp_path / "model") == web.files

    def test_damaged_once(self, web, download, tmp_path):
        """A file that came damaged is fetched a second time, from its beginning."""
        web.flips = 1
        assert download(web.url)[0] == 0
        assert web.asked("weights.pt") == [(None, 200, 1_000_000)] * 2
        assert content(tmp_path / "model") == web.files

    def test_damaged_twice(self, web, download, tmp_path):
        """A file that is wrong again is an error and not kept, in no form and under no name."""
        web.flips = 2
        message = failure(download(web.url))
        assert f"{web.url}/weights.pt" in message
        assert sha256(WEIGHTS) in message
        assert content(tmp_path / "model") == {}

    @pytest.mark.parametrize("tag", ["", "a tag of another file", "\x00\x00", "broken\r\nHost: elsewhere"])
    def test_damaged_leftovers(self, web, download, tmp_path, tag):
        """Leftovers that do not belong to the file do no harm."""
        (tmp_path / "model").mkdir()
        (tmp_path / "model" / ".weights.pt.partial").write_bytes(b"x" * 2_000_000)
        (tmp_path / "model" / ".weights.pt.partial.etag").write_text(tag)
        assert download(web.url)[0] == 0
        assert content(tmp_path / "model") == web.files

    @pytest.mark.parametrize("size", [500_000, 2_000_000])
    def test_wrong_leftovers_with_the_right_tag(self, web, download, tmp_path, size):
        """A part that is damaged, or longer than the file, costs a second try and no more."""
        (tmp_path / "model").mkdir()
        (tmp_path / "model" / ".weights.pt.partial").write_bytes(b"x" * size)
        (tmp_path / "model" / ".weights.pt.partial.etag").write_text(f'"{sha256(WEIGHTS)[:16]}"')
        assert download(web.url)[0] == 0
        assert content(tmp_path / "model") == web.files

    def test_killed_before_its_name(self, web, download, tmp_path):
        """A whole file that only lacks its name gets it without being fetched."""
        (tmp_path / "model").mkdir()
        (tmp_path / "model" / ".weights.pt.partial").write_bytes(WEIGHTS)
        assert download(web.url)[0] == 0
        assert web.asked("weights.pt") == []
        assert content(tmp_path / "model") == web.files

    def test_killed(self, web, download, tmp_path):
        """A process killed in mid-download leaves no file under its name; the next one goes on from there."""
        web.waits = threading.Event()
        folder = tmp_path / "model"
        partial = folder / ".weights.pt.partial"
        program = Program(
            [sys.executable, ROOT / "lambda_setup/download_model.py", web.url, "--to", folder],
            env=os.environ, cwd=tmp_path, log=2, grace=0,
        )  # fmt: skip
        program.wait_until(lambda: partial.exists() and partial.stat().st_size > 0, seconds=120)
        program.stop()
        web.waits.set()
        came = partial.stat().st_size
        assert 0 < came <= 500_000
        assert set(content(folder)) == {partial.name, f"{partial.name}.etag"}
        assert download(web.url)[0] == 0
        assert web.asked("weights.pt")[-1] == (f"bytes={came}-", 206, 1_000_000 - came)
        assert content(folder) == web.files

    def test_one_at_a_time(self, web, download, tmp_path):
        """A second download into the same folder is refused, and does not disturb the first."""
        web.waits = threading.Event()
        folder = tmp_path / "model"
        first = Program(
            [sys.executable, "-m", "lambda_setup", "model", "download", web.url, "--out", folder],
            env=os.environ, cwd=ROOT, log=2, grace=0,
        )  # fmt: skip
        first.wait_until((folder / ".weights.pt.partial").exists, seconds=120)
        try:
            assert "another download" in refusal(download(web.url))
        finally:
            web.waits.set()
        first.wait_until((folder / "model.toml").exists, seconds=120)
        first.stop()
        assert content(folder) == web.files

    def test_digests_are_required(self, web, download, tmp_path):
        """A model.toml that does not state every digest is refused, and its files are not asked for."""
        web.files["model.toml"] = description(digests={"pieces.model": sha256(b"pieces")})
        assert "no sha256 of weights.pt;" in refusal(download(web.url))
        assert [entry[0] for entry in web.log] == ["model.toml"]
        assert content(tmp_path) == {}

    @pytest.mark.parametrize("case", [str.lower, str.upper])
    def test_the_chain_starts_at_the_option(self, web, download, case):
        """--sha256 says what model.toml has to be."""
        assert download(web.url, "--sha256", case(sha256(web.files["model.toml"])))[0] == 0

    def test_another_description(self, web, download, tmp_path):
        """A model.toml that is not what --sha256 says leads to nothing."""
        message = failure(download(web.url, "--sha256", "0" * 64))
        assert sha256(web.files["model.toml"]) in message
        assert content(tmp_path) == {}

    @pytest.mark.parametrize(
        "name",
        ["", ".", "..", ".hidden", "../up.pt", "/etc/passwd", "a/b", "a\\b", "C:evil", "a\x00b", "a\nb",
         "\x1b[2J", "model.toml"],
    )  # fmt: skip
    def test_hostile_names(self, web, download, tmp_path, name):
        """A name that could lead out of the folder, hide or confuse is refused before anything is fetched."""
        web.files["model.toml"] = description(files=[name], digests={})
        message = refusal(download(web.url))
        assert repr(name) in message
        assert [entry[0] for entry in web.log] == ["model.toml"]
        assert content(tmp_path) == {}

    def test_hostile_model_name(self, web, download, tmp_path, monkeypatch):
        """The model's own name cannot lead out of models/ either."""
        monkeypatch.chdir(tmp_path)
        web.files["model.toml"] = description(name="../../up")
        assert "'../../up'" in refusal(download(web.url, to=None))

    def test_the_same_name_twice(self, web, download):
        """Two files that some file systems take for one are refused."""
        web.files["model.toml"] = description(files=["a.pt", "A.pt"], digests={})
        assert "twice" in refusal(download(web.url))

    @pytest.mark.parametrize(
        "data",
        [b"<html>", b"\xff", b"", b'name = "mine"', description(files="weights.pt"),
         description(digests={"weights.pt": "abc"}), description(precision=16)],
    )  # fmt: skip
    def test_no_description(self, web, download, data):
        """What is no usable model.toml is refused with its place and the reason."""
        web.files["model.toml"] = data
        assert f"{web.url}/model.toml is not usable: " in refusal(download(web.url))

    def test_not_there(self, web, download, tmp_path):
        """A folder without model.toml is an error that says what was expected."""
        message = failure(download(f"{web.url}/nowhere"))
        assert "/models/mine/nowhere/model.toml answered 404; expected a folder" in message
        assert content(tmp_path) == {}

    def test_incomplete(self, web, download, tmp_path):
        """When a file is missing no other is put in place; when it is there again, only it is fetched."""
        data = web.files.pop("pieces.model")
        assert "pieces.model answered 404" in failure(download(web.url))
        assert set(content(tmp_path / "model")) == {".weights.pt.partial"}
        web.files["pieces.model"] = data
        assert download(web.url)[0] == 0
        assert len(web.asked("weights.pt")) == 1
        assert content(tmp_path / "model") == web.files

    def test_no_server(self, download, tmp_path):
        """A server that does not answer is an error, tried four times."""
        message = failure(download("http://127.0.0.1:9/models/mine"))
        assert "broke 4 times" in message
        assert content(tmp_path) == {}

    def test_dry_run(self, web, download, tmp_path):
        """--dry-run says what would be fetched, with sizes, and writes nothing."""
        (tmp_path / "model").mkdir()
        (tmp_path / "model" / "pieces.model").write_bytes(b"pieces")
        code, out, err = download(web.url, "--dry-run")
        assert (code, out) == (0, f"{tmp_path / 'model'}\n")
        assert "weights.pt: would fetch 1,000,000 bytes" in err
        assert "pieces.model: is there already" in err
        assert set(content(tmp_path / "model")) == {"pieces.model"}
        assert download(web.url, "--dry-run", to=tmp_path / "new")[0] == 0
        assert not (tmp_path / "new").exists()


class TestReplacing:
    """What is there already under the model's names."""

    @pytest.mark.parametrize("name", ["weights.pt", "model.toml"])
    def test_not_without_force(self, web, download, tmp_path, name):
        """Another file of the same name is neither replaced nor joined by others."""
        (tmp_path / "model").mkdir()
        (tmp_path / "model" / name).write_bytes(b"mine")
        message = refusal(download(web.url))
        assert f"another {name};" in message
        assert "--force" in message
        assert content(tmp_path / "model") == {name: b"mine"}

    @pytest.mark.parametrize("name", ["weights.pt", "model.toml"])
    def test_with_force(self, web, download, tmp_path, name):
        """--force replaces it, and leaves what is not the model's."""
        (tmp_path / "model").mkdir()
        (tmp_path / "model" / name).write_bytes(b"other")
        (tmp_path / "model" / "README.md").write_bytes(b"mine")
        assert download(web.url, "--force")[0] == 0
        assert content(tmp_path / "model") == {**web.files, "README.md": b"mine"}

    def test_between_two_models(self, web, download, tmp_path):
        """Until all of the new model is there, the old one stays as it is."""
        download(web.url)
        before = content(tmp_path / "model")
        web.files |= {"weights.pt": b"new", "pieces.model": b"new, too"}
        web.files["model.toml"] = description(digests={n: sha256(web.files[n]) for n in FILES})
        del web.files["pieces.model"]
        failure(download(web.url, "--force"))
        assert content(tmp_path / "model") == {**before, ".weights.pt.partial": b"new"}

    def test_half_replaced(self, web, download, tmp_path):
        """When only some files could be put in place, no model.toml says that they are a model."""
        folder = tmp_path / "model"
        (folder / "pieces.model").mkdir(parents=True)
        (folder / "model.toml").write_bytes(b"of another model")
        assert "pieces.model" in failure(download(web.url, "--force"))
        assert (folder / "weights.pt").read_bytes() == WEIGHTS
        assert not (folder / "model.toml").exists()
        (folder / "pieces.model").rmdir()
        assert download(web.url)[0] == 0
        assert content(folder) == web.files


class TestFolder:
    """From a folder of this machine."""

    @pytest.fixture
    def folder(self, tmp_path):
        """Return a model's folder, with a file that is not the model's."""
        folder = tmp_path / "source"
        folder.mkdir()
        for name, data in {"model.toml": description(), **FILES, "notes.txt": b"notes"}.items():
            (folder / name).write_bytes(data)
        return folder

    def test_copy(self, folder, download, tmp_path):
        """The model's files are copied, and only they."""
        assert download(folder)[:2] == (0, f"{tmp_path / 'model'}\n")
        assert content(tmp_path / "model") == {"model.toml": description(), **FILES}

    def test_without_digests(self, folder, download, tmp_path):
        """A folder does not have to state digests; the copy is compared with the original."""
        (folder / "model.toml").write_bytes(description(digests={}))
        assert download(folder)[0] == 0
        assert content(tmp_path / "model") == {"model.toml": description(digests={}), **FILES}
        (tmp_path / "model" / "pieces.model").write_bytes(b"damage")
        assert "another pieces.model;" in refusal(download(folder))

    def test_digests_are_checked(self, folder, download, tmp_path):
        """Digests that a folder states hold."""
        (folder / "pieces.model").write_bytes(b"damage")
        assert sha256(b"pieces") in failure(download(folder))
        assert set(content(tmp_path / "model")) == {".weights.pt.partial"}

    def test_in_place(self, folder, download):
        """A folder that is its own target is checked, and nothing is written."""
        before = content(folder)
        code, out, err = download(folder, to=folder)
        assert (code, out) == (0, f"{folder}\n")
        assert "all 2 files are there, 2 checked" in err
        assert content(folder) == before

    @pytest.mark.parametrize("data", [None, b"damage"])
    def test_in_place_and_not_whole(self, folder, download, data):
        """A missing or damaged file is found there."""
        (folder / "pieces.model").unlink()
        if data:
            (folder / "pieces.model").write_bytes(data)
        assert "pieces.model is missing or does not match" in failure(download(folder, to=folder))

    def test_missing_file(self, folder, download):
        """A file that is named, and not there, and has no digest, is missed too."""
        (folder / "model.toml").write_bytes(description(digests={}))
        (folder / "pieces.model").unlink()
        assert "has no pieces.model" in refusal(download(folder))

    def test_the_shipped_model_is_the_default(self, download, tmp_path, monkeypatch):
        """Without arguments the shipped model is checked where it is, wherever one stands."""
        monkeypatch.chdir(ROOT)
        assert download(to=None)[:2] == (0, "models/en-es\n")
        monkeypatch.chdir(tmp_path)
        assert download(to=None)[:2] == (0, f"{MODEL}\n")
        assert download(to=None)[2].count("en-es is in place") == 1
        assert content(tmp_path) == {}

    def test_no_model(self, download, tmp_path):
        """A folder that is none, or holds none, is refused with what is expected."""
        assert "has no model.toml; expected a folder" in refusal(download(tmp_path))
        assert "has no model.toml; expected a folder" in refusal(download(tmp_path / "nowhere"))


class TestS3:
    """From a bucket."""

    @pytest.fixture
    def prefix(self, s3, tmp_path):
        """Return a model under a prefix of its own."""
        prefix = tmp_path.name
        for name, data in {"model.toml": description(), **FILES}.items():
            s3.put_object(Bucket="bucket", Key=f"{prefix}/{name}", Body=data)
        return prefix

    @pytest.fixture
    def version(self, s3):
        """Return the shipped model as its publisher stored it."""
        publish(MODEL, s3, "bucket")
        manifest = describe(MODEL)
        return manifest, f"s3://bucket/models/{manifest.name}/versions/{manifest.version}"

    def test_prefix(self, prefix, download, tmp_path):
        """A model under a prefix is fetched as from any folder."""
        assert download(f"s3://bucket/{prefix}/")[:2] == (0, f"{tmp_path / 'model'}\n")
        assert content(tmp_path / "model") == {"model.toml": description(), **FILES}

    def test_goes_on(self, s3, prefix, download, tmp_path, s3_answers):
        """Of a file that was begun only the rest is fetched."""
        etag = s3.head_object(Bucket="bucket", Key=f"{prefix}/weights.pt")["ETag"]
        (tmp_path / "model").mkdir()
        (tmp_path / "model" / ".weights.pt.partial").write_bytes(WEIGHTS[:600_000])
        (tmp_path / "model" / ".weights.pt.partial.etag").write_text(etag)
        assert download(f"s3://bucket/{prefix}")[0] == 0
        assert s3_answers[1] == (206, 400_000)
        assert content(tmp_path / "model") == {"model.toml": description(), **FILES}

    @pytest.mark.parametrize(("size", "tag", "status"), [(600_000, '"other"', 412), (2_000_000, None, 416)])
    def test_starts_over(self, s3, prefix, download, tmp_path, s3_answers, size, tag, status):
        """What was begun of another object, or is longer than this one, is started over."""
        etag = s3.head_object(Bucket="bucket", Key=f"{prefix}/weights.pt")["ETag"]
        (tmp_path / "model").mkdir()
        (tmp_path / "model" / ".weights.pt.partial").write_bytes(b"x" * size)
        (tmp_path / "model" / ".weights.pt.partial.etag").write_text(tag or etag)
        assert download(f"s3://bucket/{prefix}")[0] == 0
        assert s3_answers[1][0] == status
        assert s3_answers[2] == (200, 1_000_000)
        assert content(tmp_path / "model") == {"model.toml": description(), **FILES}

    def test_digests_are_required(self, s3, prefix, download):
        """Over this network, too."""
        s3.put_object(Bucket="bucket", Key=f"{prefix}/model.toml", Body=description(digests={}))
        assert "no sha256 of pieces.model, weights.pt;" in refusal(download(f"s3://bucket/{prefix}"))

    def test_version(self, version, download, tmp_path):
        """A version of a model store comes with a model.toml by which it can be published again."""
        manifest, url = version
        code, out, err = download(url)
        assert (code, out) == (0, f"{tmp_path / 'model'}\n")
        assert "2 files fetched and checked, 0 were there" in err
        assert set(content(tmp_path / "model")) == {"model.toml", "en-es.pt", "enes.model"}
        again = describe(tmp_path / "model")
        assert (again.name, again.version) == (manifest.name, manifest.version)
        assert "2 checked by sha256" in download(tmp_path / "model")[2]
        assert "0 files fetched and checked, 2 were there" in download(url)[2]

    def test_damaged_part(self, s3, version, download, tmp_path):
        """A part that is not what the manifest says is an error, and the file is not there."""
        manifest, url = version
        key = f"{url.removeprefix('s3://bucket/')}/en-es.pt"
        whole = (MODEL / "en-es.pt").read_bytes()
        s3.put_object(Bucket="bucket", Key=key, Body=whole[:-1] + bytes([whole[-1] ^ 1]))
        message = failure(download(url))
        s3.put_object(Bucket="bucket", Key=key, Body=whole)
        assert manifest.files[0].parts[-1] in message
        assert content(tmp_path / "model") == {}

    def test_damaged_manifest(self, s3, version, download):
        """A manifest that is not what the version's name says is an error, and one that --sha256 denies."""
        _, url = version
        key = f"{url.removeprefix('s3://bucket/')}/manifest.json"
        manifest = s3.get_object(Bucket="bucket", Key=key)["Body"].read()
        assert download(url, "--sha256", sha256(manifest), "--dry-run")[0] == 0
        assert sha256(manifest) in failure(download(url, "--sha256", "0" * 64))
        other = url[:-1] + ("0" if url[-1] != "0" else "1")
        s3.put_object(
            Bucket="bucket", Key=f"{other.removeprefix('s3://bucket/')}/manifest.json", Body=manifest
        )
        assert "is damaged" in failure(download(other))

    @pytest.mark.usefixtures("s3")
    def test_not_there(self, download):
        """A prefix or bucket that is not there is an error that says what was expected."""
        assert "nowhere/model.toml answered NoSuchKey; expected" in failure(download("s3://bucket/nowhere"))
        assert "answered NoSuchBucket" in failure(download("s3://no-such-bucket/models"))

    @pytest.mark.usefixtures("s3")
    def test_wrong_credentials(self, download, monkeypatch):
        """A refused request is named as such."""
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
        assert "answered SignatureDoesNotMatch" in failure(download("s3://bucket/model"))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["ftp://host/model"], "ftp:// is not supported; expected"),
        (["file:///etc"], "file:// is not supported; expected"),
        (["https://host/model.tar.gz"], "is an archive; unpack it"),
        (["model.zip"], "is an archive; unpack it"),
        (["https://host/model?token=secret"], "expected"),
        (["https://me:secret@host/model"], "expected"),
        (["s3://"], "expected"),
        (["--sha256", "abc"], "invalid --sha256 abc; expected 64"),
    ],
)
def test_arguments(download, arguments, said):
    """What cannot be used is refused with what can, and without repeating a secret."""
    message = refusal(download(*arguments))
    assert said in message
    assert "secret" not in message


def test_imports_no_boto3_without_s3(tmp_path):
    """Only s3:// needs boto3."""
    shutil.copytree(MODEL, tmp_path / "model", ignore=shutil.ignore_patterns("train"))
    code = (
        "import sys; from lambda_setup.__main__ import main; "
        "main(sys.argv[1:]); print('boto3' in sys.modules)"
    )
    log = tmp_path / "log"
    with log.open("wb") as file:
        program = Program(
            [sys.executable, "-c", code, "model", "download", tmp_path / "model", "--out", tmp_path / "copy"],
            env=os.environ, cwd=ROOT, log=file,
        )  # fmt: skip
        program.wait_until(lambda: log.read_bytes().endswith((b"True\n", b"False\n")), seconds=120)
        program.stop()
    assert log.read_text().endswith("False\n")

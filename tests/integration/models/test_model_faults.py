"""When something is wrong with a model, or on its way: right answers of the old one, clear errors of none."""

import contextlib
import json
from importlib.metadata import version

import pytest
from support.answers import differences
from support.events import case
from support.proxy import Proxy, flipped, hanging, refused, reset, shortened, trickling, truncated
from support.second_model import EVENT, metrics

FAULTS = {
    "reset": reset,
    "truncated": truncated,
    "shortened": shortened,
    "flipped": flipped,
    "500": refused(500, "InternalError"),
    "503": refused(503, "SlowDown"),
    "403": refused(403, "AccessDenied"),
    "404": refused(404, "NoSuchKey"),
    "trickling": trickling,
    "hanging": hanging,
}
SLOW = ("trickling", "hanging")
PLACES = {"file": "en-es.pt", "manifest": "manifest.json", "pointer": "channels/dev.json"}
# A flipped bit in a file is what its hashes are for; pointers and manifests are damaged below.
LASTING = [(fault, place) for place in PLACES for fault in FAULTS if fault != "flipped" or place == "file"]


@pytest.fixture
def cold(versions, proxy):
    """Yield a function that has not started yet, and reads its model through the proxy."""
    with versions.function(AWS_ENDPOINT_URL_S3=proxy.endpoint, timeout="20") as function:
        yield function


@pytest.fixture(scope="module")
def shared(two_versions):
    """Yield a proxy, and a function behind it that serves all tests of this module."""
    with (
        Proxy(two_versions.stack.s3.endpoint) as proxy,
        two_versions.function(AWS_ENDPOINT_URL_S3=proxy.endpoint, timeout="20") as function,
    ):
        yield proxy, function


@pytest.fixture
def warm(versions, shared):
    """Return the same function, serving the first version."""
    _, function = shared
    assert versions.served(function.invoke(EVENT)) == versions.first
    return function


def unavailable(response) -> str:
    """Return what an unavailable function says."""
    error = response["body"]["error"]
    assert (response["statusCode"], error["code"]) == (503, "Unavailable"), response
    assert "secret" not in error["message"]
    return error["message"]


class TestCold:
    """A function that starts has the right answer, or says why it has none."""

    @pytest.mark.sample(4)
    @pytest.mark.parametrize(
        ("fault", "times", "place"),
        [
            *(("503", 2, place) for place in PLACES),
            *(("reset", 1, place) for place in PLACES),
            ("500", 2, "file"),
            ("truncated", 1, "file"),
            ("shortened", 1, "file"),
            ("flipped", 1, "file"),
        ],
    )
    def test_passing_fault(self, versions, proxy, cold, fault, times, place):
        """What goes wrong once or twice with every request that is made is not noticed by the caller."""
        with proxy.failing(FAULTS[fault], on=PLACES[place], first=times):
            response = cold.invoke(EVENT)
        assert differences(case("valid/inline").answer, response) == []
        assert versions.served(response) == versions.first

    @pytest.mark.sample(7)
    @pytest.mark.parametrize(("fault", "place"), [one for one in LASTING if one[0] not in SLOW])
    def test_lasting_fault(self, versions, proxy, cold, fault, place):
        """What stays wrong is told, with where it is; the function serves once it is mended."""
        with proxy.failing(FAULTS[fault], on=PLACES[place]):
            message = unavailable(cold.invoke(EVENT))
            assert place in message or PLACES[place] in message
            unavailable(cold.invoke({"warmup": True}))
        assert versions.served(cold.invoke(EVENT)) == versions.first

    @pytest.mark.check
    @pytest.mark.parametrize(
        ("fault", "seconds", "place"),
        [("trickling", 12, "file"), ("hanging", 20, "pointer"), ("hanging", 12, "file")],
    )
    def test_slow_fault(self, versions, proxy, fault, seconds, place):
        """Whatever the function's timeout, it is the function that says that S3 does not answer."""
        with versions.function(AWS_ENDPOINT_URL_S3=proxy.endpoint, timeout=str(seconds)) as function:
            with proxy.failing(FAULTS[fault], on=PLACES[place]):
                for _ in range(2):
                    unavailable(function.invoke(EVENT))  # and not what the emulator says of a timeout
            assert versions.served(function.invoke(EVENT)) == versions.first

    def test_refused_connection(self, versions, proxy, cold):
        """Without anybody who listens it is the same."""
        with proxy.closed():
            assert "S3" in unavailable(cold.invoke(EVENT))
        assert versions.served(cold.invoke(EVENT)) == versions.first


class TestWarm:
    """A function that serves goes on serving, and takes the new version once it can be had."""

    @pytest.mark.sample(6)
    @pytest.mark.parametrize(("fault", "place"), LASTING)
    def test_lasting_fault(self, versions, shared, warm, fault, place):
        """The old version answers while the new one, or the way to it, is broken."""
        proxy, _ = shared
        versions.point(versions.second)
        with versions.logged() as lines, proxy.failing(FAULTS[fault], on=PLACES[place]):
            assert versions.served(warm.invoke(EVENT)) == versions.first
        assert ("ModelUnchecked" if place == "pointer" else "ModelRefused") in metrics(lines)
        assert versions.served(warm.invoke(EVENT)) == versions.second

    @pytest.mark.sample(3)
    @pytest.mark.parametrize("fault", ["503", "reset", "truncated", "flipped"])
    def test_passing_fault(self, versions, shared, warm, fault):
        """What goes wrong once for each part of the new version does not keep it away."""
        proxy, _ = shared
        versions.point(versions.second)
        with proxy.failing(FAULTS[fault], on=PLACES["file"], first=1):
            assert versions.served(warm.invoke(EVENT)) == versions.second

    def test_refused_connection(self, versions, shared, warm):
        """Without a storage an inline answer is still given."""
        proxy, _ = shared
        versions.point(versions.second)
        with versions.logged() as lines, proxy.closed():
            assert versions.served(warm.invoke(EVENT)) == versions.first
        assert "ModelUnchecked" in metrics(lines)
        assert versions.served(warm.invoke(EVENT)) == versions.second

    def test_unmoved_channel(self, versions, shared, warm):
        """Where nothing moves, a look costs one request, and answers that it has not been modified."""
        proxy, _ = shared
        del proxy.exchanges[:]
        assert versions.served(warm.invoke(EVENT)) == versions.first
        assert [(one.method, one.status) for one in proxy.exchanges] == [("GET", 304)]

    @pytest.mark.sample(2)
    @pytest.mark.parametrize("name", ["en-es.pt", "enes.model"])
    def test_damaged_object(self, versions, warm, name):
        """A bit that is flipped in the bucket, in any file, is never served; the mended file is."""
        key = f"versions/{versions.second}/{name}"
        right = versions.get(key)
        versions.put(key, right[:-1000] + bytes([right[-1000] ^ 1]) + right[-999:])
        versions.point(versions.second)
        try:
            assert versions.served(warm.invoke(EVENT)) == versions.first
        finally:
            versions.put(key, right)
        assert versions.served(warm.invoke(EVENT)) == versions.second


DEEP = "[" * 100_000 + "]" * 100_000
POINTERS = {
    "empty": b"",
    "no JSON": b"{",
    "no UTF-8": b'{"version": "\xff"}',
    "a list": b"[]",
    "no version": b"{}",
    "a number": b'{"version": 5}',
    "null": b'{"version": null}',
    "no digest": b'{"version": ""}',
    "too short": b'{"version": "%s"}' % (b"a" * 63),
    "a path": b'{"version": "%s/../../../../../../../%s"}' % (b"a" * 20, b"b" * 20),
    "a line": b'{"version": "%s\\n"}' % (b"a" * 63),
    "deep": b'{"more": %s, "version": "%s"}' % (DEEP.encode(), b"a" * 64),
}


class TestPointer:
    """A channel that leads nowhere."""

    @pytest.mark.sample(5)
    @pytest.mark.parametrize("data", POINTERS.values(), ids=POINTERS)
    def test_unreadable(self, versions, warm, data):
        """What is no pointer is not followed."""
        with versions.logged() as lines, broken_channel(versions, data):
            assert versions.served(warm.invoke(EVENT)) == versions.first
        assert "ModelUnchecked" in metrics(lines)
        versions.point(versions.second)
        assert versions.served(warm.invoke(EVENT)) == versions.second

    def test_nothing_there(self, versions, warm):
        """A version that does not exist is refused, by its name."""
        nobody = "0" * 64
        with versions.logged() as lines:
            versions.point(nobody)
            assert versions.served(warm.invoke(EVENT)) == versions.first
        assert "ModelRefused" in metrics(lines)
        assert nobody in json.dumps(lines)

    @pytest.mark.sample(2)
    @pytest.mark.parametrize("data", [POINTERS["empty"], POINTERS["deep"]], ids=["empty", "deep"])
    def test_cold(self, versions, cold, data):
        """Without an old version it is a 503."""
        with broken_channel(versions, data):
            unavailable(cold.invoke(EVENT))
        assert versions.served(cold.invoke(EVENT)) == versions.first


@contextlib.contextmanager
def broken_channel(versions, data: bytes):
    """Let the channel hold some bytes, and then what it held before."""
    before = versions.get("channels/dev.json")
    versions.put("channels/dev.json", data)
    try:
        yield
    finally:
        versions.put("channels/dev.json", before)


CHECKPOINTS = {
    "a byte more": lambda file: {"size": file["size"] + 1},
    "a byte less": lambda file: {"size": file["size"] - 1},
    "empty": lambda _: {"size": 0},
    "empty, without parts": lambda _: {"size": 0, "parts": []},
    "10 TB": lambda _: {"size": 10**13},
    "10 TB in one part": lambda file: {"size": 10**13, "part_size": 10**13, "parts": file["parts"][:1]},
    "10 TB in parts": lambda file: {"size": 10**13, "part_size": 10**11, "parts": file["parts"][:1] * 100},
    "64 bits": lambda file: {"size": 2**63, "part_size": 2**63, "parts": file["parts"][:1]},
    "negative": lambda _: {"size": -1},
    "negative, without parts": lambda _: {"size": -1, "parts": []},
    "parts of nothing": lambda _: {"part_size": 0},
    "negative parts": lambda file: {"part_size": -file["part_size"]},
    "smaller parts": lambda _: {"part_size": 1},
    "larger parts": lambda _: {"part_size": 2**62},
    "a part less": lambda file: {"parts": file["parts"][:-1]},
    "a part more": lambda file: {"parts": [*file["parts"], file["parts"][0]]},
    "no parts": lambda _: {"parts": []},
    "parts in another order": lambda file: {"parts": file["parts"][::-1]},
    "no hashes": lambda file: {"parts": [""] * len(file["parts"])},
    "a path": lambda _: {"name": "a/en-es.pt"},
    "a path out": lambda _: {"name": "../en-es.pt"},
    "an absolute path": lambda _: {"name": "/en-es.pt"},
    "its own manifest": lambda _: {"name": "manifest.json"},
    "no name": lambda _: {"name": ""},
    "another file's name": lambda _: {"name": "enes.model"},
    "no number": lambda _: {"size": "all"},
    "no list": lambda _: {"parts": None},
}
"""Lies about the checkpoint: what its entry in the manifest has, to what it says instead."""

MANIFESTS = {
    "another engine": ({"engine": "ctranslate2"}, ["ctranslate2", "opennmt"]),
    "an older torch": ({"libraries": {"torch": "1.13.0"}}, ["1.13.0", version("torch").partition("+")[0]]),
    "a newer torch": ({"libraries": {"torch": "99.0.0"}}, ["99.0.0", version("torch").partition("+")[0]]),
    "an unknown torch": ({"libraries": {"torch": "unknown"}}, ["unknown"]),
    "no files": ({"files": []}, []),
}
"""Lies about the whole, and what must be named in the log."""


class TestManifest:
    """A manifest that is authentic, and says what is not so."""

    @pytest.mark.sample(5)
    @pytest.mark.parametrize("change", CHECKPOINTS.values(), ids=CHECKPOINTS)
    def test_lying_of_a_file(self, versions, warm, change):
        """Whatever a manifest says of a file, its function does not die of it."""
        manifest = versions.manifest()
        [file] = [one for one in manifest["files"] if one["name"] == "en-es.pt"]
        file |= change(file)
        with versions.logged() as lines:
            versions.state(manifest)
            assert versions.served(warm.invoke(EVENT)) == versions.first
        assert "ModelRefused" in metrics(lines)
        versions.point(versions.second)
        assert versions.served(warm.invoke(EVENT)) == versions.second

    @pytest.mark.sample(2)
    @pytest.mark.parametrize(("change", "named"), MANIFESTS.values(), ids=MANIFESTS)
    def test_lying_of_the_whole(self, versions, warm, change, named):
        """What is made for something else is refused, and the log says for what."""
        with versions.logged() as lines:
            versions.state(versions.manifest() | change)
            assert versions.served(warm.invoke(EVENT)) == versions.first
        assert "ModelRefused" in metrics(lines)
        assert all(name in json.dumps(lines) for name in named)
        versions.point(versions.second)
        assert versions.served(warm.invoke(EVENT)) == versions.second

    @pytest.mark.sample(5)
    @pytest.mark.parametrize("name", MANIFESTS)
    def test_cold(self, versions, cold, name):
        """Without an old version it is a 503 that says so."""
        change, named = MANIFESTS[name]
        versions.state(versions.manifest() | change)
        message = unavailable(cold.invoke(EVENT))
        assert all(name in message for name in named)
        versions.point(versions.first)
        assert versions.served(cold.invoke(EVENT)) == versions.first

    def test_deep(self, versions, warm):
        """What is not read of a manifest may be anything, and does not end the function."""
        manifest = json.dumps(versions.manifest() | {"smoke": 0}).replace('"smoke": 0', f'"smoke": {DEEP}')
        versions.put(f"versions/{'d' * 64}/manifest.json", manifest.encode())
        versions.point("d" * 64)
        assert versions.served(warm.invoke(EVENT)) == versions.first

    def test_a_minor_version(self, versions, warm):
        """A library that differs in less is no reason to refuse."""
        major = version("torch").partition(".")[0]
        libraries = {"torch": f"{major}.0.0", "something-else": "1.0"}
        theirs = versions.state(versions.manifest() | {"libraries": libraries})
        assert warm.invoke(EVENT)["body"]["model"]["version"] == theirs

"""Which models a function loads, told before their bytes are read."""

import pytest
from msgspec.structs import replace

from lambda_inference import _compatibility, _layer_marker, _telemetry
from lambda_inference._errors import Unavailable
from lambda_inference._models import File, Manifest


@pytest.fixture(autouse=True)
def layer(monkeypatch):
    """Return a function for one engine, with 256 MB of memory and some libraries in its layer."""
    monkeypatch.setenv("ENGINE", "opennmt")
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256")
    monkeypatch.setattr(
        _layer_marker, "libraries", {"torch": "2.10.0+cpu", "opennmt-py": "3.5.1", "young": "0.4.2"}
    )


def manifest(engine: str = "opennmt", size: int = 1, **libraries: str) -> Manifest:
    """Return a manifest that says so much."""
    return Manifest(
        name="m",
        engine=engine,
        precision="float32",
        libraries={name.replace("_", "-"): version for name, version in libraries.items()},
        files=[File("f", size, size, ["0"])],
    )


@pytest.mark.parametrize(
    "libraries", [{}, {"torch": "2.10.0"}, {"OpenNMT_py": "3.5.1"}, {"another": "9.0"}, {"young": "0.4.0"}]
)
def test_same_major_versions_are_loaded(libraries):
    """What was saved with the same major versions, and what the layer knows nothing of."""
    _compatibility.check(manifest(**libraries))


def test_a_minor_difference_is_logged(monkeypatch):
    """The log names both versions."""
    logged = []
    monkeypatch.setattr(_telemetry, "log", lambda _, **fields: logged.append(fields))
    _compatibility.check(manifest(torch="2.13.0"))
    assert logged == [{"libraries": {"torch": "saved with 2.13.0, loaded with 2.10.0+cpu"}}]


@pytest.mark.parametrize(
    ("name", "saved", "here"),
    [("torch", "1.13.1", "2.10.0"), ("torch", "3.0", "2.10.0"), ("OpenNMT_py", "2.3", "3.5.1"),
     ("young", "0.5.0", "0.4.2")],
)  # fmt: skip
def test_a_major_difference_is_refused(name, saved, here):
    """The error names both versions and what to do; before 1.0 the second number counts."""
    with pytest.raises(Unavailable, match=f"{name.replace('_', '-')} {saved}.* has {here}.*publish it again"):
        _compatibility.check(manifest(**{name: saved}))


def test_another_engine_is_refused():
    """The error names both engines."""
    with pytest.raises(Unavailable, match=r"engine ctranslate2.*runs opennmt"):
        _compatibility.check(manifest("ctranslate2"))


def test_a_model_larger_than_memory_is_refused():
    """However large its manifest says that it is, no memory is asked for."""
    _compatibility.check(manifest(size=256 * 1024 * 1024))
    with pytest.raises(Unavailable, match="larger MemorySize"):
        _compatibility.check(manifest(size=256 * 1024 * 1024 + 1))


def test_without_a_layer_what_is_installed_counts(monkeypatch):
    """A function that runs in a development environment compares with that."""
    monkeypatch.setattr(_layer_marker, "libraries", {})
    _compatibility.check(manifest(pytest=pytest.__version__, no_such_library="1", **{"": "1"}))
    with pytest.raises(Unavailable, match=r"pytest 1\.0"):
        _compatibility.check(manifest(pytest="1.0"))


def test_what_a_manifest_requires_has_to_be_known():
    """Its other fields may mean something else then; the message says what to deploy."""
    _compatibility.check_requirements(replace(manifest(), requires=["tokenizer", "decoding", "languages"]))
    with pytest.raises(Unavailable, match=r"requires streaming, .*deploy the function again"):
        _compatibility.check_requirements(replace(manifest(), requires=["tokenizer", "streaming"]))

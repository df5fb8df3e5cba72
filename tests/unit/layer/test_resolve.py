"""From pins to wheels, judged before they are fetched; pip is a stand-in with a report to print."""

import json
from pathlib import Path

import pytest

from layer.builder.errors import CudaBuildError, ResolveError
from layer.builder.recipe import parse
from layer.builder.target import get_target
from layer.builder.wheels.resolve import resolve, resolve_file
from layer.builder.wheels.tool import run_pip

ARM, X86 = get_target("python3.13-arm64"), get_target("python3.13-x86_64")
CACHE = Path("unused")
INDEX = "https://download.pytorch.org/whl/cpu"
ON_X86 = 'platform_system == "Linux" and platform_machine == "x86_64"'


class FakePip:
    """pip, with what it finds where it is configured to look, and at the extra index."""

    def __init__(self, *ordinary: dict, extra: list[dict] | None = None):
        self.ordinary, self.extra = list(ordinary), extra
        self.calls: list[list[str]] = []

    def __call__(self, arguments):
        self.calls.append(list(arguments))
        found = self.extra if "--extra-index-url" in arguments and self.extra is not None else self.ordinary
        return json.dumps({"install": found})


def wheel(name, version, *requires, tag="py3-none-any"):
    """Return a wheel as pip's report has it."""
    file = f"{name}-{version}-{tag}.whl".replace("+", "%2B")
    return {
        "metadata": {"name": name, "version": version, "requires_dist": list(requires)},
        "download_info": {"url": f"https://host/{file}", "archive_info": {"hashes": {"sha256": "0" * 64}}},
    }


def recipe(*requirements, **fields):
    """Return a recipe with these pins."""
    return parse({"name": "mine", "engine": "mine", "requirements": list(requirements), **fields})


TORCH = recipe("torch==2.13.0", cpu_index=INDEX, targets={"python3.13-arm64": {}, "python3.13-x86_64": {}})
CUDA = wheel("torch", "2.13.0", "nvidia-cudnn-cu13==9.2; platform_system == 'Linux'", "triton==3.7.1")
CPU = wheel("torch", "2.13.0+cpu")


class TestResolve:
    """What pip would install."""

    def test_wheels(self):
        """The wheels come back sorted, by their one spelling, with what they need on the target alone."""
        fake = FakePip(
            wheel("Six", "1.17.0"),
            wheel(
                "Obstore", "0.12.1", 'typing-extensions; python_version < "3.13"', 'x; extra == "y"', "six"
            ),
        )

        found = resolve(recipe("six==1.17.0", "obstore==0.12.1"), ARM, CACHE, fake)

        assert [(each.name, each.version, each.requires) for each in found] == [
            ("obstore", "0.12.1", ("six",)),
            ("six", "1.17.0", ()),
        ]
        assert found[1].pin() == f"six==1.17.0 --hash=sha256:{'0' * 64}"

    def test_nothing_fetched(self):
        """The package installer is only asked what it would do, without dependencies."""
        fake = FakePip(wheel("six", "1.17.0"))

        resolve(recipe("six==1.17.0"), ARM, CACHE, fake)

        (call,) = fake.calls
        assert call[0] == "install"
        assert {"--dry-run", "--no-deps", "--ignore-installed", "six==1.17.0"} <= set(call)

    def test_incomplete(self):
        """A package that another one needs, and that the recipe does not mention, is told with what to do."""
        fake = FakePip(wheel("torch", "2.10.0", "sympy>=1.13", "filelock"))

        with pytest.raises(
            ResolveError, match=r"torch 2.10.0 requires filelock; torch 2.10.0 requires sympy\. Pin"
        ):
            resolve(recipe("torch==2.10.0"), ARM, CACHE, fake)

    def test_exclude(self):
        """What is left out on purpose is not missed, nor what comes with a package in no_deps."""
        fake = FakePip(
            wheel("torch", "2.10.0", "sympy>=1.13"), wheel("OpenNMT-py", "3.5.1", "torch<2.3", "flask")
        )

        found = resolve(
            recipe("torch==2.10.0", no_deps=["opennmt-py==3.5.1"], exclude=["sympy"]), ARM, CACHE, fake
        )

        assert [each.name for each in found] == ["opennmt-py", "torch"]

    def test_pip_failed(self):
        """What pip itself has to say is passed on."""
        with pytest.raises(ResolveError, match="pip failed"):
            run_pip(["no-such-command"])


class TestCuda:
    """Builds for a GPU, which Lambda has not."""

    def test_refused(self):
        """Where only a CUDA build exists, nothing is resolved, and the error says what helps."""
        fake = FakePip(CUDA)

        with pytest.raises(CudaBuildError) as refusal:
            resolve(TORCH, X86, CACHE, fake)

        message = str(refusal.value)
        assert "torch-2.13.0-py3-none-any.whl (nvidia-cudnn-cu13, triton)" in message
        for help_ in (f"PIP_EXTRA_INDEX_URL={INDEX}", "PIP_FIND_LINKS", "another target: python3.13-arm64"):
            assert help_ in message
        assert all("--dry-run" in call for call in fake.calls)

    def test_cpu_index(self):
        """Where pip finds a CUDA build, the recipe's index is asked."""
        wheels = resolve(TORCH, X86, CACHE, FakePip(CUDA, extra=[CPU]))

        assert [wheel.file for wheel in wheels] == ["torch-2.13.0+cpu-py3-none-any.whl"]

    def test_index_not_needed(self):
        """Where pip finds a CPU build by itself, no other index is asked."""
        fake = FakePip(CPU)

        assert resolve(TORCH, X86, CACHE, fake)[0].version == "2.13.0+cpu"
        assert "--extra-index-url" not in [argument for call in fake.calls for argument in call]

    def test_other_machines_cuda(self):
        """A wheel that needs CUDA on another machine only is taken: its markers are read for the target."""
        torch = wheel("torch", "2.10.0", f"nvidia-cudnn-cu12==9.10; {ON_X86}", f"triton==3.6.0; {ON_X86}")

        assert resolve(recipe("torch==2.10.0"), ARM, CACHE, FakePip(torch))[0].requires == ()
        with pytest.raises(CudaBuildError):
            resolve(recipe("torch==2.10.0"), X86, CACHE, FakePip(torch))

    @pytest.mark.parametrize(
        "bad",
        [
            wheel("torch", "2.13.0+cu130"),
            wheel("nvidia-cublas", "13.0.0"),
            wheel("a", "1", "cuda-toolkit[cublas]==13"),
            wheel("triton", "3.7.1"),
        ],
        ids=lambda each: each["metadata"]["name"],
    )
    def test_signs(self, bad):
        """A CUDA build is known by its version, by its name, or by what it needs."""
        name, version = bad["metadata"]["name"], bad["metadata"]["version"]

        with pytest.raises(CudaBuildError, match="Set PIP_EXTRA_INDEX_URL to an index with CPU builds"):
            resolve(recipe(f"{name}=={version}"), X86, CACHE, FakePip(bad))

    def test_no_deps_too(self):
        """A CUDA build is refused also where its dependencies would not be installed."""
        with pytest.raises(CudaBuildError):
            resolve(recipe(no_deps=["torch==2.13.0"]), X86, CACHE, FakePip(CUDA))


class TestFile:
    """A requirements file, with all that it needs."""

    def test_constraints(self, tmp_path):
        """Pip reads the file and the pins, and the wheels come back sorted."""
        pins = []

        def fake(arguments):
            assert arguments[arguments.index("-r") + 1] == str(tmp_path / "mine.txt")
            pins.append(Path(arguments[arguments.index("-c") + 1]).read_text())
            return json.dumps({"install": [wheel("six", "1") | {"requested": True}, wheel("attrs", "2")]})

        found = resolve_file(tmp_path / "mine.txt", ARM, CACHE, fake, ["six==1", "toy==2"])
        assert [(one.requirement, one.requested) for one in found] == [("attrs==2", False), ("six==1", True)]
        assert pins == ["six==1\ntoy==2"]

    def test_cuda(self, tmp_path):
        """A CUDA build is refused, after the index of CPU builds was asked, with what helps."""
        fake = FakePip(CUDA)
        with pytest.raises(CudaBuildError, match=f"PIP_EXTRA_INDEX_URL={INDEX}"):
            resolve_file(tmp_path / "mine.txt", ARM, CACHE, fake)
        assert INDEX in fake.calls[-1]
        assert resolve_file(tmp_path / "mine.txt", ARM, CACHE, FakePip(CUDA, extra=[CPU]))

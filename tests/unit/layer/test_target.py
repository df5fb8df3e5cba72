"""Targets: the interpreter and the machine that a layer is for."""

import platform
import sys
from itertools import pairwise

import pytest

from layer.builder.errors import TargetError
from layer.builder.target import get_target


def chosen(options, name):
    """Return the values of an option that may be given several times."""
    return [value for option, value in pairwise(options) if option == name]


class TestNamed:
    """From a name to a target."""

    def test_lambda(self):
        """A target is written as Lambda writes runtime and architecture."""
        target = get_target("python3.13-arm64")

        assert (target.runtime, target.python, target.architecture, target.machine) == (
            "python3.13",
            "3.13",
            "arm64",
            "aarch64",
        )

    def test_host(self):
        """The host is whatever Python and machine this is, in Lambda's words."""
        target = get_target("host")

        assert target.python == f"{sys.version_info.major}.{sys.version_info.minor}"
        assert target.architecture == {"aarch64": "arm64"}.get(platform.machine(), platform.machine())

    @pytest.mark.parametrize("name", ["", "arm64", "python3.13", "python3.13-riscv", "python2.7-arm64"])
    def test_unknown(self, name):
        """Anything else is refused with how to write one."""
        with pytest.raises(TargetError, match=r"unknown target .*; write host, or .* like python3.13-arm64"):
            get_target(name)

    def test_old_runtime(self):
        """A runtime whose system library is too old for today's wheels is refused, and told why."""
        with pytest.raises(
            TargetError, match=r"python3.11 runs on Amazon Linux 2, .* use python3.12 or later"
        ):
            get_target("python3.11-x86_64")


class TestPipOptions:
    """What pip is told."""

    def test_lambda(self):
        """Only wheels will do, of the target's Python, up to the C library that its Lambda runs on."""
        options = get_target("python3.13-arm64").pip_options()

        platforms = chosen(options, "--platform")
        assert platforms[0] == "manylinux_2_34_aarch64"
        assert platforms[-2:] == ["manylinux_2_17_aarch64", "manylinux2014_aarch64"]
        assert "manylinux_2_24_aarch64" in platforms
        assert chosen(options, "--abi") == ["cp313", "abi3", "none"]
        assert chosen(options, "--python-version") == ["3.13"]
        assert "--only-binary=:all:" in options

    def test_host(self):
        """For the host pip decides by itself, with wheels only."""
        assert get_target("host").pip_options() == ["--only-binary=:all:"]


class TestMarkers:
    """The environment in which requirement markers are read."""

    def test_lambda(self):
        """Markers are read for the target, not for the machine that builds."""
        markers = get_target("python3.13-arm64").markers()

        assert markers["python_version"] == "3.13"
        assert (markers["platform_machine"], markers["platform_system"]) == ("aarch64", "Linux")

    def test_complete(self):
        """Every variable that a marker may use is there (PEP 508)."""
        from pip._vendor.packaging.markers import default_environment

        assert default_environment().keys() <= get_target("python3.13-arm64").markers().keys()

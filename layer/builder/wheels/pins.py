"""The pins of a recipe's file: written by ``new``, renewed by ``pin``; whatever else it says stays."""

import re
from collections.abc import Iterable, Mapping, Sequence

from layer.builder.wheels.wheel import Wheel

_LIST = re.compile(r"^requirements\s*=\s*\[[^\]]*\][^\n]*\n", re.MULTILINE)
_TABLE = re.compile(r"^\[", re.MULTILINE)
_PATTERN = r"^\[targets\.(?:\"{0}\"|'{0}'|{0})\][^\n]*\n"


def group(wheels: Mapping[str, Iterable[Wheel]]) -> dict[str, list[str]]:
    """Return the pins of each target, and under the empty name those that all of them have."""
    pins = {target: {wheel.requirement for wheel in own} for target, own in wheels.items()}
    common = set.intersection(*pins.values())
    return {"": sorted(common), **{target: sorted(own - common) for target, own in pins.items()}}


def renew(text: str, pins: Mapping[str, Sequence[str]]) -> str:
    """Return a recipe's text with other pins, by target as ``group`` returns them."""
    end = match.start() if (match := _TABLE.search(text)) else len(text)
    text = _replace_list(text[:end], pins[""]) + text[end:]
    for target in filter(None, pins):
        text = _renew_target(text, target, pins[target])
    return text


def _renew_target(text: str, target: str, pins: Sequence[str]) -> str:
    header = re.search(_PATTERN.format(re.escape(target)), text, re.MULTILINE)
    if header is None:
        name = target if target.isidentifier() else f'"{target}"'
        return _renew_target(f"{text.rstrip()}\n\n[targets.{name}]\n", target, pins)
    start = header.end()
    end = match.start() if (match := _TABLE.search(text, start)) else len(text)
    return text[:start] + _replace_list(text[start:end], pins) + text[end:]


def _replace_list(section: str, pins: Sequence[str]) -> str:
    """Return a section with the list of its requirements replaced, or added at its beginning."""
    replaced, count = _LIST.subn(lambda _: _format(pins), section, count=1)
    return replaced if count or not pins else _format(pins) + section


def _format(pins: Sequence[str]) -> str:
    lines = "".join(f'    "{pin}",\n' for pin in pins)
    return f"requirements = [\n{lines}]\n" if lines else "requirements = []\n"

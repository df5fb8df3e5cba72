"""The events of a function, each with the answer beside it."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.project import ROOT

_AFTER = {"invalid/id_taken": "valid/repeated_id"}
"""Events whose answer another one prepares."""


@dataclass(frozen=True)
class Case:
    """An event file and the answer beside it."""

    path: Path
    home: Path = ROOT

    @property
    def name(self) -> str:
        return str(self.path.relative_to(self.home / "events").with_suffix(""))

    @property
    def event(self) -> Any:
        return json.loads(self.path.read_text())

    @property
    def answer(self) -> Any:
        return json.loads(self.path.with_suffix(".answer.json").read_text())


def case(name: str) -> Case:
    """Return the case of ``events/<name>.json``."""
    return Case(ROOT / "events" / f"{name}.json")


def send(one: Case, invoke: Callable[[Any], Any]) -> Any:
    """Return the response to a case's event, which what prepares its answer precedes, in whatever order."""
    if one.name in _AFTER:
        invoke(case(_AFTER[one.name]).event)
    return invoke(one.event)


def cases(home: Path = ROOT) -> list[Case]:
    """Return every case of the function whose events are there, the valid ones first."""
    folders = [home / "events" / kind for kind in ("valid", "invalid")]
    found = [
        home / "events" / "event.json",
        *(path for one in folders for path in sorted(one.glob("*.json"))),
    ]
    return [Case(path, home) for path in found if not path.name.endswith(".answer.json")]

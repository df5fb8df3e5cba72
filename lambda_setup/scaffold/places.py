"""The places of a new function: the folders of its code, its model and its layer's recipe."""

import re
from dataclasses import dataclass
from pathlib import Path

from lambda_setup.errors import CommandError
from lambda_setup.functions import ROOT, SUFFIX

_NAME = re.compile(r"[a-z][a-z0-9_]{0,15}")


@dataclass(frozen=True)
class Places:
    """The folders of a function, which its name decides; they may not be there yet."""

    name: str
    code: Path
    model: Path
    recipe: Path

    @property
    def all(self) -> tuple[Path, ...]:
        """The three folders."""
        return self.code, self.model, self.recipe

    @property
    def model_name(self) -> str:
        """The model's name, which may hold - and no _."""
        return self.model.name


def find_places(name: str, root: Path = ROOT) -> Places:
    """Return the places of a function's name; CommandError if the name is invalid."""
    if not _NAME.fullmatch(name):
        raise CommandError(
            f"invalid function name {name!r}; expected 1 to 16 of a-z, 0-9 and _, the first a letter"
        )
    return Places(
        name,
        root / f"{name}{SUFFIX}",
        root / "models" / name.replace("_", "-"),
        root / "layer" / "recipes" / name,
    )


def check_free(places: Places, root: Path = ROOT) -> None:
    """Refuse a name that is taken."""
    if (example := root / "examples" / places.code.name).exists():
        raise CommandError(
            f"there is a function {places.name} already, {example.relative_to(root)}; choose another name"
        )
    for path in places.all:
        if path.exists():
            raise CommandError(
                f"{path.relative_to(root)} is there already; choose another name, or remove what "
                f"`new {places.name}` made: python -m lambda_setup new {places.name} --undo"
            )

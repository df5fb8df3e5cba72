"""A new function as a copy of one that works: code, events, template, recipe and model under another name.

Code is copied as it is: a function's engine is ENGINE, and a recipe's name is its folder's. Template and
samconfig.toml are those of every new function. What else has the name is data, and read and written as such:
recipe.toml, model.toml, recorded answers.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tomlkit

from lambda_setup.functions import ROOT, Function
from lambda_setup.scaffold.files import Files, list_files
from lambda_setup.scaffold.places import Places
from lambda_setup.scaffold.template import plan_deployment

_BESIDE_CODE = {"README.md", "publishing.py", "template.yaml", "samconfig.toml", "events"}


class Copy:
    """A function's copy under another name."""

    def __init__(self, places: Places, source: Function) -> None:
        self.name, self._source = places.name, source
        self._places = places
        self.code, self.model, self.recipe = places.all

    def plan(self) -> Files:
        """Return the files of the new function."""
        return {**dict(self._plan_code()), **self.plan_surroundings()}

    def plan_surroundings(self) -> Files:
        """Return the files of its model and its recipe."""
        return {**self.plan_model(), **dict(self._plan_recipe())}

    def plan_model(self) -> Files:
        """Return the files of its model."""
        return dict(self._plan_model())

    def _plan_code(self) -> Iterator[tuple[Path, Path | str]]:
        source = self._source
        others = {f"engine_{engine}.py" for engine in source.engines - {source.engine}}
        for path in list_files(source.code):
            inside = path.relative_to(source.code)
            if inside.parts[0] in _BESIDE_CODE or path.name in others:
                continue
            own = path.name.replace(f"engine_{source.engine}.py", f"engine_{self.name}.py")
            yield self.code / inside.with_name(own), path
        for path in self._list_events():
            answer = path.name.endswith(".answer.json")
            yield self.code / path.relative_to(source.home), self._edit_answer(path) if answer else path
        yield from plan_deployment(self._places).items()
        yield self.code / "README.md", f"# {self.name}\n\nWhat it answers, with which model, and how well.\n"

    def _plan_model(self) -> Iterator[tuple[Path, Path | str]]:
        description = tomlkit.parse((self._source.model / "model.toml").read_text(encoding="utf-8"))
        for file in description["files"].unwrap():
            yield self.model / file, self._source.model / file
        description["name"] = self.model.name
        description["engine"] = self.name
        yield self.model / "model.toml", tomlkit.dumps(description)

    def _plan_recipe(self) -> Iterator[tuple[Path, Path | str]]:
        folder = self.recipe.with_name(self._source.engine)
        for path in list_files(folder):
            if path.name != "proof.json":  # it is of the other function
                edited = self._edit_recipe(path) if path.name == "recipe.toml" else path
                yield self.recipe / path.relative_to(folder), edited

    def _list_events(self) -> Iterator[Path]:
        """Yield the function's example event and those that its recipe names, for its layer, with answers."""
        recipe = self.recipe.with_name(self._source.engine) / "recipe.toml"
        smoke = tomlkit.parse(recipe.read_text(encoding="utf-8")).unwrap()["smoke"]
        named = {ROOT / event for event in smoke["arguments"]["events"]} | {self._source.event}
        for path in list_files(self._source.home / "events"):
            event = path.with_name(path.name.replace(".answer.", "."))
            if not named.isdisjoint((event, *event.parents)):
                yield path

    def _edit_recipe(self, path: Path) -> str:
        recipe = tomlkit.parse(path.read_text(encoding="utf-8"))
        smoke: Any = recipe["smoke"]
        for key in ("code", "function", "inputs"):
            for number, value in enumerate(smoke[key].unwrap()):
                smoke[key][number] = self._move_path(value)
        smoke["arguments"]["model"] = self._move_path(smoke["arguments"]["model"])
        # All of its events, so that the recipe need not follow when they change.
        smoke["arguments"]["events"] = [f"{self.code.name}/events"]
        return tomlkit.dumps(recipe)

    def _move_path(self, path: str) -> str:
        """Return a path from the project's root, moved from the source's folders to the new ones."""
        for old, new in ((self._source.code, self.code), (self._source.model, self.model)):
            if (ROOT / path).is_relative_to(old):
                return str((new / (ROOT / path).relative_to(old)).relative_to(ROOT))
        return path

    def _edit_answer(self, path: Path) -> str:
        answer = self._rename_origin(json.loads(path.read_text(encoding="utf-8")))
        return json.dumps(answer, indent=2, ensure_ascii=False) + "\n"

    def _rename_origin(self, value: Any) -> Any:
        """Return an answer with the new function's engine and model."""
        match value:
            case dict():
                renamed = {key: self._rename_origin(item) for key, item in value.items()}
                if "engine" in renamed:
                    renamed["engine"] = self.name
                if isinstance(renamed.get("model"), dict):
                    renamed["model"]["name"] = self.model.name
                return renamed
            case list():
                return [self._rename_origin(item) for item in value]
        return value

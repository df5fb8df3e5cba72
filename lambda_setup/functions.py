"""Functions of this project: each is a folder with code, a template and events, and has a model.

``translation_function`` stands at the root, where its template and its events are, too; ``examples`` and
forks keep theirs in the function's own folder. A function's name is the folder's without ``_function``; its
engine and model are the defaults of the template's parameters ``Engine`` and ``ModelName``.
"""

import importlib.util
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from lambda_setup.errors import CommandError

ROOT = Path(__file__).resolve().parents[1]
SUFFIX = "_function"


@dataclass(frozen=True)
class Function:
    """A function's folder, which holds ``app.py``, and the home of its template and events."""

    code: Path
    home: Path

    @property
    def name(self) -> str:
        """Name that commands take: ``spacy`` of ``spacy_function``."""
        return self.code.name.removesuffix(SUFFIX)

    @property
    def engine(self) -> str:
        """Engine that it runs by default."""
        return self._default("Engine")

    @property
    def engines(self) -> set[str]:
        """Every engine that it can run: its default, and those it has a module for."""
        modules = {path.stem.removeprefix("engine_") for path in self.code.glob("engine_*.py")}
        return {self.engine, *modules}

    @property
    def model(self) -> Path:
        """Folder of its model."""
        return ROOT / "models" / self._default("ModelName")

    @property
    def event(self) -> Path:
        """Example event."""
        return self.home / "events" / "event.json"

    def _default(self, parameter: str) -> str:
        from samcli.yamlhelper import yaml_parse

        template = yaml_parse((self.home / "template.yaml").read_text(encoding="utf-8"))
        return str(template["Parameters"][parameter]["Default"])


def discover() -> list[Function]:
    """Return every function of the project, the translator first."""
    translation = ROOT / f"translation{SUFFIX}"
    folders = [*ROOT.glob(f"*{SUFFIX}"), *(ROOT / "examples").glob(f"*{SUFFIX}")]
    others = sorted(path for path in folders if path != translation and (path / "app.py").is_file())
    return [Function(translation, ROOT), *(Function(folder, folder) for folder in others)]


def get(name: str) -> Function:
    """Return the function of a name; CommandError if there is none."""
    functions = {function.name: function for function in discover()}
    if name not in functions:
        raise CommandError(f"there is no function {name!r}; there are {', '.join(functions)}")
    return functions[name]


def for_engine(engine: str) -> Function:
    """Return the function that runs models of an engine; CommandError if none does."""
    for function in discover():
        if engine in function.engines:
            return function
    raise CommandError(f"no function of this project runs models made for {engine!r}")


def load_module(function: Function, name: str) -> ModuleType | None:
    """Load a module beside a function's code that is not deployed, as ``show``; None where there is none.

    It may import its siblings at its top.
    """
    path = function.code / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"{name}_{function.name}", path)
    if not path.is_file() or not spec or not spec.loader:
        return None
    module = importlib.util.module_from_spec(spec)
    before = set(sys.modules)
    sys.path.insert(0, str(function.code))
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(function.code))
        # Another function may have modules of the same names.
        for one in sys.modules.keys() - before:
            if str(getattr(sys.modules[one], "__file__", "")).startswith(f"{function.code}/"):
                del sys.modules[one]
    return module


def load_modules(name: str) -> Iterator[ModuleType]:
    """Load a module of every function that has one, as ``publishing``."""
    for function in discover():
        if module := load_module(function, name):
            yield module

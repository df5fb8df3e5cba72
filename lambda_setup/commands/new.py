"""``new``: a function of one's own, begun as a copy of one that works.

What it makes takes part in every test as it stands; then it is changed, file by file, into what it is for.
"""

import argparse
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lambda_setup import functions
from lambda_setup.commands.options import add_command, add_dry_run
from lambda_setup.errors import CommandError
from lambda_setup.functions import ROOT, SUFFIX, Function

SOURCES = {"translation": "translation", "text": "spacy", "image": "fastai", "table": "keras"}
"""What a new function may begin as: the function of each kind of request."""

_NAME = re.compile(r"[a-z][a-z0-9_]{0,15}")
_LEFT = {
    "README.md",
    "publishing.py",
    "template.yaml",
    "samconfig.toml",
    "__pycache__",
    ".aws-sam",
    "events",
    "train",
}
_TARGETS = ("arm64", "x86_64", "host")


def configure_parser(commands: Any) -> None:
    """Declare the command."""
    command = add_command(
        commands,
        "new",
        run,
        help="begin a function for another model",
        description="Make a function for another model: its folder with code, template and events, its "
        "recipe, its layer's targets and a model, all copied from a function that works. It passes "
        "`make test` as it is; docs/forking.md shows how to change it.",
        example="python -m lambda_setup new sentiment --from text && make demo EXAMPLE=sentiment",
    )
    command.add_argument("name", metavar="NAME", help="1 to 16 of a-z, 0-9 and _, the first a letter")
    command.add_argument("--from", dest="source", choices=SOURCES, required=True,
                         help="what a request holds; text is sentences, table rows of numbers")  # fmt: skip
    add_dry_run(command, "print the files to make")


def run(options: argparse.Namespace) -> int:
    """Make a function, or say which files that would be."""
    made = plan(options.name, functions.get(SOURCES[options.source]))
    paths = sorted(path.relative_to(ROOT) for path in made)
    if options.dry_run:
        print("\n".join(f"would make  {path}" for path in paths))
        return 0
    write(made)
    folder = f"{options.name}{SUFFIX}"
    model = functions.get(options.name).model.relative_to(ROOT)
    print(f"made     {len(paths)} files")
    print(f"code     {folder}/: what a request holds, how a model is loaded, what it answers")
    print(f"layer    layer/recipes/{options.name}.toml: what the code imports")
    print(f"model    {model}/: its files, named in model.toml")
    print(f"events   {folder}/events/: requests, each with the answer it gets; they are test cases")
    print(f"next     make demo EXAMPLE={options.name}")
    return 0


def plan(name: str, source: Function) -> dict[Path, Path | str]:
    """Return the files of a new function: each a file to copy, or what is to be in it.

    Raises:
        CommandError: the name cannot be used, or is taken.

    """
    if not _NAME.fullmatch(name):
        raise CommandError(
            f"{name!r} is no function's name; expected 1 to 16 of a-z, 0-9 and _, the first a letter"
        )
    copy = _Copy(name, source)
    made = dict(copy.files())
    for path in (copy.code, copy.model, copy.recipe.with_suffix(".toml"), copy.recipe):
        if path.exists():
            raise CommandError(f"{path.relative_to(ROOT)} is there already; choose another name")
    return made


def write(made: dict[Path, Path | str]) -> None:
    """Write files, all or none."""
    written: list[Path] = []
    try:
        for path, content in made.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            written.append(path)
            if isinstance(content, str):
                path.write_text(content, encoding="utf-8")
            else:
                shutil.copyfile(content, path)
    except BaseException:
        for path in written:
            path.unlink(missing_ok=True)
        raise


class _Copy:
    """A function under another name, as files with their contents."""

    def __init__(self, name: str, source: Function) -> None:
        self.name, self.source = name, source
        self.code = ROOT / f"{name}{SUFFIX}"
        self.model = ROOT / "models" / name.replace("_", "-")
        self.recipe = ROOT / "layer" / "recipes" / name

    def files(self) -> Iterator[tuple[Path, Path | str]]:
        """Yield each file with a file to copy, or what is to be in it."""
        yield from self._recipe()
        for path in _walk(self.source.code):
            others = {f"engine_{one}.py" for one in self.source.engines - {self.source.engine}}
            if path.name not in others:
                inside = str(path.relative_to(self.source.code))
                inside = inside.replace(f"engine_{self.source.engine}.py", f"engine_{self.name}.py")
                yield self.code / inside, self._rename(path)
        for path in self._events():
            yield self.code / path.relative_to(self.source.home), self._rename(path)
        yield self.code / "template.yaml", self._template()
        example = functions.get("spacy").home / "samconfig.toml"
        settings = example.read_text(encoding="utf-8").replace("examples/spacy_function", self.code.name)
        yield (
            self.code / "samconfig.toml",
            settings.replace('"../.."', '".."').replace('"spacy"', f'"{self.name.replace("_", "-")}"'),
        )
        yield self.code / "README.md", f"# {self.name}\n\nWhat it answers, with which model, and how well.\n"
        for file in _walk(self.source.model):
            if file.name == "model.toml":
                yield self.model / file.name, self._rename(file)
            elif f'"{file.name}"' in (self.source.model / "model.toml").read_text(encoding="utf-8"):
                yield self.model / file.relative_to(self.source.model), file
        for target in _TARGETS:
            makefile = Path("layer", "targets", f"{self.source.engine}-{target}", "Makefile")
            text = (ROOT / makefile).read_text(encoding="utf-8")
            path = ROOT / "layer" / "targets" / f"{self.name}-{target}" / "Makefile"
            yield path, text.replace(f":= {self.source.engine}", f":= {self.name}")

    def _recipe(self) -> Iterator[tuple[Path, Path | str]]:
        """Yield the recipe, and what lies beside it; proofs are of the other function."""
        folder = self.recipe.with_name(self.source.engine)
        yield self.recipe.with_suffix(".toml"), self._rename(folder.with_suffix(".toml"))
        for path in _walk(folder):
            if not path.name.endswith(".proof.json"):
                yield self.recipe / path.relative_to(folder), path

    def _events(self) -> Iterator[Path]:
        """Yield the function's events; of the translator's many, those that its recipe asks."""
        recipe = self.recipe.with_name(f"{self.source.engine}.toml").read_text(encoding="utf-8")
        for path in _walk(self.source.home / "events"):
            asked = path.name.replace(".answer.json", ".json")
            if self.source.home != ROOT or asked == "event.json" or f"/{asked}" in recipe:
                yield path

    def _template(self) -> str:
        """Return a template for the new function: the source's, or one like all examples'."""
        source = self.source if self.source.home != ROOT else functions.get("spacy")
        text = (source.home / "template.yaml").read_text(encoding="utf-8")
        text = re.sub(r"(?m)^Description: .*$", f"Description: {self.name}.", text, count=1)
        text = text.replace("../../template.yaml", "../template.yaml")
        text = text.replace(str(source.code.relative_to(ROOT)), self.code.name)
        text = re.sub(r"(?m)^( +)Default: \S+\n +AllowedValues: \[.*\]\n(.*What runs)",
                      rf"\1Default: {self.name}\n\1AllowedValues: [{self.name}]\n\2", text)  # fmt: skip
        return text.replace(f"Default: {source.model.name}\n", f"Default: {self.model.name}\n")

    def _rename(self, path: Path) -> Path | str:
        """Return a file's text with the names of the source's folder, engine and model replaced."""
        if path.suffix not in {".py", ".toml", ".json"}:
            return path
        text = path.read_text(encoding="utf-8")
        old, engine = self.source, self.source.engine
        if old.home == ROOT:
            text = text.replace('"events/', f'"{self.code.name}/events/')
        for before, after in (
            (str(old.code.relative_to(ROOT)), self.code.name),
            (f"models/{old.model.name}/", f"models/{self.model.name}/"),
            (f'"models/{old.model.name}"', f'"models/{self.model.name}"'),
            (f'"models" / "{old.model.name}"', f'"models" / "{self.model.name}"'),
            (f'"ENGINE", "{engine}"', f'"ENGINE", "{self.name}"'),
            (f"'ENGINE', '{engine}'", f"'ENGINE', '{self.name}'"),
            (f'engine = "{engine}"', f'engine = "{self.name}"'),
            (f'"engine": "{engine}"', f'"engine": "{self.name}"'),
            (f'"name": "{old.model.name}"', f'"name": "{self.model.name}"'),
        ):
            text = text.replace(before, after)
        text = re.sub(rf'(?m)^(script|prepare|content) = "{engine}/', rf'\1 = "{self.name}/', text)
        # All of its events, so that the recipe need not follow when they change.
        events = f'arguments.events = ["{self.code.name}/events"]'
        text = re.sub(r"(?ms)^arguments.events = \[.*?\]$", events, text)
        name = self.model.name if path.name == "model.toml" else self.name
        return re.sub(r'(?m)^name = "\S+"$', f'name = "{name}"', text, count=1)


def _walk(folder: Path) -> Iterator[Path]:
    """Yield a folder's files in order, without what is of its own function or was made beside them."""
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder).parts
        if path.is_file() and not set(inside) & _LEFT and not inside[-1].startswith("."):
            yield path

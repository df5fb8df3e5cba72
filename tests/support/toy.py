"""A toy layer, and predictions on it."""

import sys
from pathlib import Path

from layer.builder.pack.interpreter import Interpreter
from layer.builder.recipe import Smoke
from layer.builder.verify.smoke import run

HERE = Interpreter((sys.executable,), {"GIVEN": "yes"}, "the running one", emulated=False)


class Toy:
    """A layer with a package, and a prediction that imports it."""

    def __init__(self, folder: Path):
        self.folder, self.tree = folder, folder / "tree"
        self.write("tree/pkg/__init__.py", "from pathlib import Path\nHERE = Path(__file__).parent\n")
        self.write("tree/pkg/unused.py", "")
        self.write("tree/pkg/data.json", "[1]")

    def write(self, path: str, text: str) -> Path:
        (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / path).write_text(text)
        return self.folder / path

    def smoke(self, body: str, **fields) -> Smoke:
        """Return the prediction whose answer has this body."""
        lines = ["import os, sys", "def answer(**arguments):", "    import pkg"]
        script = self.write("smoke.py", "\n".join([*lines, *(f"    {line}" for line in body.split("\n"))]))
        return Smoke(script, **({"code": (), "inputs": (), "arguments": {}} | fields))

    def run(self, body: str, *beside: Path, python: Interpreter = HERE, architecture: str = "", **fields):
        """Return the outcome of the prediction with this body."""
        trees = [self.tree, *beside]
        prepared = self.folder / "prepared"
        return run(self.smoke(body, **fields), trees, python, prepared, architecture=architecture)

"""A recipe's prediction for a target: the Python of this machine that makes it, if one can, and the runs."""

import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from layer.builder.errors import BuildError, InterpreterError
from layer.builder.pack import bytecode, interpreter
from layer.builder.recipe import Recipe, Smoke
from layer.builder.target import Target
from layer.builder.verify import inputs, smoke


class Prediction:
    """A recipe's prediction; ``python`` is None where nothing here makes it, and ``obstacle`` says why."""

    def __init__(
        self, recipe: Recipe, target: Target, interpreters: Path, prepared: Path, say: Callable[[str], None]
    ) -> None:
        self.recipe, self.target, self.say = recipe, target, say
        self.interpreters, self.prepared = interpreters, prepared
        self.obstacle = f"no Python here runs {target.name}"
        self.python = self._find_python()

    def fetch_python(self, reason: str) -> None:
        """Fetch a Python that runs the target; if none is available, a BuildError ends with what to do.

        ``reason`` says why the layer is unproven without it.
        """
        how = (
            f"{self.recipe.name} for {self.target.name} is unproven: {reason}. --allow-unproven builds it "
            "even so, and so does ALLOW_UNPROVEN=1 before sam build. To prove it, "
        )
        if self.recipe.smoke is None:
            raise BuildError(f"{how}add a [smoke] to the recipe: see docs/layers.md")
        if interpreter.find(self.target, self.interpreters) is None:
            try:
                interpreter.fetch(self.target, self.interpreters, self.say)
            except InterpreterError as error:
                raise BuildError(f"{how}let it run: {error}") from error
            self.python = self._find_python()
        if self.python is None:
            raise BuildError(f"{how}see what is missing: {sys.executable} {self.recipe.smoke.prepare}")

    def run(
        self,
        trees: Sequence[Path],
        libraries: Sequence[Path],
        modules: Sequence[str],
        environment: Mapping[str, str] | None = None,
        asked: Smoke | None = None,
    ) -> smoke.Outcome:
        """Predict on trees alone, of which the first is traced, and import modules: see ``smoke.run``.

        What is ``asked`` takes the place of the recipe's own prediction.
        """
        assert self.recipe.smoke is not None  # noqa: S101
        assert self.python is not None  # noqa: S101
        return smoke.run(
            asked or self.recipe.smoke, trees, self.python, self.prepared, modules,
            architecture=self.target.architecture, libraries=libraries,
            environment=environment,
        )  # fmt: skip

    def lend_caches(self, tree: Path) -> AbstractContextManager[None]:
        """Have bytecode in a tree while an emulated Python predicts, if another one here compiles fast."""
        compiler = interpreter.find_compiler(self.target, self.interpreters)
        if not (self.python and self.python.emulated) or compiler is None or compiler.emulated:
            return nullcontext()
        return bytecode.lend_caches(tree, compiler)

    def _find_python(self) -> interpreter.Interpreter | None:
        """Return the Python that makes the prediction, if the recipe has one and this machine can make it."""
        if self.recipe.smoke is None:
            return None
        python = interpreter.find(self.target, self.interpreters)
        if python:
            inputs.check_model(self.recipe.smoke)
        if python and not inputs.prepare(self.recipe.smoke, self.prepared):
            script = self.recipe.smoke.prepare
            self.obstacle = f"{sys.executable} cannot make the prediction's inputs ({script})"
            self.say(f"{self.obstacle}; run it to see why")
            return None
        return python

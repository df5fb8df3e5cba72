"""A job for the builder: a recipe, a target, and where the layer goes."""

from dataclasses import dataclass
from pathlib import Path

from layer.builder.recipe import ROOT, Recipe
from layer.builder.target import Target

WORK = ROOT / ".layers"
"""The folder of wheels, fetched interpreters and, by default, layers."""


@dataclass(frozen=True)
class Job:
    """A layer to build into ``out``; ``retrace`` traces again, even if there is a trace of these wheels."""

    recipe: Recipe
    target: Target
    out: Path
    strategy: str = "auto"
    retrace: bool = False
    work: Path = WORK

    @property
    def base(self) -> "Job | None":
        """The job of the layer that is always deployed with this one."""
        recipe = self.recipe.base_layer
        if recipe is None:
            return None
        return Job(recipe, self.target, default_out(recipe, self.target, self.work), work=self.work)

    @property
    def interpreters(self) -> Path:
        """The folder of fetched interpreters."""
        return self.work / "interpreters"


def default_out(recipe: Recipe, target: Target, work: Path = WORK) -> Path:
    """Return the folder that a layer goes to, unless another is named."""
    return work / f"{recipe.name}-{target.name}"

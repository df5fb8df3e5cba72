"""Why a file is in a layer, or not: by the recipe and by what was recorded, without a build."""

from collections.abc import Iterator, Mapping, Sequence

from layer.builder.recipe import Recipe, load_common_rules
from layer.builder.slim import trace
from layer.builder.slim.globs import matches
from layer.builder.slim.metadata import get_globs
from layer.builder.slim.prune import LICENCES, Rule
from layer.builder.target import Target
from layer.builder.tree import File
from layer.builder.wheels.lock import Lock


def explain(
    path: str, recipe: Recipe, target: Target, lock: Lock, whole: Sequence[str], owners: Mapping[str, str]
) -> list[str]:
    """Return why a file of the packages is in a target's layer or not, the deciding reason first.

    Args:
        path: relative to the layer's ``python``, or below ``lib``; bytecode counts as its source.
        recipe: of the layer.
        target: of the layer.
        lock: of the layer.
        whole: globs of packages that stay whole because all their public modules are imported.
        owners: the ``.dist-info`` folder of each file, of the wheels that are there.

    """
    path = trace.get_source(path.removeprefix("python/"))
    if path.removeprefix("lib/") in recipe.libraries:
        carrier = recipe.libraries[path.removeprefix("lib/")]
        return [f"in: the recipe's libraries take it from {carrier}"]
    patches = [f"patch {one.name!r} changes it: {one.reason}" for one in recipe.patches if one.path == path]
    if any(one.path == path and one.action == "remove" for one in recipe.patches):
        return [f"out: {patches[0]}"]
    opened = trace.read(recipe, target, lock)
    named = trace.read_named(recipe, target, lock) or []
    described = get_globs(owners, [*(opened or ()), *named], whole)
    reasons = [next(_list_reasons(path, recipe, opened, whole, described, named)), *patches]
    if owners and path not in owners:
        reasons.append("no locked wheel has such a file")
    if opened is None:
        reasons.append(f"there is no trace of these wheels for {target.name}: build it to have one")
    return reasons


def _list_reasons(  # noqa: C901 - one after the other
    path: str,
    recipe: Recipe,
    opened: list[str] | None,
    whole: Sequence[str],
    described: Sequence[str],
    named: Sequence[str],
) -> Iterator[str]:
    """Yield the reasons that apply, in the order of the steps of a build: the first one decides."""
    if glob := _find_glob(path, recipe.protect):
        yield f"in: {glob} in the recipe's protect"
    if rule := _find_rule(path, recipe.rules):
        yield f"out: rule {rule.name!r} of the recipe: {rule.reason}"
    if opened is not None and path in opened:
        yield "in: the smoke prediction opens or maps it"
    if rule := _find_rule(path, load_common_rules()):
        yield f"out: rule {rule.name!r} of every recipe: {rule.reason}; the prediction does not open it"
    if glob := _find_glob(path, whole):
        yield f"in: {glob}, of a package in [smoke] imports"
    if path in named:
        yield "in: the code or the strings of what stays name it"
    if matches(path, described):
        yield "in: a licence, or what can be looked up, of a distribution that is used"
    package = File(path, 0).package
    used = opened is None or package in {File(one, 0).package for one in (*opened, *named)}
    for name, globs in (("licences", LICENCES), ("the recipe's package_data", recipe.package_data)):
        if used and (glob := _find_glob(path, globs)):
            yield f"in: {glob} of {name}, and {package} is used"
    if opened is None:
        yield "in: no rule names it"
    else:
        yield (
            "out: the smoke prediction neither opens nor maps it, and nothing that stays names it; "
            f'protect = ["{path}"] in the recipe keeps it'
        )


def _find_glob(path: str, globs: Sequence[str]) -> str | None:
    return next((glob for glob in globs if matches(path, [glob])), None)


def _find_rule(path: str, rules: Sequence[Rule]) -> Rule | None:
    return next((rule for rule in rules if matches(path, rule.globs)), None)

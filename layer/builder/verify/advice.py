"""Tell what to do about a prediction that failed: which of Lambda's terms it broke, or which key helps."""

import re
from collections.abc import Collection, Iterable
from pathlib import Path

from layer.builder.slim.globs import matches
from layer.builder.slim.prune import Rule
from layer.builder.verify.terms import MEMORY_MB, TEMPORARY_MB

READ_ONLY = (
    "on Lambda only /tmp can be written to. Have it written below /tmp: most libraries have a variable for "
    "that (XDG_CACHE_HOME, HF_HOME, MPLCONFIGDIR, NUMBA_CACHE_DIR, …), which the smoke script and the "
    "function set before they import the library"
)

_TERMS = {
    r"SemLock|shm_open|there is no /dev/shm|'/dev/shm(/[^/']*)?'": (
        "Lambda has no /dev/shm, which semaphores and shared memory of multiprocessing take: use threads "
        "(multiprocessing.pool.ThreadPool, n_jobs=1, num_workers=0), or processes with pipes"
    ),
    # The second one is numba's.
    r"Read-only file system(?:: '(?P<path>[^']*)')?|cannot cache function": (
        f"the prediction writes to {{path}}: {READ_ONLY}"
    ),
    r"the smoke prediction uses the network|Network is unreachable|[Nn]ame resolution": (
        "a prediction has no network: name the files it needs in [smoke] inputs, or have the script in "
        "[smoke] prepare fetch or make them"
    ),
    r"No space left on device": f"Lambda's /tmp has {TEMPORARY_MB} MB: write less, or keep it in memory",
    r"MemoryError|bad_alloc|Cannot allocate memory": f"no function has more than {MEMORY_MB:,} MB of memory",
    r"is not JSON serializable": (
        "answer() has to return what JSON can hold: have it return array.tolist(), float(x) or str(x)"
    ),
}  # fmt: skip

_MISSING_MODULE = re.compile(r"No module named '([\w.]+)'")
_MISSING_FILE = re.compile(r"No such file or directory: '([^']+)'")


def explain_terms(output: str, layer_trees: Iterable[Path]) -> list[str]:
    """Return which terms of a prediction tracebacks are about, and what to do; at most one line."""
    output = output[max(output.find("Traceback (most recent call last)"), 0) :]
    for pattern, text in _TERMS.items():
        if match := re.search(pattern, output):
            path = match.groupdict().get("path") or "what is read-only there"
            own = any(path.startswith(f"{tree}/") for tree in layer_trees)
            return [text.format(path=f"its layer, {path}" if own else path)]
    return []


def explain_missing(
    output: str,
    tree: Path,
    installed: Collection[str],
    rules: Iterable[Rule],
    exclude: Collection[str],
    unlinked: Collection[str] = (),
) -> list[str]:
    """Return which key of the recipe brings back what an output names as missing; at most one line.

    Args:
        output: that of a prediction.
        tree: the layer's, before compiling.
        installed: paths of all files of the wheels.
        rules: by which files were taken out.
        exclude: the distributions that the recipe leaves out.
        unlinked: paths of libraries that were taken out for want of others; these are not told here.

    """
    stem = ""
    if match := _MISSING_MODULE.search(output):
        stem = match[1].replace(".", "/")
        if any(path.startswith(f"{stem}.") for path in unlinked):
            return []
        found = [path for path in installed if path.startswith((f"{stem}.", f"{stem}/__init__."))]
        name = re.sub(r"[-_.]+", "-", match[1].partition(".")[0]).lower()
        others = f"; exclude has {', '.join(sorted(exclude))}" if exclude else ""
        missing = f"no wheel of the recipe has {match[1]}: add its distribution to requirements{others}"
        if name in exclude:
            missing = (
                f"exclude has {name}, in the recipe or in a part that it includes: pin {name} in the "
                "recipe's requirements, and take it out of an exclude of the recipe's own"
            )
    elif match := _MISSING_FILE.search(output):
        found = [path for path in installed if match[1].endswith(f"/{path}")]
        missing = f"{match[1]} is not in the layer: name it in [smoke] inputs, if the prediction brings it"
    else:
        return []
    if not found:
        return [missing]
    path = found[0]
    if (tree / path).exists():
        return [f'compiling took the source {path} out: sources = ["{path}"] in the recipe keeps it']
    rule = next((rule.name for rule in rules if matches(path, rule.globs)), None)
    taker = f"the rule {rule}" if rule else "the trace, or a patch of the recipe,"
    whole = f', [smoke] imports = ["{stem.partition("/")[0]}"] its whole package' if stem else ""
    return [f'{taker} took {path} out: protect = ["{path}"] in the recipe keeps it{whole}']

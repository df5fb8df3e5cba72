"""One target under atheris, until its time is over: ``coverage.py`` starts it as a process of its own.

Usage: ``python -m soak.fuzz.drive TARGET FOLDER OPTIONS…``, with libFuzzer's options. FOLDER has the
inputs in ``corpus``. A failure does not end the run: the first input of each is kept in ``failures``,
with its traceback beside it.
"""

import hashlib
import random
import shlex
import sys
import traceback
from contextlib import suppress
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["lambda_inference", "lambda_setup", "layer"]):
    from support.project import ROOT

    from soak.fuzz.mutate import mutate
    from soak.fuzz.targets import get_target

    name, folder = sys.argv[1], Path(sys.argv[2])
    target = get_target(name)
    for path in sorted((folder / "corpus").iterdir()):
        with suppress(Exception):  # it is reported when the run begins; this is for imports that come late
            target(path.read_bytes())

seen: set[tuple[type, str, int | None]] = set()


def try_input(data: bytes) -> int:
    """Run the target; an input that cannot be its arguments is not kept."""
    try:
        return 0 if target(data) else -1
    except Exception as error:  # noqa: BLE001 - whatever is unexpected is reported
        own = [
            frame
            for frame in traceback.extract_tb(error.__traceback__)
            if frame.filename.startswith(str(ROOT)) and ".venv" not in frame.filename
        ]
        origin = type(error), own[-1].filename, own[-1].lineno
        if origin not in seen:
            seen.add(origin)
            path = folder / "failures" / hashlib.sha256(data).hexdigest()[:12]
            path.write_bytes(data)
            path.with_suffix(".txt").write_text(traceback.format_exc(), encoding="utf-8", errors="replace")
        return 0


def change_input(data: bytes, limit: int, seed: int) -> bytes:
    """Mutate an input, by its format where it has one."""
    chance = random.Random(seed)  # noqa: S311 - no secret
    changed = mutate(data, chance, lambda part: atheris.Mutate(part, len(part) + 64))
    return changed if 0 < len(changed) <= limit else atheris.Mutate(data, limit)


# To merge a corpus, libFuzzer runs its first argument in a shell.
itself = shlex.join([sys.executable, "-m", "soak.fuzz.drive", name, str(folder)])
atheris.Setup([itself, *sys.argv[3:]], try_input, custom_mutator=change_input)
atheris.Fuzz()

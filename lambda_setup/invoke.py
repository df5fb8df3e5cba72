"""``invoke``: the function on this machine, event by event."""

import argparse
import contextlib
import json
import sys
from pathlib import Path
from typing import Any

from lambda_setup.local import Stack
from lambda_setup.responses import succeeded


def run(options: argparse.Namespace) -> int:
    """Send the events and print the responses; 0 only if all were answered with 200."""
    events = [_read(path) for path in options.event]
    with contextlib.ExitStack() as stack:
        log: Any = 2
        if options.log_file:
            options.log_file.parent.mkdir(parents=True, exist_ok=True)
            log = stack.enter_context(options.log_file.open("wb"))
        say(f"starting S3 and putting the model in {shown(options.model)} there")
        local = stack.enter_context(Stack(options.model, log=log))
        function = stack.enter_context(local.function())
        good = True
        for path, event in zip(options.event, events, strict=True):
            say(
                f"sending {path}"
                + ("; the first answer waits for the model" if path is options.event[0] else "")
            )
            response = function.invoke(event)
            print(json.dumps(response, ensure_ascii=False), flush=True)
            good = good and succeeded(response)
            if options.save:
                for saved in local.save(response, options.save):
                    say(f"saved {saved}, {saved.stat().st_size:,} bytes")
    return 0 if good else 1


def shown(path: Path) -> Path:
    """Return a path as people read it: relative, where it lies below the current folder."""
    with contextlib.suppress(ValueError):
        return path.resolve().relative_to(Path.cwd())
    return path


def say(message: str) -> None:
    """Tell the operator what is happening; standard output is for answers."""
    print(f"· {message}", file=sys.stderr, flush=True)


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is not JSON: {error}") from None

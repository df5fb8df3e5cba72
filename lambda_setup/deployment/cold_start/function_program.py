"""A function's cold start, timed from inside: ``python function_program.py FILE``; FILE says what is asked.

Nothing of the function or of ``lambda_inference`` is other than in Lambda: three of its functions are
wrapped, which takes microseconds. Times are of the system's monotonic clock, which the parent reads as well.
"""

import time

BEGIN = time.monotonic_ns()

import json  # noqa: E402 - the clock comes first
import sys  # noqa: E402
from typing import Any  # noqa: E402


class Context:
    """What Lambda says about an invocation."""

    aws_request_id = "cold-start"

    def get_remaining_time_in_millis(self) -> int:
        """Return a quarter of an hour."""
        return 900_000


def watch(owner: Any, name: str, spans: dict[str, list[int]]) -> None:
    """Have the first call of a function recorded: its start and its end."""
    original = getattr(owner, name)

    def call(*arguments: Any, **keywords: Any) -> Any:
        start = time.monotonic_ns()
        try:
            return original(*arguments, **keywords)
        finally:
            spans.setdefault(name, [start, time.monotonic_ns()])

    setattr(owner, name, call)


def main(path: str) -> None:
    """Answer the event, and print the answer and the ends of the phases."""
    with open(path, encoding="utf-8") as file:  # noqa: PTH123 - pathlib is an import more
        asked = json.load(file)
    ends, beside, spans = {"interpreter": BEGIN}, {}, {}  # type: ignore[var-annotated]
    start = time.monotonic_ns()
    from lambda_inference import _layer_marker, _serving
    from lambda_inference._model_store import ModelStore

    ends["package"] = time.monotonic_ns()
    watch(_serving.ModelManager, "_start", spans)  # constructs the predictor, which imports its libraries
    watch(ModelStore, "load", spans)
    watch(_serving, "_load", spans)
    from app import lambda_handler  # the function's

    answer = json.dumps(lambda_handler(asked["event"], Context()))
    sys.stdout.write(f"answer {answer}\n")
    sys.stdout.flush()
    ends["answer"] = time.monotonic_ns()
    if "_load" in spans:
        ends |= {"imports": spans["_start"][1], "model": spans["_load"][0], "load": spans["_load"][1]}
        beside["model"] = spans["load"]
    if _layer_marker.nested:
        from lambda_inference import _unpack

        if unpacked := _unpack.result():
            beside["unpack"] = [start, start + int(unpacked.seconds * 1e9)]
    sys.stdout.write(f"times {json.dumps({'ends': ends, 'beside': beside})}\n")


if __name__ == "__main__":
    main(sys.argv[1])

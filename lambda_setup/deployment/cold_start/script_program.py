"""The usual recipe, timed from inside: ``python script_program.py FILE``; FILE says what is asked.

It imports the function's libraries, reads the model by boto3 into a ``BytesIO`` a file, has the function's
own predictor load it, and predicts: one after the other, with nothing beside the imports. Another script may
stand in its place: a file with a ``lambda_handler`` that imports and loads what it needs at its top.
"""

import time

BEGIN = time.monotonic_ns()

import json  # noqa: E402 - the clock comes first
import os  # noqa: E402
import sys  # noqa: E402
from typing import Any  # noqa: E402


def follow_recipe(asked: dict[str, Any], ends: dict[str, int]) -> Any:
    """Return the recipe's answer."""
    from lambda_inference import Deadline, Manifest, Model
    from lambda_inference._inline import InlineRecords
    from lambda_inference._requests import parse

    ends["package"] = time.monotonic_ns()
    from app import lambda_handler  # the function's

    handler: Any = lambda_handler
    predictor = handler.predictor_type()
    ends["imports"] = time.monotonic_ns()
    import io

    import boto3
    import msgspec

    client, files = boto3.client("s3"), {}
    for name in asked["files"]:
        buffer = io.BytesIO()
        client.download_fileobj(os.environ["MODEL_BUCKET"], f"{asked['prefix']}/{name}", buffer)
        files[name] = memoryview(buffer.getvalue())
    manifest = msgspec.convert(asked["manifest"], Manifest)
    ends["model"] = time.monotonic_ns()
    predictor.load(Model(manifest, manifest.version, files))
    ends["load"] = time.monotonic_ns()
    request = parse(asked["event"], predictor.Request)
    inline = InlineRecords(request, predictor)
    for _ in inline.collect(predictor.predict(request, Deadline.after(900))):
        pass
    return {"predictions": inline.records}


def run_script(asked: dict[str, Any], ends: dict[str, int]) -> Any:
    """Return the answer of somebody's own script."""
    from importlib.util import module_from_spec, spec_from_file_location

    spec = spec_from_file_location("script", asked["script"])
    assert spec is not None  # noqa: S101 - it is a file of Python
    assert spec.loader is not None  # noqa: S101
    sys.path.insert(0, os.path.dirname(asked["script"]))  # noqa: PTH120 - pathlib is an import more
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    ends["load"] = time.monotonic_ns()
    return module.lambda_handler(asked["event"], None)


def main(path: str) -> None:
    """Answer the event, and print the answer and the ends of the phases."""
    with open(path, encoding="utf-8") as file:  # noqa: PTH123 - pathlib is an import more
        asked = json.load(file)
    ends = {"interpreter": BEGIN}
    answer = json.dumps((run_script if asked["script"] else follow_recipe)(asked, ends))
    sys.stdout.write(f"answer {answer}\n")
    sys.stdout.flush()
    ends["answer"] = time.monotonic_ns()
    sys.stdout.write(f"times {json.dumps({'ends': ends, 'beside': {}})}\n")


if __name__ == "__main__":
    main(sys.argv[1])

"""A model in a folder, loaded by the function on the path; the manifest comes on standard input.

Run as ``python load_runner.py FOLDER``. Its last line is JSON: empty, or ``reason`` and whether a module is
``missing``, if the model does not load.
"""

import json
import sys
from pathlib import Path

import msgspec

from lambda_inference import Fault, Manifest, Model


def main(folder: Path) -> None:
    """Load a model, and print whether its function serves it."""
    manifest = msgspec.json.decode(sys.stdin.buffer.read(), type=Manifest)
    files = {file.name: memoryview((folder / file.name).read_bytes()) for file in manifest.files}
    try:
        from app import lambda_handler

        predictor = lambda_handler.predictor_type()  # type: ignore[attr-defined]
        predictor.load(Model(manifest, manifest.version, files))
        if check := getattr(predictor, "check", None):
            check()
    except Exception as error:  # noqa: BLE001 - whatever it is, the function would not serve the model
        reason = error.message if isinstance(error, Fault) else f"{type(error).__name__}: {error}"
        causes = {type(one) for one in (error, error.__cause__)}
        print(json.dumps({"reason": " ".join(reason.split()), "missing": ModuleNotFoundError in causes}))
    else:
        print("{}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

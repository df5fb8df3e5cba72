"""A function's predictor without a function: ``python predict.py CODE MODEL``, with a request on its input.

Prints the predictions as an inline answer has them. The packages and lambda_inference are on PYTHONPATH.
"""

import json
import sys
import tomllib
from pathlib import Path


def main(code: Path, folder: Path) -> None:
    """Answer the request."""
    sys.path.insert(0, str(code))
    from lambda_inference import Deadline, Manifest, Model
    from lambda_inference._requests import parse

    table = tomllib.loads((folder / "model.toml").read_text())
    manifest = Manifest(
        name="x", engine=table["engine"], precision=table["precision"], libraries={}, files=[]
    )
    files = {name: memoryview((folder / name).read_bytes()) for name in table["files"]}
    import app

    predictor = app.lambda_handler.predictor_type()
    predictor.load(Model(manifest, "x", files))
    request = parse(json.load(sys.stdin), predictor.Request)
    for one in predictor.predict(request, Deadline.after(600)):
        arrays = {kind: array.tolist() for kind, (array,) in one.arrays.items()}
        sys.stdout.write(json.dumps({**one.record, **arrays}) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))

"""The whole application on this machine: an S3 server with a model in it, and the function in its layers."""

import contextlib
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, Self

from lambda_setup import models
from lambda_setup.local.dependencies import layers
from lambda_setup.local.emulator import Emulator
from lambda_setup.local.s3 import S3Server
from lambda_setup.responses import body_of

ROOT = Path(__file__).resolve().parents[2]
SHIPPED_MODEL = ROOT / "models" / "en-es"
MODEL_BUCKET = "models"
RESULT_BUCKET = "results"


class Stack:
    """What a deployed stack is, locally: its buckets, its model, and as many functions as asked for."""

    def __init__(self, model: Path, *, s3: S3Server | None = None, log: IO[bytes] | int = 2) -> None:
        self.s3 = s3 or S3Server()
        self._model = model
        self._log = log
        self.manifest = models.describe(model)

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            stack.enter_context(self.s3)
            self.client = self.s3.client()
            for bucket in (MODEL_BUCKET, RESULT_BUCKET):
                self.client.create_bucket(Bucket=bucket)
            models.publish(self._model, self.client, MODEL_BUCKET)
            self.temporary = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lambda-tmp-")))
            self._exit = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._exit.close()

    def function(self, *, env: Mapping[str, str] | None = None, **options: Any) -> Emulator:
        """Return a function of the stack, to be started by ``with``."""
        return Emulator(
            ROOT / "translation_function",
            layers=layers(self.manifest.engine),
            # One /tmp for all: what the first function unpacks, the others find.
            temporary=options.pop("temporary", self.temporary),
            env=self.environment() | dict(env or {}),
            log=self._log,
            **options,
        )

    def environment(self) -> dict[str, str]:
        """Return what the template puts into the function's environment."""
        return {
            **self.s3.environment(),
            "MODEL_BUCKET": MODEL_BUCKET,
            "MODEL_NAME": self.manifest.name,
            "MODEL_CHANNEL": "dev",
            "RESULT_BUCKET": RESULT_BUCKET,
            "ENGINE": self.manifest.engine,
        }

    def save(self, response: Any, folder: Path) -> list[Path]:
        """Fetch the objects that a response names into folder/<key>, and return their paths."""
        body = body_of(response)
        paths = []
        for key in (value for name, value in body.items() if name.endswith("_key")):
            path = folder / key
            path.parent.mkdir(parents=True, exist_ok=True)
            partial = path.with_name(f".{path.name}.partial")
            self.client.download_file(body["s3_bucket"], key, str(partial))
            partial.rename(path)
            paths.append(path)
        return paths

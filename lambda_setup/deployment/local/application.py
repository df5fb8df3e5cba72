"""The whole application on this machine: an S3 with a model in it, and the function in its layers."""

import contextlib
import functools
import os
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, Self

from lambda_setup import functions
from lambda_setup.deployment.local.emulator import Emulator
from lambda_setup.deployment.local.layers import layers
from lambda_setup.deployment.local.s3 import S3, S3Server
from lambda_setup.deployment.responses import body_of, succeeded
from lambda_setup.functions import ROOT
from lambda_setup.models.describe import describe
from lambda_setup.models.upload import upload

SHIPPED_MODEL = ROOT / "models" / "en-es"
MODEL_BUCKET = "models"
RESULT_BUCKET = "results"

PORT = 8333
# Known to events/env.json, and to nobody outside this machine: the server listens on loopback.
ACCESS_KEY, SECRET_KEY = "local-access-key", "local-secret-key"


class Application:
    """What a deployed stack is, locally: S3, a model in it, and as many functions as asked for."""

    def __init__(
        self, s3: S3, name: str, engine: str, *, channel: str = "dev", log: IO[bytes] | int = 2
    ) -> None:
        self.s3 = s3
        self._name = name
        self._engine = engine
        self._channel = channel
        self._log = log

    def __enter__(self) -> Self:
        self.client = self.s3.client()
        self._folder = tempfile.TemporaryDirectory(prefix="lambda-tmp-")
        self.temporary = Path(self._folder.name)
        return self

    def __exit__(self, *_: object) -> None:
        self._folder.cleanup()

    @functools.cached_property
    def layers(self) -> list[Path]:
        """The layers that its functions run in, built at the first look."""
        return layers(self._engine)

    def function(self, *, env: Mapping[str, str] | None = None, **options: Any) -> Emulator:
        """Return a function of the stack, to be started by ``with``."""
        return Emulator(
            functions.running(self._engine).code,
            layers=self.layers,
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
            "MODEL_NAME": self._name,
            "MODEL_CHANNEL": self._channel,
            "RESULT_BUCKET": RESULT_BUCKET,
            "ENGINE": self._engine,
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


def served() -> S3:
    """Return the S3 that ``make s3`` serves; AWS_ENDPOINT_URL_S3 may name another address of it.

    Raises:
        RuntimeError: nothing answers there.

    """
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{PORT}")
    s3 = S3(endpoint, ACCESS_KEY, SECRET_KEY)
    if not s3.answers():
        raise RuntimeError(f"nothing serves S3 at {endpoint}; run `make s3` in another terminal")
    return s3


class Stack(Application):
    """An application with buckets and a model of its own."""

    def __init__(self, model: Path, *, s3: S3Server | None = None, log: IO[bytes] | int = 2) -> None:
        self.manifest = describe(model)
        self._model = model
        self._server = s3 or S3Server()
        super().__init__(self._server, self.manifest.name, self.manifest.engine, log=log)

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            stack.enter_context(self._server)
            super().__enter__()
            stack.push(super().__exit__)
            for bucket in (MODEL_BUCKET, RESULT_BUCKET):
                # A server whose data are kept has them from the last time.
                with contextlib.suppress(self.client.exceptions.BucketAlreadyOwnedByYou):
                    self.client.create_bucket(Bucket=bucket)
            upload(self._model, self.manifest, self.client, MODEL_BUCKET)
            self._exit = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._exit.close()


def predictions(model: Path, request: Mapping[str, Any], **options: Any) -> list[Any]:
    """Return what the function on this machine predicts with the model in a folder.

    Args:
        model: the folder.
        request: what is asked; the answer comes inline.
        options: of the function.

    Raises:
        RuntimeError: it answers anything but 200.

    """
    with Stack(model, log=subprocess.DEVNULL) as stack, stack.function(**options) as function:
        response = function.invoke({**request, "result": "inline"})
    if not succeeded(response):
        raise RuntimeError(f"the function answered {response}")
    return list(body_of(response)["predictions"])

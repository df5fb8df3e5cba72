"""A deployment on this machine: an S3 with a model in it, and the function in its layers."""

import contextlib
import functools
import getpass
import json
import os
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from typing import IO, Any, Self

from lambda_setup import functions
from lambda_setup.deployment import FunctionFacts, StateMachine
from lambda_setup.deployment.local.emulator import Emulator
from lambda_setup.deployment.local.lambda_service import LambdaService
from lambda_setup.deployment.local.layers import build_layers
from lambda_setup.deployment.local.s3 import S3, S3Server
from lambda_setup.deployment.local.stepfunctions import StepFunctions
from lambda_setup.deployment.responses import get_body, is_success, parse_response, save_objects
from lambda_setup.errors import CommandError
from lambda_setup.functions import ROOT
from lambda_setup.models.bucket import ModelBucket
from lambda_setup.models.describe import PublishedManifest, describe
from lambda_setup.models.upload import upload
from layer.builder.target import host_architecture

SHIPPED_MODEL = ROOT / "models" / "en-es"
MODEL_BUCKET = "models"
RESULT_BUCKET = "results"
DEFINITION = ROOT / "statemachines" / "translate_corpus.asl.json"
PORT = 8333
# Known to events/env.json, and to nobody outside this machine: the server listens on loopback.
ACCESS_KEY, SECRET_KEY = "local-access-key", "local-secret-key"


@dataclass(eq=False, repr=False)
class LocalDeployment:
    """S3, a model in it, and as many functions as asked for, as a deployed stack has them."""

    where = "on this machine"
    arguments = "--local"
    account = ""
    result_bucket = RESULT_BUCKET

    s3: S3
    model: str  # its name
    engine: str
    _: KW_ONLY
    channel: str = "dev"
    log: IO[bytes] | int = 2
    manifest: PublishedManifest = field(init=False)  # if the model came from a folder
    _folder: Path | None = field(default=None, init=False)
    _emulators: list[Emulator] = field(default_factory=list, init=False)

    @classmethod
    def from_folder(cls, model: Path, *, s3: S3Server | None = None, log: IO[bytes] | int = 2) -> Self:
        """Return a deployment that starts an S3, by default a temporary one, and uploads a folder's model."""
        manifest = describe(model)
        deployment = cls(s3 or S3Server(), manifest.name, manifest.engine, log=log)
        deployment.manifest, deployment._folder = manifest, model
        return deployment

    @classmethod
    def connect(cls, model: str, channel: str = "dev", *, log: IO[bytes] | int = 2) -> Self:
        """Return a deployment on the S3 that ``make s3`` serves, with a model in it."""
        manifest = open_model_bucket().manifest(model, channel)
        return cls(connect_local_s3(), model, manifest.engine, channel=channel, log=log)

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            if self._folder and isinstance(self.s3, S3Server):
                stack.enter_context(self.s3)
            self.client = self.s3.client()
            self.temporary = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lambda-tmp-")))
            if self._folder:
                for bucket in (MODEL_BUCKET, RESULT_BUCKET):
                    # A server whose data are kept has them from the last time.
                    with contextlib.suppress(self.client.exceptions.BucketAlreadyOwnedByYou):
                        self.client.create_bucket(Bucket=bucket)
                upload(self._folder, self.manifest, self.client, MODEL_BUCKET)
            self._exit = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._exit.close()

    @functools.cached_property
    def layers(self) -> list[Path]:
        """Layers that its functions run in, built at the first look."""
        return build_layers(self.engine)

    def function(
        self, *, code: Path | None = None, env: Mapping[str, str] | None = None, **options: Any
    ) -> Emulator:
        """Return a function of its own, to be started by ``with``: its engine's, or the one in a folder."""
        return Emulator(
            code or functions.for_engine(self.engine).code,
            layers=self.layers,
            # One /tmp for all: what the first function unpacks, the others find.
            temporary=options.pop("temporary", self.temporary),
            env=self.environment() | dict(env or {}),
            log=self.log,
            **options,
        )

    def environment(self) -> dict[str, str]:
        """Return the environment variables that the template gives the function."""
        return {
            **self.s3.environment(),
            "MODEL_BUCKET": MODEL_BUCKET,
            "MODEL_NAME": self.model,
            "MODEL_CHANNEL": self.channel,
            "RESULT_BUCKET": RESULT_BUCKET,
            "ENGINE": self.engine,
        }

    def save(self, response: Any, folder: Path) -> list[Path]:
        """Fetch the objects that a response names into folder/<key>, and return their paths."""
        return save_objects(self.client, response, folder)

    def start_functions(self, count: int = 1, **options: Any) -> None:
        """Start functions that answer ``invoke``, until the deployment ends."""
        self._emulators = [self._exit.enter_context(self.function(**options)) for _ in range(count)]
        self._service = self._exit.enter_context(LambdaService(self._emulators))

    @property
    def facts(self) -> FunctionFacts:
        """Configuration of the functions that were started."""
        return FunctionFacts(
            timeout=self._emulators[0].timeout,
            memory=self._emulators[0].memory,
            architecture=host_architecture(),
            workers=len(self._emulators),
        )

    def invoke(self, event: Any) -> Any:
        """Send an event to an idle function and return the response, a raised error as a returned one."""
        if not self._emulators:
            self.start_functions()
        # Escapes only, as boto3's callers send them: a lone surrogate is not UTF-8.
        return parse_response(self._service.send(json.dumps(event).encode("ascii")).decode())

    @functools.cached_property
    def state_machine(self) -> StateMachine:
        """State machine that sends shards to the functions, in Step Functions started at the first look."""
        env = {**self.s3.environment(), "AWS_ENDPOINT_URL_LAMBDA": self._service.endpoint}
        states = self._exit.enter_context(StepFunctions(env=env, log=self.log))
        values = {
            "Partition": "aws",
            "FunctionAliasArn": "function",
            "ResultBucket": RESULT_BUCKET,
            "MaxConcurrency": str(len(self._emulators)),
            "ToleratedFailurePercentage": "100",
        }
        # CloudFormation fills in the same placeholders.
        definition = DEFINITION.read_text(encoding="utf-8")
        for name, value in values.items():
            definition = definition.replace(f"${{{name}}}", value)
        role = "arn:aws:iam::123456789012:role/none"
        machine = states.client.create_state_machine(name="batch", definition=definition, roleArn=role)
        return StateMachine(client=states.client, arn=machine["stateMachineArn"])


def connect_local_s3() -> S3:
    """Return the S3 that ``make s3`` serves; AWS_ENDPOINT_URL_S3 may name another address of it."""
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{PORT}")
    s3 = S3(endpoint, ACCESS_KEY, SECRET_KEY)
    if not s3.answers():
        raise CommandError(f"nothing serves S3 at {endpoint}; run `make s3` in another terminal")
    return s3


def open_model_bucket() -> ModelBucket:
    """Return the model bucket of the S3 that ``make s3`` serves."""
    server = connect_local_s3()
    return ModelBucket(
        server.client(),
        MODEL_BUCKET,
        identify=lambda: f"local:{_get_user()}",
        environment=server.environment(),
        arguments="--local",
    )


def predict(model: Path, request: Mapping[str, Any], **options: Any) -> list[Any]:
    """Return the inline predictions of the function on this machine with the model in a folder."""
    with LocalDeployment.from_folder(model, log=subprocess.DEVNULL) as local:
        local.start_functions(**options)
        response = local.invoke({**request, "result": "inline"})
    if not is_success(response):
        raise CommandError(f"the function answered {response}")
    return list(get_body(response)["predictions"])


def _get_user() -> str:
    with contextlib.suppress(KeyError, OSError):
        return getpass.getuser()
    return "unknown"

"""Step Functions on this machine: moto's interpreter in a process of its own, on the loopback interface.

It runs the same definition as AWS, but ignores the tolerated failures: a run goes on whatever fails.
``python -m lambda_setup.deployment.local.stepfunctions PORT`` is that process.
"""

import os
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, Self

from lambda_setup.deployment.local.process import Program, free_ports, listens
from lambda_setup.deployment.local.s3 import REGION
from lambda_setup.functions import ROOT

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions import SFNClient


@dataclass(kw_only=True, eq=False, repr=False)
class StepFunctions:
    """A server of Step Functions' API, with a client for it."""

    env: Mapping[str, str]  # gives its tasks access to S3 and Lambda
    log: IO[bytes] | int = 2

    def __enter__(self) -> Self:
        import boto3

        [port] = free_ports(1)
        self._program = Program(
            [sys.executable, "-m", "lambda_setup.deployment.local.stepfunctions", str(port)],
            env={"PATH": os.environ.get("PATH", ""), **self.env},
            cwd=ROOT,
            log=self.log,
            grace=0,
        )
        try:
            self._program.wait_until(lambda: listens(port), seconds=60)
        except BaseException:
            self._program.stop()
            raise
        self.client: SFNClient = boto3.client(
            "stepfunctions",
            endpoint_url=f"http://127.0.0.1:{port}",
            region_name=REGION,
            aws_access_key_id="none",
            aws_secret_access_key="none",  # noqa: S106 - nothing checks it
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._program.stop()


def _serve(port: int) -> None:
    """Serve until the process ends."""
    import boto3
    from botocore.config import Config
    from moto.core.config import default_user_config
    from moto.stepfunctions.parser.asl.component.eval_component import EvalComponent
    from moto.stepfunctions.parser.asl.utils import boto_client

    def client(region: str, service: Any, **_: Any) -> Any:
        patience = Config(parameter_validation=False, read_timeout=1000, retries={"total_max_attempts": 1})
        return boto3.client(service, region_name=region, config=patience)

    # Tasks would call moto's own S3 and Lambda; the environment names real ones.
    boto_client.boto_client_for = client  # type: ignore[assignment]
    # Items that fail at once could each draw a key for one rule, and lose a count: one try too many.
    EvalComponent.heap_key = property(lambda self: str(id(self)))  # type: ignore[method-assign, assignment]
    default_user_config["stepfunctions"] = {"execute_state_machine": True}
    sys.setrecursionlimit(100_000)  # it handles a map's items in a recursion
    threading.stack_size(256 << 20)
    from moto.server import ThreadedMotoServer

    ThreadedMotoServer(ip_address="127.0.0.1", port=port, verbose=False).start()
    threading.Event().wait()


if __name__ == "__main__":
    _serve(int(sys.argv[1]))

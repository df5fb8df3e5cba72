"""Deployments: a function with its buckets, in AWS or on this machine, behind one protocol."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_stepfunctions import SFNClient


@dataclass(frozen=True, kw_only=True)
class FunctionFacts:
    """A function's configuration."""

    timeout: int  # seconds
    memory: int  # megabytes
    architecture: str  # arm64 or x86_64
    region: str = ""  # by whose prices it is paid; empty on this machine
    workers: int = 0  # environments; 0 where Lambda decides


@dataclass(frozen=True, kw_only=True)
class StateMachine:
    """A state machine of Step Functions, with a client for it."""

    client: "SFNClient"
    arn: str


class Deployment(Protocol):
    """A function with its buckets, in AWS or on this machine."""

    where: str  # it runs, for people
    arguments: str  # by which a command that is printed finds it
    account: str  # the same for a command of AWS's own: --region and --profile
    client: "S3Client"  # of the S3 that has both buckets

    @property
    def result_bucket(self) -> str:
        """Bucket that the function reads corpora from and stores results in."""

    @property
    def facts(self) -> FunctionFacts:
        """Configuration of the function."""

    def environment(self) -> Mapping[str, str]:
        """Return the function's environment variables: MODEL_BUCKET, MODEL_NAME, MODEL_CHANNEL and others."""

    def invoke(self, event: Any) -> Any:
        """Send an event and return the response, a raised error in the form of a returned one."""

    @property
    def state_machine(self) -> StateMachine:
        """State machine that sends shards of a corpus to the function."""

"""Functions that answer, with what they stand in."""

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lambda_setup.deployment.local import Emulator, LocalDeployment


@dataclass(frozen=True)
class WarmFunction:
    """A function that answers events, with its stack and the file that it logs to."""

    function: Emulator
    stack: LocalDeployment
    log: Path

    def invoke(self, event: Any) -> Any:
        """Send an event and return the response."""
        return self.function.invoke(event)


def create_bucket(stack: LocalDeployment, name: str) -> None:
    """Create a bucket beside a stack's own, unless a module that this worker ran before has done so."""
    with contextlib.suppress(stack.client.exceptions.BucketAlreadyOwnedByYou):
        stack.client.create_bucket(Bucket=name)

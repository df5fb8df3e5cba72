"""Functions that answer, with what they stand in."""

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

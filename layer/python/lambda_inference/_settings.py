"""The function's settings: the variables that template.yaml and Lambda put into its environment."""

import os

from msgspec import Struct

from lambda_inference._errors import Unavailable


class Settings(Struct, frozen=True):
    """The function's environment at one moment; ``None`` where a variable is not set.

    Attributes:
        memory: megabytes of the function.
        initialization_type: ``on-demand``, ``provisioned-concurrency`` or ``snap-start``.
        model_refresh_seconds: how long a warm function leaves its channel unchecked.
        model_swap: ``beside``, or ``instead`` where memory holds one model only.

    """

    engine: str | None
    memory: int | None
    initialization_type: str
    model_bucket: str | None
    model_name: str | None
    model_channel: str
    model_refresh_seconds: float
    model_swap: str
    result_bucket: str | None
    stack_name: str | None

    @classmethod
    def read(cls) -> "Settings":
        """Read the environment."""
        get = os.environ.get
        memory = get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE")
        return cls(
            engine=get("ENGINE"),
            memory=int(memory) if memory else None,
            initialization_type=get("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand"),
            model_bucket=get("MODEL_BUCKET"),
            model_name=get("MODEL_NAME"),
            model_channel=get("MODEL_CHANNEL", "dev"),
            model_refresh_seconds=float(get("MODEL_REFRESH_SECONDS", "60")),
            model_swap=get("MODEL_SWAP", "beside"),
            result_bucket=get("RESULT_BUCKET"),
            stack_name=get("STACK_NAME"),
        )

    def require(self, field: str) -> str:
        """Return a setting that has no default.

        Raises:
            Unavailable: its variable is not set.

        """
        value: str | None = getattr(self, field)
        if value is None:
            raise Unavailable(f"the function's environment lacks {field.upper()}; the template sets it")
        return value

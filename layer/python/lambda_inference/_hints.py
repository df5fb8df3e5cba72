"""Commands of lambda_setup that a function's errors tell the operator to run."""

import os

from lambda_inference._settings import Settings


def publish_command() -> str:
    """Return the command that puts a model into the function's channel: prod gets what dev has."""
    settings = Settings.read()
    name = settings.model_name or "NAME"
    verb = f"promote {name}" if settings.model_channel == "prod" else f"publish models/{name}"
    region = os.environ.get("AWS_REGION")
    return f"python -m lambda_setup model {verb} --stack {settings.stack_name or 'STACK'}" + (
        f" --region {region}" if region else ""
    )

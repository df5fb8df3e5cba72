"""Commands of lambda_setup that a function's errors tell the operator to run."""

import os

from lambda_inference._settings import Settings


def publish_command() -> str:
    """Return the command that fills the model bucket."""
    settings = Settings.read()
    region = os.environ.get("AWS_REGION")
    return (
        f"python -m lambda_setup model publish models/{settings.model_name or 'NAME'} "
        f"--stack {settings.stack_name or 'STACK'}" + (f" --region {region}" if region else "")
    )

"""Commands of lambda_setup that a function's errors tell the operator to run."""

from lambda_inference._settings import Settings


def publish_command() -> str:
    """Return the command that fills the model bucket."""
    settings = Settings.read()
    return (
        f"python -m lambda_setup model publish models/{settings.model_name or 'NAME'} "
        f"--stack {settings.stack_name or 'STACK'}"
    )

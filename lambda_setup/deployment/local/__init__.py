"""The function and an S3 server on this machine, without a container."""

from lambda_setup.deployment.local.application import (
    MODEL_BUCKET,
    SHIPPED_MODEL,
    Application,
    Stack,
    predictions,
    served,
)
from lambda_setup.deployment.local.emulator import Emulator
from lambda_setup.deployment.local.s3 import S3, S3Server

__all__ = [
    "MODEL_BUCKET",
    "S3",
    "SHIPPED_MODEL",
    "Application",
    "Emulator",
    "S3Server",
    "Stack",
    "predictions",
    "served",
]

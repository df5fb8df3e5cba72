"""Deployments on this machine: processes on the loopback interface, without a container."""

from lambda_setup.deployment.local.application import (
    MODEL_BUCKET,
    RESULT_BUCKET,
    SHIPPED_MODEL,
    LocalDeployment,
    predict,
)
from lambda_setup.deployment.local.emulator import Emulator
from lambda_setup.deployment.local.s3 import S3Server

__all__ = [
    "MODEL_BUCKET",
    "RESULT_BUCKET",
    "SHIPPED_MODEL",
    "Emulator",
    "LocalDeployment",
    "S3Server",
    "predict",
]

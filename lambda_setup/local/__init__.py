"""The function and an S3 server on this machine, without a container."""

from lambda_setup.local.emulator import Emulator
from lambda_setup.local.s3 import S3Server
from lambda_setup.local.stack import SHIPPED_MODEL, Stack

__all__ = ["SHIPPED_MODEL", "Emulator", "S3Server", "Stack"]

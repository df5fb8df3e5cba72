"""The function and an S3 server on this machine, without a container."""

from lambda_setup.local.emulator import Emulator
from lambda_setup.local.s3 import S3Server
from lambda_setup.local.stack import Stack

__all__ = ["Emulator", "S3Server", "Stack"]

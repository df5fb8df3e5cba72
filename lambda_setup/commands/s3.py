"""``s3``: an S3 server with the model, for other programs to use."""

import argparse
import signal

from lambda_setup.deployment.local import S3Server, Stack
from lambda_setup.deployment.local.application import ACCESS_KEY, SECRET_KEY
from lambda_setup.output import relative_path, status


def run(options: argparse.Namespace) -> int:
    """Serve until Ctrl-C."""
    status(f"starting S3 and putting the model in {relative_path(options.model)} there")
    with Stack(options.model, s3=S3Server(options.port, ACCESS_KEY, SECRET_KEY)) as stack:
        for name, value in stack.environment().items():
            print(f"{name}={value}", flush=True)
        status("serving; Ctrl-C ends it")
        try:
            signal.pause()
        except KeyboardInterrupt:
            status("ended")
    return 0

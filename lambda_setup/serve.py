"""``s3``: an S3 server with the model, for other programs to use."""

import argparse
import signal

from lambda_setup.invoke import say, shown
from lambda_setup.local import S3Server, Stack
from lambda_setup.local.stack import ACCESS_KEY, SECRET_KEY


def run(options: argparse.Namespace) -> int:
    """Serve until Ctrl-C."""
    say(f"starting S3 and putting the model in {shown(options.model)} there")
    with Stack(options.model, s3=S3Server(options.port, ACCESS_KEY, SECRET_KEY)) as stack:
        for name, value in stack.environment().items():
            print(f"{name}={value}", flush=True)
        say("serving; Ctrl-C ends it")
        try:
            signal.pause()
        except KeyboardInterrupt:
            say("ended")
    return 0

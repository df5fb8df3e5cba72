"""``batch clean``: nothing of local runs is left."""

import argparse
import shutil

from lambda_setup.batch.place import STORE, alone
from lambda_setup.invoke import say, shown


def run(_: argparse.Namespace) -> int:
    """Delete the local store."""
    if not STORE.exists():
        say(f"there is no {shown(STORE)}")
        return 0
    with alone():
        shutil.rmtree(STORE)
    say(f"deleted {shown(STORE)}")
    return 0

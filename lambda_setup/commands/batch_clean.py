"""``batch clean``: nothing of local runs is left."""

import argparse
import shutil

from lambda_setup.deployment.batch_place import STORE, alone
from lambda_setup.output import relative_path, status


def run(_: argparse.Namespace) -> int:
    """Delete the local store."""
    if not STORE.exists():
        status(f"there is no {relative_path(STORE)}")
        return 0
    with alone():
        shutil.rmtree(STORE)
    status(f"deleted {relative_path(STORE)}")
    return 0

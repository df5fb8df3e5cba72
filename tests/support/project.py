"""The project's places."""

import sysconfig
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MODEL = ROOT / "models" / "en-es"
SCRIPTS = Path(sysconfig.get_path("scripts"))
"""Where the commands of the environment's packages are."""

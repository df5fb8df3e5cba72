"""Look for known vulnerabilities of what ``make`` installs and of what layers hold: ``make audit``."""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
AUDITOR = ROOT / ".venv" / "audit" / "bin" / "pip-audit"
_PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^\s+]+)", re.MULTILINE)


def read_pins(text: str) -> list[str]:
    """Return the pins of a lock, without hashes and local parts of versions, which no database knows."""
    return sorted({f"{name}=={version}" for name, version in _PIN.findall(text)})


def list_locks() -> list[Path]:
    """Return the lock of ``make``, and those of all layers."""
    return [ROOT / "requirements.lock", *sorted(ROOT.glob("layer/recipes/*/**/wheels.lock"))]


def main() -> int:
    """Audit each lock, and return 1 if one has a vulnerability."""
    worst = 0
    with tempfile.TemporaryDirectory() as folder:
        pins = Path(folder) / "requirements.txt"
        for lock in list_locks():
            print(lock.relative_to(ROOT), flush=True)
            pins.write_text("\n".join([*read_pins(lock.read_text(encoding="utf-8")), ""]), encoding="utf-8")
            options = ["--no-deps", "--disable-pip", "--progress-spinner", "off", "--requirement", str(pins)]
            worst = max(worst, subprocess.run([AUDITOR, *options], check=False).returncode)
    return worst


if __name__ == "__main__":
    sys.exit(main())

"""Let a virtual environment follow the project's folder wherever that is copied or moved.

pip writes absolute paths. Here the project's own packages are found by relative ones, and the scripts in
``bin`` start the Python beside them: ``python tools/environment.py .venv``.
"""

import os
import re
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = (ROOT, ROOT / "layer" / "python")

# The kernel takes a first line with a space for a program and its argument; this is how pip writes it then:
# the shell and Python both read it.
_SHEBANG = re.compile(rb"#!(/.* .*/python[\d.]*)\n")
_EXEC = b"""#!/bin/sh
'''exec' "%s" "$0" "$@"
' '''
"""


def main(environment: Path) -> None:
    """Rewrite the paths of an environment, if it is the one that runs this, and not a link to another's."""
    prefix, record = Path(sys.prefix), environment / "prefix"
    if environment.is_symlink() or prefix.resolve() != environment.resolve():
        return
    former = record.read_text(encoding="utf-8") if record.exists() else str(prefix)
    library = sysconfig.get_path("purelib")
    lines = (os.path.relpath(package, library) for package in PACKAGES)
    (Path(library) / "_project.pth").write_text("\n".join([*lines, ""]), encoding="utf-8")
    for script in (*prefix.glob("bin/*"), *prefix.glob("*/bin/*")):
        content = b"" if script.is_symlink() or script.is_dir() else script.read_bytes()
        if former.encode() in content and b"\0" not in content:
            content = content.replace(former.encode(), str(prefix).encode())
            if match := _SHEBANG.match(content):
                content = _EXEC % match[1] + content[match.end() :]
            script.write_bytes(content)
    record.write_text(str(prefix), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

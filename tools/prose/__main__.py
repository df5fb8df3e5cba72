"""Check the prose of pages, code and templates: ``python -m tools.prose [FILE…]``.

It exits with 1 if it finds something. ``--table`` prints how hard the pages are to read.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from tools.prose.check import Rules, check_code, check_page, list_code, list_pages, load_rules
from tools.prose.readability import draw_table, read_revision

ROOT = Path(__file__).resolve().parents[2]


def main() -> int:
    """Print what is found in each file, or the table."""
    parser = argparse.ArgumentParser(prog="python -m tools.prose", description=__doc__.partition("\n")[0])
    parser.add_argument(
        "files", nargs="*", type=Path, metavar="FILE", help="page, module or template (default: all)"
    )
    parser.add_argument("--table", action="store_true",
                        help="print words a sentence and reading ease, page by page")  # fmt: skip
    parser.add_argument("--revision", metavar="COMMIT", help="with --table: the pages as a commit had them")
    options = parser.parse_args()
    rules = load_rules()
    files = options.files or [*list_pages(ROOT, rules), *list_code(ROOT, rules)]
    if options.table:
        pages = ((_name(path), path.read_text(encoding="utf-8")) for path in files if path.suffix == ".md")
        print("\n".join(draw_table(read_revision(ROOT, options.revision) if options.revision else pages)))
        return 0
    findings = [f"{_name(path)}:{finding}" for path in files for finding in _check(path, rules)]
    print("\n".join(findings), end="\n" if findings else "")
    return int(bool(findings))


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT) if path.is_absolute() else path)


def _check(path: Path, rules: Rules) -> Iterator[str]:
    if path.suffix == ".md":
        return check_page(path.read_text(encoding="utf-8"), rules)
    return check_code(path, rules)


if __name__ == "__main__":
    sys.exit(main())

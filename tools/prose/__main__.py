"""Check the prose of the pages: ``python -m tools.prose [PAGE…]``.

It exits with 1 if it finds something. ``--table`` prints words a sentence, page by page.
"""

import argparse
import sys
from pathlib import Path

from tools.prose.check import check_page, count_words, list_pages, load_rules

ROOT = Path(__file__).resolve().parents[2]


def main() -> int:
    """Print what is found in each page, or the table."""
    parser = argparse.ArgumentParser(prog="python -m tools.prose", description=__doc__.partition("\n")[0])
    parser.add_argument("pages", nargs="*", type=Path, metavar="PAGE", help="(default: every page)")
    parser.add_argument("--table", action="store_true", help="print words a sentence, page by page")
    options = parser.parse_args()
    rules = load_rules()
    found = 0
    if options.table:
        print("median longest sentences  page")
    for page in options.pages or list_pages(ROOT, rules):
        text = page.read_text(encoding="utf-8")
        name = page.relative_to(ROOT) if page.is_absolute() else page
        if options.table:
            counts = count_words(text)
            print(f"{counts.median:6.1f} {counts.longest:7} {counts.sentences:9}  {name}")
            continue
        for finding in check_page(text, rules):
            print(f"{name}:{finding}")
            found += 1
    return int(found > 0)


if __name__ == "__main__":
    sys.exit(main())

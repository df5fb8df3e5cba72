"""What mkdocs calls while it builds the site: see https://www.mkdocs.org/dev-guide/plugins/#events."""

import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from mkdocs.structure.files import File, Files  # noqa: E402

from tools.site.pages import build_navigation, list_pages, rewrite_links  # noqa: E402

PAGES = list_pages(ROOT)


def on_config(config: Any) -> Any:
    """Take the navigation from the index of the pages."""
    config.nav = build_navigation(ROOT)
    return config


def on_files(files: Files, config: Any) -> Files:
    """Put every page into its place in the site, with its links as they are there."""
    for page in files.documentation_pages():
        files.remove(page)
    for path, place in PAGES.items():
        text = (ROOT / path).read_text(encoding="utf-8")
        content = rewrite_links(text, path, PAGES, ROOT, config.extra["repository"].rstrip("/"))
        files.append(File.generated(config, place, content=content))
    return files

"""Parts of documents that are generated, between the comments ``<!-- NAME -->`` and ``<!-- end NAME -->``."""


def replace_part(path: str, document: str, name: str, part: str) -> str:
    """Return a document with another part between its markers; ValueError if one is missing."""
    start, end = f"<!-- {name} -->\n", f"<!-- end {name} -->"
    before, opening, rest = document.partition(start)
    _, closing, after = rest.partition(end)
    if not opening or not closing:
        raise ValueError(f"{path} has no part between {start.strip()} and {end}: put both back")
    return before + start + part + end + after

"""How a function's answers are shown: by the ``show.py`` beside its code, and generically without one.

A ``show.py`` is not deployed, and may define any of these::

    def table(records, arrays):              # a rich Table; None shows the records field by field
    def picture(record, item, path):         # draws a PNG of one record; item is the request's, or None
    PICTURES = {kind: draw}                  # draw(record, arrays, path) draws one record's arrays of a kind
    def page_item(record, arrays):           # the record as the page shows it, see viewer.js; arrays by kind
    FORM = [{"name", "kind", "label", ...}]  # the playground's fields, see docs/how-to/results.md
    def score(folder, predict, beam):        # the lines that `model score` prints

``table`` gets only predictions, and errors are listed below it, unless ``ERRORS_IN_TABLE`` is true. Its
arrays are numpy's, by the record's position and by kind; a ``table(records)`` does without them.
"""

import json
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

from lambda_setup.functions import Function, load_module


def load_show(function: Function) -> ModuleType:
    """Return a function's ``show.py``, or an empty module where it has none."""
    return load_module(function, "show") or ModuleType("show")


def build_form(function: Function) -> Sequence[Mapping[str, Any]]:
    """Return the fields of a function's request: its own form, or the request as JSON."""
    form: Sequence[Mapping[str, Any]] | None = getattr(load_show(function), "FORM", None)
    if form:
        return form
    event = json.dumps(json.loads(function.event.read_text(encoding="utf-8")), indent=1, ensure_ascii=False)
    return ({"name": "", "kind": "json", "label": "Request, as JSON", "value": event},)

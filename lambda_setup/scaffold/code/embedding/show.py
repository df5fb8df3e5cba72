"""How vectors are shown: by the texts that are nearest to each other; it is not deployed."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from rich.table import Table
from rich.text import Text

MOST = 100
"""Most texts that are compared with each other."""


def table(
    records: Sequence[dict[str, Any]], arrays: Mapping[int, Mapping[str, Sequence[Any]]] | None = None
) -> Table | None:
    """Return a table: each text with the one that is most like it, and the cosine of their vectors."""
    places = [place for place in range(len(records)) if "vector" in (arrays or {}).get(place, {})][:MOST]
    if not arrays or not places:
        return None
    vectors = np.stack([arrays[place]["vector"][0] for place in places])
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    cosines = vectors @ vectors.T
    np.fill_diagonal(cosines, -1)
    rows = Table("#", "text", "most like it", "cosine")
    for row, place in enumerate(places):
        best = int(cosines[row].argmax())
        record, other = records[place], records[places[best]]
        rows.add_row(
            str(record["index"]), Text(record["text"]), Text(other["text"]), f"{cosines[row, best]:.3f}"
        )
    return rows

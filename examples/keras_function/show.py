"""How classified rows are shown; it is not deployed."""

import gzip
import json
from pathlib import Path
from typing import Any

from rich.table import Table

from lambda_setup.functions import Function

_CODE = Path(__file__).resolve().parent
MODEL = Function(_CODE, _CODE).model
"""Folder with the features' names and, in ``reference.json.gz``, rows to compare one with."""

LABEL_COLOURS = ("#D55E00", "#0072B2", "#009E73", "#CC79A7")
ABOVE, BELOW = "#E69F00", "#56B4E9"
"""Colours for the colour-blind, too (Okabe and Ito, https://jfly.uni-koeln.de/color/)."""
WIDEST = 4.0
"""Standard deviations at which bars end."""


def table(records: list[dict[str, Any]]) -> Table:
    """Return a table: each row's label, and the probability of each label."""
    labels = list(records[0]["probabilities"]) if records else []
    rows = Table("#", "label", *labels)
    for record in records:
        probabilities = (f"{record['probabilities'][label]:.4f}" for label in labels)
        rows.add_row(str(record["index"]), record["label"], *probabilities)
    return rows


def picture(record: dict[str, Any], item: Any, path: Path) -> None:
    """Draw a row's probabilities, and its features' distances from the mean of other rows.

    Args:
        record: the answer.
        item: the row; without it, or without other rows to compare it with, only probabilities are drawn.
        path: of the PNG.

    """
    import matplotlib as mpl
    import numpy as np

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    names = json.loads((MODEL / "labels.json").read_text(encoding="utf-8"))["features"]
    reference = MODEL / "reference.json.gz"
    compares = isinstance(item, list) and len(item) == len(names) and reference.exists()
    heights = [0.9, 0.22 * len(names)] if compares else [0.9]
    figure, axes = plt.subplots(
        len(heights), 1, figsize=(7, sum(heights) + 1.6), height_ratios=heights, squeeze=False,
        layout="constrained",
    )  # fmt: skip
    top = axes[0, 0]
    start = 0.0
    for (label, value), colour in zip(record["probabilities"].items(), LABEL_COLOURS, strict=False):
        top.barh(0, value, left=start, color=colour, label=f"{label} {value:.3f}")
        start += value
    top.set(xlim=(0, 1), yticks=[], xlabel="probability", title=f"row {record['index']}: {record['label']}")
    top.legend(ncols=4, loc="upper center", bbox_to_anchor=(0.5, -0.75), frameon=False)
    if compares:
        with gzip.open(reference) as file:
            others = np.array(json.load(file)["rows"])
        scores = (np.array(item, float) - others.mean(axis=0)) / others.std(axis=0)
        below = axes[1, 0]
        below.barh(names, scores.clip(-WIDEST, WIDEST), color=[ABOVE if s > 0 else BELOW for s in scores])
        below.axvline(0, color="black", linewidth=0.8)
        below.invert_yaxis()
        below.margins(y=0.01)
        below.set(
            xlim=(-WIDEST, WIDEST),
            xlabel=f"standard deviations from the mean of {len(others)} rows that it was not trained with",
        )
    figure.savefig(path, dpi=110)
    plt.close(figure)

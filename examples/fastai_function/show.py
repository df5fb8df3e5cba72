"""How classified images are shown; it is not deployed."""

import base64
import io
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text


def table(records: list[dict[str, Any]]) -> Table:
    """Return a table: each image's format, its label and probability, and the next labels."""
    rows = Table("#", "image", "label", "probability", "then")
    for record in records:
        facts, (best, *others) = record["image"], record["classes"]
        rows.add_row(
            str(record["index"]),
            f"{facts['format']}, {facts['width']} x {facts['height']}",
            Text(record["label"]),
            f"{best['probability']:.3f}",
            Text(", ".join(f"{one['label']} {one['probability']:.3f}" for one in others)),
        )
    return rows


def picture(record: dict[str, Any], item: Any, path: Path) -> None:
    """Draw the image, if the request holds it, beside bars of its classes, the most probable on top."""
    from matplotlib.figure import Figure
    from PIL import Image, ImageOps

    labels = [one["label"] for one in record["classes"]]
    probabilities = [one["probability"] for one in record["classes"]]
    figure = Figure(figsize=(7, max(2.6, 0.3 * len(labels) + 1.4)), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.6))
    left.set_xticks([])
    left.set_yticks([])
    if isinstance(item, dict) and "image" in item:
        image = ImageOps.exif_transpose(Image.open(io.BytesIO(base64.b64decode(item["image"]))))
        left.imshow(image.convert("RGB"))
    else:
        left.text(0.5, 0.5, "an object in S3", ha="center", va="center", transform=left.transAxes)
    left.set_title(f"image {record['index']}")
    bars = right.barh(range(len(labels)), probabilities, color=["#0072B2"] + ["#B8C4CE"] * (len(labels) - 1))
    right.bar_label(bars, [f"{one:.3f}" if one >= 0.0005 else "< 0.001" for one in probabilities], padding=3)  # noqa: PLR2004
    right.set_yticks(range(len(labels)), labels)
    right.invert_yaxis()
    right.set_xlim(0, 1.15)
    right.set_xlabel("probability")
    right.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)

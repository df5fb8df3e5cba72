"""How translations are shown and scored; it is not deployed.

``lambda_setup.viewer.show`` lists the names that it may define.
"""

import base64
import gzip
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lambda_setup.viewer.result import is_error
from lambda_setup.viewer.terminal import describe_error

if TYPE_CHECKING:
    import numpy as np
    from rich.table import Table

    Maps = list[np.ndarray[Any, Any]]
    """Attention of an item's hypotheses, target by source tokens."""

ERRORS_IN_TABLE = True

FORM = (
    {"name": "data", "kind": "lines", "label": "Sentences, one a line",
     "value": "The table has been changed.\nSelect the underlining style that you want to apply."},
    {"name": "beam", "kind": "number", "label": "Beam", "help": "hypotheses that the search keeps",
     "value": 5, "min": 1, "max": 20},
    {"name": "n_best", "kind": "number", "label": "N-best", "help": "how many of them come back",
     "value": 3, "min": 1, "max": 20},
    {"name": "return_attention", "kind": "flag", "label": "Attention maps", "value": True},
)  # fmt: skip
"""The playground's fields."""


def table(records: list[dict[str, Any]]) -> "Table | None":
    """Return a table of translations, errors in their places; None if the records are of another kind."""
    from rich.table import Table
    from rich.text import Text

    if not all("hypotheses" in record or is_error(record) for record in records):
        return None
    rows = Table("#", "source", "translations, the best first", "score")
    for record in records:
        first = (str(record["index"]), Text(record.get("source", "")))
        if is_error(record):
            rows.add_row(*first, Text(describe_error(record), style="red"), "failed")
        for hypothesis in record.get("hypotheses", ()):
            rows.add_row(*first, Text(hypothesis["text"]), _describe_score(hypothesis))
            first = ("", Text(""))
        rows.add_section()
    return rows


def page_item(record: dict[str, Any], arrays: Mapping[str, "Maps"]) -> dict[str, Any]:
    """Return a translation as a source and, for each hypothesis, a panel with its attention map."""
    if "hypotheses" not in record:
        return record
    panels = []
    for number, hypothesis in enumerate(record["hypotheses"]):
        panel = {
            "name": f"Hypothesis {number + 1}",
            "note": f"score {_describe_score(hypothesis)}",
            "help": "log-probability divided by the length",
            "text": hypothesis["text"],
            "tokens": hypothesis["tokens"],
        }
        weights = arrays["attention"][number] if "attention" in arrays else hypothesis.get("attention")
        if weights is not None:
            panel["weights"] = _encode_weights(weights)
        panels.append(panel)
    item = {key: value for key, value in record.items() if key != "hypotheses"}
    captions = {"map": "Attention", "axes": "target tokens down, source tokens across"}
    return item | {"panels": panels, "empty": "It has no translation.", **captions}


def _describe_score(hypothesis: dict[str, Any]) -> str:
    """Return a hypothesis' score, and whether its cap ended it."""
    return f"{hypothesis['score']:.3f}{', truncated' if hypothesis.get('truncated') else ''}"


def _encode_weights(weights: Any) -> str:
    """Return weights from 0 to 1 as 16-bit parts of 1, in base64."""
    import numpy as np

    parts = (np.asarray(weights, np.float32) * 65535).round().astype("<u2")
    return base64.b64encode(parts.tobytes()).decode()


def draw_attention(record: dict[str, Any], maps: "Maps", path: Path) -> None:
    """Draw attention maps, a panel a hypothesis, target tokens down and source tokens across."""
    from matplotlib.figure import Figure

    source = record["source_tokens"]
    longest = max(len(hypothesis["tokens"]) for hypothesis in record["hypotheses"])
    width = max(3.2, 0.28 * len(source) + 1.4)
    figure = Figure(figsize=(width * len(maps), max(2.6, 0.26 * longest + 1.6)), layout="constrained")
    for panel, hypothesis, weights in zip(
        figure.subplots(1, len(maps), squeeze=False)[0], record["hypotheses"], maps, strict=True
    ):
        image = panel.imshow(weights, cmap="Blues", vmin=0, vmax=1, aspect="auto")
        panel.set_xticks(range(len(source)), [_escape_markup(token) for token in source], rotation=90)
        panel.set_yticks(
            range(len(hypothesis["tokens"])), [_escape_markup(token) for token in hypothesis["tokens"]]
        )
        panel.set_xlabel("source tokens")
        panel.set_title(f"score {hypothesis['score']:.3f}", fontsize=10)
        panel.tick_params(labelsize=8)
    figure.axes[0].set_ylabel("target tokens")
    figure.colorbar(image, ax=figure.axes, label="attention")
    figure.savefig(path, dpi=120)


PICTURES = {"attention": draw_attention}


def _escape_markup(token: str) -> str:
    """Return a token without what matplotlib would read as mathematics."""
    return token.replace("$", r"\$")


def score(
    folder: Path, predict: Callable[[dict[str, Any]], list[dict[str, Any]]], beam: int
) -> Iterator[str]:
    """Yield lines with BLEU and chrF of the test split in a model's folder, as sacreBLEU computes them."""
    from sacrebleu.metrics.bleu import BLEU
    from sacrebleu.metrics.chrf import CHRF

    sources, references = (_read_lines(folder / f"test.{language}.gz") for language in ("en", "es"))
    yield f"pairs  {len(sources)}, beam {beam}"
    records = predict({"data": sources, "beam": beam})
    translations = [record["hypotheses"][0]["text"] for record in records]
    for name, metric in (("BLEU", BLEU()), ("chrF2", CHRF())):
        value = metric.corpus_score(translations, [references]).score
        yield f"{name:<6} {value:.1f}   {metric.get_signature()}"


def _read_lines(path: Path) -> list[str]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [line.rstrip("\n") for line in file]

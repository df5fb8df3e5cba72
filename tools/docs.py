"""Write everything in the documents that is generated: tables between markers, pages and charts.

Run: ``python -m tools.docs``; with ``--check`` it writes nothing, and exits with 1 if one is out of date.
"""

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.results import ENGINES, read
from lambda_setup.costs.comparison import CALLS_PER_DAY, MEASURE, compare_sizes, describe_load, read_benchmark
from lambda_setup.costs.comparison import draw_markdown as draw_costs
from lambda_setup.costs.pricing import load_prices
from studies.batch_scale import tables as scale
from tools.demo import picture
from tools.markers import replace_part
from tools.pages import api, commands, decisions, diagrams, fields, packages, parameters, performance

ROOT = Path(__file__).resolve().parents[1]
COST = "docs/cost.md"
FORKING = "docs/forking.md"
SCALE = "studies/batch_scale/README.md"
SCALE_CHART = f"{performance.IMAGES}/batch_scale.svg"
PAGES = (performance.README, performance.EXAMPLES, COST, FORKING, SCALE)
"""Those with a part between markers."""


def make_documents(root: Path = ROOT) -> dict[str, str]:
    """Return the text of every document that is generated, or has a part that is, by its path."""
    texts = {page: (root / page).read_text(encoding="utf-8") for page in PAGES}
    engines = json.loads(ENGINES.read_text(encoding="utf-8"))
    made = performance.make_documents(read(), texts)
    readme = replace_part(performance.README, made[performance.README], "cost", summarize_costs(engines))
    starts, timeline = diagrams.show_cold_start()
    return {
        **made,
        FORKING: replace_part(FORKING, texts[FORKING], "cold start", starts),
        **({diagrams.COLD_START: timeline} if timeline else {}),
        performance.README: readme,
        COST: replace_part(COST, texts[COST], "cost table", draw_costs(engines)),
        SCALE: replace_part(SCALE, texts[SCALE], "tables", scale.draw_page_part()),
        SCALE_CHART: scale.draw_chart(),
        api.DOCUMENT: api.make_page(),
        commands.DOCUMENT: commands.make_page(),
        decisions.DOCUMENT: decisions.make_page(root),
        packages.DOCUMENT: packages.make_page(),
        parameters.DOCUMENT: parameters.make_page(),
        **fields.make_pages(),
        picture.PICTURE: picture.draw_demo(),
        diagrams.REQUEST: diagrams.draw_request(),
        diagrams.QUEUES: diagrams.draw_queues(),
        diagrams.CODE: diagrams.draw_code(),
    }


def summarize_costs(benchmark: Mapping[str, Any]) -> str:
    """Return the README's part about costs: a million items with each engine, at its best size."""
    calls = read_benchmark(benchmark)
    prices = load_prices("us-east-1")
    rows = ["| a million sentences with | on | dollars |", "|---|---|--:|"]
    for one in calls:
        best = next(row for row in compare_sizes(one, prices) if row.best)
        rows.append(f"| {one.name} | {best.architecture}, {best.memory_mb:,} MB | {best.cost.total:,.2f} |")
    if not calls:
        return f"Nothing is measured yet: `{MEASURE}`.\n"
    load = f"{calls[0].items:,.0f} sentences a call, {describe_load(calls, CALLS_PER_DAY)}"
    rows.append(
        f"\nCalculated from measured speed for {load}, at prices of {prices.region}: function, S3, logs and "
        f"metrics. An idle stack costs its storage. [Cost]({COST}) lists what is counted, and "
        "`python -m lambda_setup cost` calculates it for your numbers, or from a deployed function's log."
    )
    return "\n".join(rows) + "\n"


def find_stale(documents: dict[str, str], root: Path = ROOT) -> list[str]:
    """Return the paths whose files have another text, and those of charts that nothing draws any more."""
    changed = [
        path
        for path, text in documents.items()
        if not (root / path).exists() or (root / path).read_text(encoding="utf-8") != text
    ]
    charts = (path.relative_to(root).as_posix() for path in (root / performance.IMAGES).glob("bench*.svg"))
    return sorted([*changed, *(path for path in charts if path not in documents)])


def main() -> None:
    """Write the documents, or check them."""
    parser = argparse.ArgumentParser(prog="python -m tools.docs", description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit with 1 if something is out of date"
    )
    options = parser.parse_args()
    documents = make_documents()
    stale = find_stale(documents)
    for path in stale:
        if options.check:
            print(f"{path} is out of date: run python -m tools.docs")
        elif path in documents:
            (ROOT / path).write_text(documents[path], encoding="utf-8")
            print(f"wrote {path}")
        else:
            (ROOT / path).unlink()
            print(f"removed {path}")
    sys.exit(bool(stale and options.check))


if __name__ == "__main__":
    main()

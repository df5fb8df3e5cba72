"""The tables and the chart of the page, and of the command."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace

from studies.batch_scale.plan import (
    CONCURRENCIES,
    INDEX_BYTES,
    TIMEOUT,
    Plan,
    make_plans,
    read_engines,
    read_retry,
)

NAMES = {
    "environments": "Lambda's concurrency",
    "starts": "starts of children",
    "concurrency": "`BatchConcurrency`",
}


def draw_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown, numbers to the right."""
    lines = [head, ["---", *["--:"] * (len(head) - 1)], *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def format_duration(seconds: float) -> str:
    """Return seconds in a unit that leaves two digits."""
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}" if seconds < 10 * size else f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def draw_times(plans: Mapping[str, Plan], concurrencies: Sequence[int] = CONCURRENCIES) -> str:
    """Return the table of times by rate, at several concurrencies."""
    head = ["sentences a second", "lines of a range", "children", "index",
            *(f"at {each:,}" for each in concurrencies), "manifest"]  # fmt: skip
    rows = [
        [
            name,
            f"{plan.size:,}",
            f"{plan.ranges:,}",
            f"{plan.ranges * INDEX_BYTES / 1e6:,.1f} MB",
            *(describe_end(replace(plan, concurrency=each)) for each in concurrencies),
            format_duration(plan.manifest_seconds),
        ]
        for name, plan in plans.items()
    ]
    return draw_table(head, rows)


def describe_end(plan: Plan) -> str:
    """Return when a plan's map ends, and its limit."""
    return f"{format_duration(plan.outcome.seconds)} ({NAMES[plan.outcome.limit]})"


def draw_costs(plans: Mapping[str, Plan]) -> str:
    """Return the table of costs by rate, in dollars."""
    parts = {"compute": "Lambda's time", "requests": "its requests", "transitions": "transitions",
             "s3": "S3's requests", "logs": "logs"}  # fmt: skip
    rows = [
        [
            name,
            f"{plan.cost().total:,.2f}",
            *(f"{asdict(plan.cost())[part]:,.2f}" for part in parts),
            f"{plan.monthly_storage():,.2f}",
            f"{plan.express():,.2f}",
        ]
        for name, plan in plans.items()
    ]
    head = ["sentences a second", "total", *parts.values(), "kept a month", "transitions as EXPRESS"]
    return draw_table(head, rows)


def draw_page_part() -> str:
    """Return the part of the page between its markers."""
    usual, long = make_plans(), make_plans(timeout=900)
    name, plan = next((name, plan) for name, plan in usual.items() if name.endswith("here"))
    crowded = replace(plan, concurrency=3_000, environments=1_000)
    outcome = crowded.outcome
    throttled = (
        f"At {name}, with `BatchConcurrency` {crowded.concurrency:,} where Lambda gives "
        f"{crowded.environments:,}, it takes {format_duration(outcome.seconds)}: {outcome.throttled:,} calls "
        f"are throttled, their retries make the transitions {crowded.cost().transitions:,.2f} dollars, and "
        f"{outcome.lost:,} of {crowded.ranges:,} ranges are lost, "
        f"with {read_retry().attempts} retries each.\n"
    )
    return (
        f"Of the function's timeout, {TIMEOUT} s, a range takes a quarter:\n\n{draw_times(usual)}\n"
        f"With `Timeout` at 900 s:\n\n{draw_times(long)}\n"
        f"In dollars, with 1,000 at once on arm64 in us-east-1:\n\n{draw_costs(usual)}\n{throttled}"
    )


def draw_chart() -> str:
    """Return the SVG of environments at work and sentences done against time, a line a concurrency."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    colours = ("#0072b2", "#d55e00", "#009e73")  # Okabe and Ito, Color Universal Design, 2008
    rate, cold = read_engines()["opennmt float32"]
    with mpl.rc_context({"svg.hashsalt": "scale", "svg.fonttype": "none", "font.family": "sans-serif"}):
        figure = Figure(figsize=(8, 5), layout="constrained")
        upper, lower = figure.subplots(2, sharex=True)
        for concurrency, colour in zip(CONCURRENCIES, colours, strict=True):
            plan = Plan(rate=rate, cold=cold, concurrency=concurrency)
            seconds, active, done = zip(*plan.outcome.curve, strict=True)
            minutes = [each / 60 for each in seconds]
            upper.plot(minutes, active, color=colour, label=f"BatchConcurrency {concurrency:,}")
            lower.plot(minutes, [each * plan.size / 1e6 for each in done], color=colour)
        upper.set_ylabel("environments at work")
        lower.set_ylabel("million sentences done")
        lower.set_xlabel(f"minutes, {rate:g} sentences a second of one environment")
        upper.legend(frameon=False)
        for axes in (upper, lower):
            axes.grid(color="#e4e7eb")
            axes.set_ylim(bottom=0)
        chart = io.StringIO()
        figure.savefig(chart, format="svg", metadata={"Date": None})
    return chart.getvalue()

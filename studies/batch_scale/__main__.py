"""Print what a corpus of yours takes and costs.

Run: ``python -m studies.batch_scale --sentences 100e6 --rate 40 --concurrency 1000``.
"""

import argparse
from dataclasses import replace

from studies.batch_scale.plan import CONCURRENCIES, SENTENCES, TIMEOUT, Plan
from studies.batch_scale.tables import draw_costs, draw_times


def main() -> None:
    """Print what your numbers come to."""
    parser = argparse.ArgumentParser(
        prog="python -m studies.batch_scale",
        description="Simulate a corpus on its way through the state machine: its time and its costs, as "
        "studies/batch_scale/README.md explains. Take --rate from your function: Items divided by Predict "
        "in its log.",
    )
    parser.add_argument(
        "--sentences",
        type=float,
        default=SENTENCES,
        help="number of sentences of the corpus (default: 100e6)",
    )
    parser.add_argument("--rate", type=float, nargs="+", metavar="N",
                        help="sentences a second of one environment; several give a line each")  # fmt: skip
    parser.add_argument("--concurrency", type=int, nargs="+", default=CONCURRENCIES, metavar="N",
                        help="the template's BatchConcurrency (default: 1000 3000 10000)")  # fmt: skip
    parser.add_argument("--environments", type=int, metavar="N",
                        help="your quota of Lambda's concurrency (default: enough)")  # fmt: skip
    parser.add_argument(
        "--timeout", type=int, default=TIMEOUT, help="timeout of the function in seconds (default: 120)"
    )
    parser.add_argument("--range", type=int, dest="lines", metavar="LINES",
                        help="lines of a range (default: what takes a quarter of the timeout)")  # fmt: skip
    parser.add_argument(
        "--cold", type=float, default=1.5, metavar="SECONDS", help="seconds of a cold start (default: 1.5)"
    )
    options = parser.parse_args()
    if not options.rate:
        parser.error(
            "--rate is needed: the sentences that one environment of your function translates in a second"
        )
    for name, least in (("sentences", 1), ("timeout", 10), ("lines", 1), ("environments", 1)):
        if (given := getattr(options, name)) is not None and given < least:
            parser.error(f"--{'range' if name == 'lines' else name} takes {least} or more, not {given:g}")
    if min(options.rate) <= 0 or min(options.concurrency) < 1:
        parser.error("--rate takes numbers above 0, --concurrency whole ones from 1 on")
    plans = {
        f"{rate:g}": Plan(
            sentences=int(options.sentences),
            rate=rate,
            cold=options.cold,
            concurrency=options.concurrency[0],
            environments=options.environments,
            timeout=options.timeout,
            lines=options.lines,
        )
        for rate in options.rate
    }
    print(draw_times(plans, options.concurrency))
    print(f"US dollars, {options.concurrency[0]:,} at once, arm64, us-east-1:\n\n{draw_costs(plans)}", end="")
    for plan in (replace(plan, concurrency=each) for plan in plans.values() for each in options.concurrency):
        if plan.outcome.lost:
            print(
                f"\nAt {plan.rate:g} and {plan.concurrency:,}, {plan.outcome.lost:,} of {plan.ranges:,} "
                f"ranges are lost: {plan.outcome.throttled:,} calls are throttled. Lower --concurrency."
            )


if __name__ == "__main__":
    main()

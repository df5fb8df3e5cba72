"""The simulation of a batch run against what can be worked out by hand; its tables, and its command."""

import json
import math
import re
import sys
from pathlib import Path
from random import Random
from statistics import mean

import pytest

from lambda_setup.costs.pricing import LOG_BYTES, calculate_run_cost, load_prices
from studies.batch_scale import __main__ as scale
from studies.batch_scale import plan as planning
from studies.batch_scale import tables
from studies.batch_scale.simulation import Bucket, Quotas, Retry, Run, simulate

PAGE = Path(planning.__file__).with_name("README.md")

FREE = Quotas(starts=1e9, transitions=1e9, environments=10**6, scaling=1e9, writes=1e9, reads=1e9)
"""What limits nothing."""


def run(**changes):
    """Return a run of 1,000 ranges of ten seconds that nothing limits but its 100 places."""
    return Run(**{"ranges": 1000, "seconds": 10, "concurrency": 100, "quotas": FREE} | changes)


@pytest.mark.parametrize(("ranges", "places"), [(1, 1), (7, 3), (1000, 100), (1001, 100), (50, 100)])
def test_places_alone_make_waves(ranges: int, places: int) -> None:
    """As many as there are places at once: ⌈ranges / places⌉ times what one takes."""
    found = simulate(run(ranges=ranges, concurrency=places))
    assert found.seconds == pytest.approx(math.ceil(ranges / places) * 10, abs=1e-4)
    assert found.limit == "concurrency" or ranges <= places


def test_starts_alone_make_a_queue() -> None:
    """The last of n children starts after n - 1 of them, and then takes its time."""
    found = simulate(run(concurrency=10_000, quotas=Quotas(environments=10_000)))
    assert found.seconds == pytest.approx(999 / 100 + 10)
    assert found.limit == "starts"
    assert found.use["starts"] == pytest.approx(1)


def test_as_many_work_as_start_in_the_time_that_one_takes() -> None:
    """Little's law: 100 a second and ten seconds each keep 1,000 busy, however many may be."""
    found = simulate(run(ranges=100_000, concurrency=10_000, quotas=Quotas(environments=10_000)))
    assert max(active for _, active, _ in found.curve) == pytest.approx(1000, abs=1)
    assert found.cold == pytest.approx(1000, abs=1)
    assert found.busy == pytest.approx(100_000 * 10 / found.seconds)
    assert found.busy == pytest.approx(1000, rel=0.01)


def test_the_maps_own_limit_holds_whatever_is_asked_for() -> None:
    """A Map Run has 10,000 children at once at most."""
    found = simulate(run(ranges=30_000, concurrency=40_000, quotas=Quotas(starts=1e9, environments=10**6)))
    assert found.cold <= Quotas().children
    assert found.use.keys() == {"concurrency", "starts"}


def test_lambda_never_runs_more_than_its_quota_and_loses_nothing_that_may_wait() -> None:
    """What is throttled comes again, until all is done; the quota is named."""
    patient = Retry(interval=1, rate=1, most=1, attempts=10_000)
    quotas = Quotas(starts=1e9, environments=50, scaling=1e9)
    found = simulate(run(quotas=quotas, retry=patient))
    assert found.throttled > 0
    assert found.throttled == found.retries
    assert found.lost == 0
    assert max(active for _, active, _ in found.curve) == 50
    assert found.curve[-1] == (found.seconds, 0, 1000)
    assert 1000 / 50 * 10 <= found.seconds <= 1000 / 50 * 11
    assert found.limit == "environments"


def test_what_may_not_wait_long_enough_is_lost() -> None:
    """Twice as many at once as Lambda runs, and two tries again of a second at most each."""
    hasty = Retry(interval=1, rate=1, most=1, attempts=2)
    found = simulate(run(ranges=100, retry=hasty, quotas=Quotas(starts=1e9, environments=50, scaling=1e9)))
    assert (found.invocations, found.lost, found.retries, found.throttled) == (50, 50, 100, 150)


def test_new_environments_come_no_faster_than_lambda_scales() -> None:
    """A thousand at once, then a hundred a second; the others are throttled until then."""
    patient = Retry(interval=0.1, rate=1, most=0.1, attempts=10**6)
    quotas = Quotas(starts=1e9, transitions=1e9, environments=10**6)
    found = simulate(run(ranges=1500, seconds=100, concurrency=1500, retry=patient, quotas=quotas))
    assert found.cold == 1500
    assert found.seconds == pytest.approx(100 + 500 / 100, abs=0.2)


def test_only_the_first_range_of_an_environment_is_cold() -> None:
    """Its start is billed, and the requests for the model reach S3."""
    found = simulate(run(cold=3, model_reads=5, quotas=Quotas(starts=1e9, environments=10**6)))
    assert found.cold == 100
    assert found.billed == pytest.approx(1000 * 10 + 100 * 3)
    assert found.seconds == pytest.approx(10 * 10 + 3, abs=1e-3)
    assert found.peaks["models"] == pytest.approx(100 * 5 / 5500)


def test_a_model_of_many_parts_waits_for_its_prefix() -> None:
    """A hundred starts of 275 GETs at 5,500 a second, of which a second's worth is there at once."""
    found = simulate(run(ranges=100, model_reads=275, quotas=Quotas(starts=1e9, environments=10**6)))
    assert found.seconds == pytest.approx(10 + 100 * 275 / 5500 - 1, abs=0.01)


def test_failures_are_tried_again() -> None:
    """Of n ranges each attempt fails with p: n / (1 - p) attempts, half of a failed one's time in vain."""
    found = simulate(run(ranges=20_000, failures=0.2, retry=Retry(attempts=100)))
    assert found.lost == 0
    assert found.invocations == pytest.approx(20_000 / 0.8, rel=0.02)
    assert found.retries == found.invocations - 20_000
    assert found.billed == pytest.approx((20_000 + found.retries / 2) * 10, rel=0.02)
    once = simulate(run(ranges=20_000, failures=0.2, retry=Retry(attempts=0)))
    assert (once.retries, once.lost) == (0, pytest.approx(4000, rel=0.05))


def test_ranges_take_what_ranges_took() -> None:
    """Of two kinds half each; the work stays the same, and the last ones make the end later."""
    even, uneven = simulate(run()), simulate(run(spread=(0.5, 1.5)))
    assert uneven.billed == pytest.approx(even.billed, rel=0.05)
    assert uneven.seconds > even.seconds


def test_the_same_run_comes_to_the_same() -> None:
    """And another seed to another."""
    one, same, other = (simulate(run(failures=0.1, seed=seed)) for seed in (1, 1, 2))
    assert one == same != other


def test_a_child_is_two_transitions() -> None:
    """Its start and its task: a hundred children a second are 200 of 5,000."""
    found = simulate(run(ranges=2000, quotas=Quotas(environments=10_000)))
    assert found.peaks["transitions"] == pytest.approx(200 / 5000, rel=0.02)


def test_a_bucket_gives_what_it_holds_and_then_what_refills() -> None:
    """Three at once, then two a second, and full again after a pause."""
    bucket = Bucket(2, 3)
    assert [bucket.take(0) for _ in range(5)] == pytest.approx([0, 0, 0, 0.5, 1])
    assert not bucket.has(0.5)
    assert bucket.has(1.5)
    assert [bucket.take(9) for _ in range(4)] == pytest.approx([9, 9, 9, 9.5])
    assert bucket.peak == pytest.approx(4 / 2)


def test_a_wait_is_drawn_evenly_up_to_the_backoff() -> None:
    """JitterStrategy FULL: from nothing to 2, 4, 8 … and never more than 60 seconds."""
    random = Random(0)  # noqa: S311
    for tried, most in ((0, 2), (1, 4), (4, 32), (5, 60), (500, 60)):
        waits = [Retry().wait(tried, random) for _ in range(4000)]
        assert max(waits) <= most
        assert mean(waits) == pytest.approx(most / 2, rel=0.05)


def test_the_state_machine_says_how_to_retry(tmp_path: Path) -> None:
    """Its first retrier that names what Lambda throttles, wherever it stands; with ASL's own defaults."""
    machine = tmp_path / "machine.json"
    retriers = [
        {"ErrorEquals": ["States.Timeout"], "MaxAttempts": 1},
        {"ErrorEquals": ["Lambda.TooManyRequestsException"], "IntervalSeconds": 3, "BackoffRate": 1.5,
         "MaxDelaySeconds": 20, "MaxAttempts": 9},
    ]  # fmt: skip
    child = {"States": {"Translate": {"Retry": retriers}}}
    machine.write_text(json.dumps({"States": {"Map": {"ItemProcessor": child}}}))
    assert planning.read_retry(machine) == Retry(interval=3, rate=1.5, most=20, attempts=9)
    machine.write_text(json.dumps({"Retry": [{"ErrorEquals": ["Lambda.TooManyRequestsException"]}]}))
    assert planning.read_retry(machine) == Retry(interval=1, rate=2, most=math.inf, attempts=3)


def test_a_plan_fills_a_quarter_of_the_timeout() -> None:
    """But takes no more lines than a request may have."""
    plan = planning.Plan(rate=40, cold=1)
    assert (plan.size, plan.ranges) == (1200, 83_334)
    assert planning.Plan(rate=400, cold=1, timeout=900).size == 10_000
    assert planning.Plan(rate=40, cold=1, lines=2000).ranges == 50_000
    assert plan.quotas.environments == 1000
    assert planning.Plan(rate=40, cold=1, concurrency=3000).quotas.environments == 3000
    assert plan.manifest_seconds == pytest.approx(math.ceil(83_334 / 256) * 0.15)


def test_a_run_costs_what_its_parts_cost() -> None:
    """A million of each, at the prices of us-east-1."""
    found = calculate_run_cost(gb_seconds=1e6, requests=1e6, transitions=1e6, writes=1e6, reads=1e6,
                     architecture="arm64", prices=load_prices("us-east-1"))  # fmt: skip
    assert found.compute == pytest.approx(13.3334)
    assert (found.requests, found.transitions, found.s3) == pytest.approx((0.20, 25, 5.40))
    assert found.logs == pytest.approx(1e6 * LOG_BYTES / 2**30 * 0.50)
    assert found.total == pytest.approx(13.3334 + 0.20 + 25 + 5.40 + found.logs)


def test_a_plan_is_billed_for_its_time_its_children_and_its_objects() -> None:
    """100,000 sentences in 100 ranges of ten seconds and what S3 takes, of which none fails."""
    plan = planning.Plan(sentences=100_000, rate=100, cold=0, lines=1000)
    found, of = plan.cost(), load_prices("us-east-1").usd
    billed = plan.outcome.billed + plan.manifest_seconds
    assert billed == pytest.approx(100 * 10.45, rel=0.1)
    assert found.compute == pytest.approx(billed * 1769 / 1024 * of["lambda_arm64"])
    assert found.transitions == pytest.approx((206 + plan.outcome.retries) * 0.000025)
    assert plan.express() == pytest.approx(100 * (1e-6 + 10.5 / 16 * 0.00001667))


def test_the_spread_is_measured_and_keeps_the_average() -> None:
    """Otherwise it would make ranges slower or faster than they are."""
    found = planning.read_measurements()
    assert mean(found["spread"]) == pytest.approx(1, abs=0.01)
    assert min(found["spread"]) > 0
    assert 20 < found["result_bytes"] < 500


def test_the_page_names_every_quota() -> None:
    """What the simulation takes for granted stands there with its source."""
    page = PAGE.read_text(encoding="utf-8").partition("## Quotas")[2]
    quotas = vars(Quotas()) | {"scaling": 10 * Quotas().scaling}
    for value in quotas.values():
        assert f" {value:,} " in page


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(76.3, "76 s"), (119, "119 s"), (130, "2.2 min"), (1438, "24 min"), (7300, "2.0 h")],
)
def test_a_duration_has_about_two_digits(seconds: float, words: str) -> None:
    """In the unit that suits it."""
    assert tables.format_duration(seconds) == words


def command(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    """Run the command."""
    monkeypatch.setattr(sys, "argv", ["batch_scale", *arguments])
    scale.main()


def test_the_command_takes_your_numbers(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And says what limits, what it costs, and that ranges are lost where Lambda gives too little."""
    command(monkeypatch, "--sentences=1e6", "--rate", "40", "80", "--range=2000", "--concurrency=100")
    shown = capsys.readouterr().out
    minutes = re.search(r"^\| 40 \| 2,000 \| 500 \| 0\.1 MB \| ([0-9.]+) min \(`BatchC", shown, re.MULTILINE)
    assert 500 / 100 * 50 / 60 < float(minutes[1]) < 1.5 * 500 / 100 * 50 / 60
    assert "| 80 | 2,000 | 500 |" in shown
    assert "US dollars, 100 at once, arm64, us-east-1" in shown
    assert "are lost" not in shown
    command(monkeypatch, "--sentences=1e5", "--rate=40", "--concurrency=500", "--environments=1")
    assert "ranges are lost" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--rate", "0"], "--rate takes numbers above 0"),
        (["--rate", "40", "--concurrency", "0"], "--concurrency whole ones from 1 on"),
        (["--rate", "40", "--range", "0"], "--range takes 1 or more, not 0"),
        (["--rate", "40", "--timeout", "5"], "--timeout takes 10 or more, not 5"),
        ([], "--rate is needed"),
    ],
)
def test_what_cannot_be_simulated_is_refused(
    arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the option's name."""
    with pytest.raises(SystemExit):
        command(monkeypatch, *arguments)
    assert message in capsys.readouterr().err

"""Random events, kills and freezes against the real function, each reproducible by its seed."""

import json
import random
import threading
import time

import pytest
from support.answers import differences
from support.events import case, cases

SEEDS = range(1500)
KILLS = 60
"""And freezes."""
ODD = [None, True, False, 0, -1, 2**63, 1e308, "", " ", "\ud800", "null", "[]", "a" * 10_001, [], {}, [[]],
       ["a", 5], {"data": ["a"]}, "\x00", "ﷺ" * 3]  # fmt: skip


def mutated(seed: int) -> object:
    """Return an event in which a few places hold what they should not, or are gone, or new."""
    source = random.Random(seed)  # noqa: S311 - nothing secret
    event = json.loads(json.dumps(source.choice(cases()).event))
    for _ in range(source.randint(1, 3)):
        places = list(_places(event))
        if not places:
            return source.choice(ODD)
        holder, key = source.choice(places)
        match source.randrange(4):
            case 0:
                holder[key] = source.choice(ODD)
            case 1:
                del holder[key]
            case 2 if isinstance(holder, dict):
                holder[str(source.choice(ODD))[:20]] = source.choice(ODD)
            case _ if isinstance(holder[key], str):
                text = holder[key]
                cut = source.randint(0, len(text))
                holder[key] = text[:cut] + str(source.choice(ODD))[:50] + text[cut + source.randint(0, 3) :]
    return event


def _places(value):
    for key in (
        range(len(value)) if isinstance(value, list) else list(value) if isinstance(value, dict) else ()
    ):
        yield value, key
        yield from _places(value[key])


def test_random_events(stack):
    """Whatever comes, the answer is one of those that are promised, and never an internal error."""
    inline = case("valid/inline")
    with stack.function() as function:
        for seed in SEEDS:
            answer = function.invoke(mutated(seed))
            text = json.dumps(answer)
            assert "InternalError" not in text, (seed, text[:500])
            assert "FunctionError" not in text, (seed, text[:500])
            kept = {"statusCode", "body"} <= answer.keys() or answer.keys() == {"batchItemFailures"}
            assert kept, (seed, text[:500])
        assert differences(inline.answer, function.invoke(inline.event)) == []


@pytest.mark.parametrize("seed", [7])
def test_random_kills(stack, tmp_path, seed):
    """A function that is killed at any instant leaves no half result; the same event gets it afterwards."""
    source = random.Random(seed)  # noqa: S311
    sentences = case("event").event["data"]
    with stack.function() as function:
        start = time.monotonic()
        function.invoke({"data": sentences, "return_attention": True, "id": "whole"})
        function.invoke({"data": sentences, "return_attention": True, "id": "warm"})
        longest = time.monotonic() - start
        for number in range(KILLS):
            event = {"data": sentences, "return_attention": True, "id": f"killed-{seed}-{number}"}
            timer = threading.Timer(source.uniform(0, longest), function.kill)
            timer.start()
            function.invoke(event)
            timer.join()
            answer = function.invoke(event)
            if answer["statusCode"] == 502:  # killed after the answer: the emulator notices it only now
                answer = function.invoke(event)
            assert answer["statusCode"] == 200, (number, answer)
            paths = stack.save(answer, tmp_path / str(number))
            assert len(paths) == 2
            assert [path.read_bytes() for path in paths if path.suffix == ".gz"] == [_whole(stack)]


@pytest.mark.parametrize("seed", [8])
def test_random_freezes(stack, tmp_path, seed):
    """A function that is stopped at any instant, for as long as it may be, goes on as if nothing had been."""
    source = random.Random(seed)  # noqa: S311
    sentences = case("event").event["data"]
    with stack.function() as function:
        function.invoke({"data": sentences, "return_attention": True, "id": "whole"})
        start = time.monotonic()
        function.invoke({"data": sentences, "return_attention": True, "id": "warm"})
        longest = time.monotonic() - start
        for number in range(KILLS):
            event = {"data": sentences, "return_attention": True, "id": f"frozen-{seed}-{number}"}
            timer = threading.Timer(
                source.uniform(0, longest), _freeze, [function, source.choice([0.01, 0.2, 2])]
            )
            timer.start()
            answer = function.invoke(event)
            timer.join()
            assert answer["statusCode"] == 200, (number, answer)
            paths = stack.save(answer, tmp_path / str(number))
            assert [path.read_bytes() for path in paths if path.suffix == ".gz"] == [_whole(stack)]


def _freeze(function, seconds):
    function.freeze()
    time.sleep(seconds)
    function.thaw()


def _whole(stack):
    key = "prediction_outputs/whole/predictions.jsonl.gz"
    return stack.client.get_object(Bucket="results", Key=key)["Body"].read()

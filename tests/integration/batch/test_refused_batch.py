"""A batch whose functions S3 refuses: nothing is lost, little is tried again, and the reason is found.

The real function, S3 and interpreter, and a proxy between the functions and S3. Step Functions' pauses are a
second, so that what it tries thirty times would be seen to be.
"""

import contextlib
import json
import re
from collections import Counter

import pytest
from support.project import MODEL
from support.proxy import Proxy
from support.refusals import REFUSALS, REQUEST_ID

from lambda_setup.__main__ import main
from lambda_setup.batch import run, store
from lambda_setup.commands import batch as command
from lambda_setup.deployment.local import RESULT_BUCKET, LocalDeployment, application

LINES = 4
RESULT = re.compile(r"^PUT /results/prediction_outputs/[^/]+/predictions\.jsonl\.gz")
CORPUS = re.compile(r"^GET /results/inputs/corpora/")
PASSING = {"403-clock": 2, "409-aborted": 5, "409-conflict": 5, "503": 6}
"""Requests that S3 refuses: more than the function makes of one, so that Step Functions has to help."""
LASTING = ("301", "400", "403-kms")


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """Yield a deployment on this machine, the proxy before its functions, and the file that they log to."""
    folder = tmp_path_factory.mktemp("batches")
    definition = json.loads(application.DEFINITION.read_text())
    states = definition["States"]
    for state in (*states.values(), *states["Answer corpus"]["ItemProcessor"]["States"].values()):
        for rule in state.get("Retry", ()):
            if rule["MaxAttempts"]:
                rule |= {"IntervalSeconds": 1, "BackoffRate": 1.0}
                rule.pop("MaxDelaySeconds", None)
    quick = folder / "quick.asl.json"
    quick.write_text(json.dumps(definition))
    proxies: list[Proxy] = []
    environment = LocalDeployment.environment

    with pytest.MonkeyPatch.context() as patch, contextlib.ExitStack() as stack:

        def behind(deployment: LocalDeployment) -> dict[str, str]:
            if not proxies:
                proxies.append(stack.enter_context(Proxy(deployment.s3.endpoint)))
            return environment(deployment) | {"AWS_ENDPOINT_URL_S3": proxies[0].endpoint}

        patch.setattr(LocalDeployment, "environment", behind)
        patch.setattr(application, "DEFINITION", quick)
        patch.setattr(store, "STORE", folder / "store")
        patch.setattr(run, "_POLL_SECONDS", 0.2)
        here = stack.enter_context(store.open_local_deployment(MODEL, 2))
        bucket = store.ResultBucket(here.client, RESULT_BUCKET)
        patch.setattr(command, "_open_deployment", lambda _: contextlib.nullcontext(here))
        patch.setattr(command, "_open_bucket", lambda _: contextlib.nullcontext(bucket))
        yield here, proxies[0], folder / "store" / "functions.log"


def answer(corpus, name: str) -> int:
    """Run a batch of ranges of one line, and return its exit code."""
    return main(["batch", "run", str(corpus), "--name", name, "--local", "--lines", "1"])


def write_corpus(folder, name: str):
    """Return a corpus of its own, whose ranges no other run has answered."""
    path = folder / "corpus.txt"
    path.write_text("".join(f"Open file {number} of {name}\n" for number in range(LINES)))
    return path


def read_manifest(here, name: str) -> list[dict]:
    """Return a run's manifest."""
    key = f"prediction_outputs/batches/{name}/manifest.jsonl"
    body = here.client.get_object(Bucket=RESULT_BUCKET, Key=key)["Body"].read()
    return [json.loads(line) for line in body.splitlines()]


@pytest.mark.check
@pytest.mark.parametrize("place", ["write", "read"])
@pytest.mark.parametrize("refusal", LASTING)
def test_what_goes_on(here, tmp_path, refusal, place):
    """Each range is tried three times, manifest and log say why, and the next run answers it."""
    here, proxy, log = here
    corpus, name = write_corpus(tmp_path, f"{refusal}-{place}"), f"lasting-{refusal}-{place}"
    on, said = (RESULT if place == "write" else CORPUS), REFUSALS[refusal]
    proxy.exchanges.clear()
    start = log.stat().st_size
    with proxy.failing(said.fault(), on=on):
        assert answer(corpus, name) == 1

    head, *entries = read_manifest(here, name)
    assert (head["done"], head["failed"], head["failed_ranges"]) == (0, LINES, LINES)
    text = f"S3 answered {said.status} {said.code} for s3://{RESULT_BUCKET}/"
    for entry in entries:
        assert entry["error"]["code"] == "Refused"
        assert text in entry["error"]["message"]
    asked = Counter(
        (one.target, one.headers.get("range"))
        for one in proxy.exchanges
        if one.status == said.status and on.search(f"{one.method} {one.target}")
    )
    assert set(asked.values()) == {3}
    assert len(asked) == LINES
    logged = log.read_bytes()[start:].decode()
    assert logged.count(f'"reason":"{text}') == 3 * LINES
    assert (REQUEST_ID in logged) == (refusal != "301")

    assert answer(corpus, name) == 0
    head, *entries = read_manifest(here, name)
    assert (head["done"], head["failed"], head["failed_ranges"]) == (LINES, 0, 0)
    assert fetch(tmp_path, name) == [f"Open file {number} of {refusal}-{place}" for number in range(LINES)]


@pytest.mark.check
@pytest.mark.parametrize("refusal", PASSING)
def test_what_passes(here, tmp_path, refusal):
    """Every range is answered in the end, by a second or third attempt, and nobody notices."""
    here, proxy, log = here
    corpus, name = write_corpus(tmp_path, refusal), f"passing-{refusal}"
    start = log.stat().st_size
    with proxy.failing(REFUSALS[refusal].fault(), on=RESULT, first=PASSING[refusal]):
        assert answer(corpus, name) == 0

    head, *entries = read_manifest(here, name)
    assert (head["done"], head["failed"], head["retried"]) == (LINES, 0, LINES)
    assert {entry["attempt"] for entry in entries} <= {1, 2}
    assert f"S3 answered {REFUSALS[refusal].status} {REFUSALS[refusal].code} for s3://" in (
        log.read_bytes()[start:].decode()
    )
    assert len(fetch(tmp_path, name)) == LINES


def fetch(folder, name: str) -> list[str]:
    """Return the sources of a run's answers, as ``batch fetch`` writes them."""
    assert main(["batch", "fetch", name, "--local", "--out", str(folder / "out.jsonl")]) == 0
    return [json.loads(line)["source"] for line in (folder / "out.jsonl").read_text().splitlines()]

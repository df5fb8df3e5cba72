"""What S3 refuses to a warm function: what is told and logged, what is counted, how often it is tried."""

import pytest
from support.proxy import Proxy
from support.refusals import ELSEWHERE, REFUSALS, REQUEST_ID
from support.second_model import metrics

EVENT = {"data": ["Open the file"], "result": "s3"}
POINTER = "GET /models/models/en-es/channels/dev.json"
EXPECTED = {
    # code, what the message has, requests of one write
    "301": ("Refused", "the bucket is in another region", 1),
    "400": ("Refused", f"the bucket is in {ELSEWHERE}", 1),
    "403-kms": ("Refused", "KmsKeyArn", 1),
    "403-clock": ("Unavailable", "clock", 1),
    "409-aborted": ("Unavailable", "at the same time", 4),
    "409-conflict": ("Unavailable", "at the same time", 4),
    "503": ("Unavailable", "fewer requests", 5),
}


@pytest.fixture(scope="module")
def behind(two_versions):
    """Yield a proxy in front of S3, and a warm function behind it."""
    two_versions.point(two_versions.first)
    with (
        Proxy(two_versions.stack.s3.endpoint) as proxy,
        two_versions.function(AWS_ENDPOINT_URL_S3=proxy.endpoint) as function,
    ):
        assert function.invoke({"warmup": True})["statusCode"] == 200
        yield proxy, function


def check_reason(name: str, reason: str) -> None:
    """Hold a sentence against what S3 said: its status, code, and the id that AWS's support asks for."""
    refusal = REFUSALS[name]
    assert f"S3 answered {refusal.status} {refusal.code} for s3://" in reason
    assert EXPECTED[name][1] in reason
    # The client does not read what comes with a redirect.
    assert (REQUEST_ID in reason) == (refusal.status != 301)
    assert "arn:aws:sts" not in reason


@pytest.mark.sample(3)
@pytest.mark.parametrize("name", EXPECTED)
def test_a_write(two_versions, behind, name):
    """Caller and log have the same sentence; it is counted once, and tried as often as it may help."""
    proxy, function = behind
    proxy.exchanges.clear()
    with two_versions.logged() as lines, proxy.failing(REFUSALS[name].fault(), on="PUT /results/"):
        response = function.invoke(EVENT)

    error = response["body"]["error"]
    code, _, requests = EXPECTED[name]
    assert (response["statusCode"], error["code"]) == (503, code)
    check_reason(name, error["message"])
    [line] = [one for one in lines if one.get("message") == "not answered"]
    assert (line["level"], line["status"], line["code"]) == ("WARNING", 503, code)
    assert line["reason"] == error["message"]
    assert "Failed" in metrics(lines)
    assert len([one for one in proxy.exchanges if one.method == "PUT"]) == requests
    assert function.invoke(EVENT)["statusCode"] == 200


@pytest.mark.sample(3)
@pytest.mark.parametrize("name", [name for name in EXPECTED if not name.startswith("409")])
def test_a_look_at_the_channel(two_versions, behind, name):
    """What serves goes on, and the log says why the channel was not read."""
    proxy, function = behind
    with two_versions.logged() as lines, proxy.failing(REFUSALS[name].fault(), on=POINTER):
        assert function.invoke({**EVENT, "result": "inline"})["statusCode"] == 200
    [line] = [one for one in lines if one.get("message") == "the channel could not be read"]
    if name == "503":  # S3's client tries for longer than the function waits for its channel
        assert "S3 did not answer" in line["reason"] or "SlowDown" in line["reason"]
    else:
        check_reason(name, line["reason"])
    assert "ModelUnchecked" in metrics(lines)

"""``invoke --record``: answers as the tests compare them."""

import json

import pytest
from support.answers import differences
from support.events import cases

from lambda_setup.commands.invoke import redact

REQUEST_ID = "8c3a1b62-0d5e-4f27-9c1d-aa0b53e4f9d0"
RESPONSE = {
    "statusCode": 200,
    "body": {
        "s3_key": f"prediction_outputs/{REQUEST_ID}/predictions.jsonl.gz",
        "attention_key": f"prediction_outputs/{REQUEST_ID}/attention-{'0a' * 8}.npz",
        "count": 3,
        "predictions": [{"label": "A", "probability": 0.25, "shown": True}, None],
        "model": {"name": "one", "version": "ab" * 32},
        "timings_ms": {"predict": 0.4},
    },
}


def test_what_varies_is_left_open():
    """Ids, versions, digests and measured numbers get placeholders; everything else stays."""
    body = redact(RESPONSE)["body"]
    assert body["s3_key"] == "prediction_outputs/<request id>/predictions.jsonl.gz"
    assert body["attention_key"] == "prediction_outputs/<request id>/attention-<digest>.npz"
    assert body["predictions"] == [{"label": "A", "probability": "<number>", "shown": True}, None]
    assert (body["count"], body["model"]["version"]) == (3, "<sha256>")


@pytest.mark.parametrize("response", [RESPONSE, RESPONSE | {"body": json.dumps(RESPONSE["body"])}])
def test_a_response_is_as_it_was_redact(response):
    """The comparison of the tests takes what was recorded, also of an HTTP answer."""
    assert differences(redact(response), response) == []
    assert differences(redact(response), response | {"statusCode": 400})


@pytest.mark.parametrize(
    "one",
    [one for one in cases() if "<json>" not in one.answer.get("body", "<json>")],
    ids=lambda one: one.name,
)
def test_recording_again_changes_nothing(one):
    """What is recorded already stays as it is."""
    assert redact(one.answer) == one.answer

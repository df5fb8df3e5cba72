"""Responses as callers see them: of Lambda, over HTTP, to a queue."""

import json

import pytest

from lambda_setup.deployment.responses import get_body, is_success, parse_response, save_objects

FAULT = {"statusCode": 503, "body": {"error": {"code": "Unavailable", "message": "no"}}}


def make_failure(status, code, message):
    """Return the response that stands for what Lambda said."""
    return {"statusCode": status, "body": {"error": {"code": code, "message": message}}}


@pytest.mark.parametrize(
    ("payload", "response"),
    [
        ('{"statusCode": 200}', {"statusCode": 200}),
        ('["errorType"]', ["errorType"]),
        ("null", None),
        (
            "Task timed out after 3.00 seconds\n",
            make_failure(504, "FunctionError", "Task timed out after 3.00 seconds"),
        ),
        ("too large", make_failure(502, "FunctionError", "too large")),
        (json.dumps({"errorType": "Unavailable", "errorMessage": json.dumps(FAULT)}), FAULT),
        ('{"errorType": "KeyError", "errorMessage": "\'a\'"}', make_failure(502, "KeyError", "'a'")),
        ('{"errorType": "KeyError", "errorMessage": "[1]"}', make_failure(502, "KeyError", "[1]")),
        ('{"errorType": "KeyError", "errorMessage": "{}"}', make_failure(502, "KeyError", "{}")),
        ('{"errorType": "Runtime.ExitError"}', make_failure(502, "Runtime.ExitError", "")),
    ],
)
def test_a_payload_is_a_response(payload, response):
    """Whatever Lambda reports has the form of what the function returns."""
    assert parse_response(payload) == response


@pytest.mark.parametrize(
    ("response", "success", "body"),
    [
        ({"statusCode": 200, "body": {"a": 1}}, True, {"a": 1}),
        ({"statusCode": 200, "body": '{"a": 1}'}, True, {"a": 1}),
        ({"statusCode": 201, "body": "[1]"}, False, {}),
        (FAULT, False, FAULT["body"]),
        ({"batchItemFailures": []}, True, {}),
        ({"batchItemFailures": [{"itemIdentifier": "a"}], "statusCode": 200}, False, {}),
        (["statusCode"], False, {}),
        ("batchItemFailures", False, {}),
        (None, False, {}),
    ],
)
def test_success_and_body(response, success, body):
    """Both are told of anything that may come."""
    assert is_success(response) is success
    assert get_body(response) == body


def test_objects_that_a_response_names(tmp_path):
    """Each is whole under its key, or not there."""
    names = []

    class Client:
        def download_file(self, bucket: str, key: str, path: str) -> None:
            names.append(path)
            with open(path, "w") as file:  # noqa: PTH123 - as boto3 takes it
                file.write(f"{bucket} {key}")

    body = {"s3_bucket": "results", "s3_key": "a/b.gz", "attention_key": "a/c.npz", "count": 2}
    paths = save_objects(Client(), {"statusCode": 200, "body": body}, tmp_path)
    assert paths == [tmp_path / "a" / "b.gz", tmp_path / "a" / "c.npz"]
    assert [path.read_text() for path in paths] == ["results a/b.gz", "results a/c.npz"]
    assert not {*map(str, paths)} & {*names}
    assert sorted((tmp_path / "a").iterdir()) == paths
    assert save_objects(Client(), None, tmp_path) == []

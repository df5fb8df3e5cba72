"""Requests: what fits passes as it is, what does not is named."""

from typing import Annotated

import pytest
from msgspec import Meta

from lambda_inference._errors import BadRequest
from lambda_inference._requests import BaseRequest, decode_json, describe, parse


class Request(BaseRequest, kw_only=True):
    """A fork's request."""

    size: Annotated[int, Meta(ge=1, le=9, description="an integer from 1 to 9")]
    names: Annotated[tuple[str, ...], Meta(description="a list of strings")] = ()

    def __post_init__(self) -> None:
        if self.size == 5:
            raise BadRequest("size is 5", field="size")


def test_a_fitting_payload_is_the_request():
    """Fields keep their values; the others have their defaults."""
    request = parse({"size": 3, "id": "a"}, Request)
    assert (request.size, request.id, request.result, request.names) == (3, "a", "s3", ())


@pytest.mark.parametrize(
    ("payload", "field", "message"),
    [
        ({}, "size", "size is missing; it takes an integer from 1 to 9"),
        ({"size": 0}, "size", "size takes an integer from 1 to 9; got 0"),
        ({"size": True}, "size", "size takes an integer from 1 to 9; got true"),
        ({"size": "3"}, "size", "size takes an integer from 1 to 9; got a string of 1 character"),
        ({"size": 5}, "size", "size is 5"),
        (
            {"size": 1, "names": ["a", 1.5]},
            "names[1]",
            "names[1] does not fit: names takes a list of strings; got 1.5",
        ),
        ({"size": 1, "sise": 1}, "sise", "'sise' is not a field of a request"),
        ({"size": 1, "result": "disk"}, "result", 'result takes one of "s3", "inline" and "auto"'),
        (
            {"size": 1, "result": "\ud800"},
            "result",
            'result takes one of "s3", "inline" and "auto"; got a string of 1 character',
        ),
        ([], None, "a request is a JSON object; got a list of 0 items"),
    ],
)
def test_a_misfit_is_named(payload, field, message):
    """The error names the field, what it got and what it takes."""
    with pytest.raises(BadRequest) as caught:
        parse(payload, Request)
    assert caught.value.field == field
    assert caught.value.message.startswith(message)


def test_a_warm_up_needs_no_field_of_the_model():
    """Only the base fields are looked at, and unknown ones are still refused."""
    assert parse({"warmup": True, "size": "any"}, Request).warmup is True
    with pytest.raises(BadRequest):
        parse({"warmup": True, "other": 1}, Request)
    with pytest.raises(BadRequest):
        parse({"warmup": True, "id": "!"}, Request)


def test_the_digest_is_of_what_decides_the_answer():
    """Delivery does not count; every other field does."""
    digest = parse({"size": 3}, Request).digest()
    same = {"size": 3, "id": "x", "result": "inline", "errors": "raise"}
    assert parse(same, Request).digest() == digest
    assert parse({"size": 4}, Request).digest() != digest
    assert parse({"size": 3, "names": ["a"]}, Request).digest() != digest


@pytest.mark.parametrize("text", ["", "{", "NaN", "[1, Infinity]", "[" * 100_000, "9" * 5_000])
def test_what_is_not_json_is_refused(text):
    """Neither python's own constants nor depth get through."""
    with pytest.raises(BadRequest) as caught:
        decode_json(text, "body")
    assert caught.value.field == "body"


def test_descriptions_quote_no_text():
    """A value is described by its kind and size."""
    assert describe("secret") == "a string of 6 characters"
    assert describe({"secret": 1}) == "an object"
    assert describe(1 - 10**18) == "-999999999999999999"
    assert describe(10**18) == describe(-(10**400)) == "a number of more than 18 digits"
    assert [describe(value) for value in (None, False, 2, 2.5, [1])] == [
        "null", "false", "2", "2.5", "a list of 1 item",
    ]  # fmt: skip

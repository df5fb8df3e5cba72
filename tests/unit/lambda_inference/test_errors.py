"""The answers other than 200."""

import pytest

from lambda_inference._errors import BadRequest, Fault, OutOfTime, TooLarge, Unavailable


@pytest.mark.parametrize(
    ("kind", "status"),
    [(Fault, 500), (BadRequest, 400), (TooLarge, 413), (Unavailable, 503), (OutOfTime, 504)],
)
def test_a_fault_is_an_answer(kind, status):
    """It names its field, if there is one."""
    code = "InternalError" if kind is Fault else kind.__name__
    assert kind.status == status
    assert kind("no").body() == {"error": {"code": code, "message": "no"}}
    assert kind("no", field="data").body() == {"error": {"code": code, "message": "no", "field": "data"}}

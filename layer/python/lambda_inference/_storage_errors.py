"""Failures of S3 as faults that say what S3 said, and whether a second attempt may help.

=====================================  ===================  =========================
S3                                     fault                callers may retry
=====================================  ===================  =========================
404                                    Missing
403, 401 to a reader                   AccessDenied         yes: it may be missing
403, 401 to a writer                   Refused              twice
KMS, another region, other 4xx         Refused              twice
RequestTimeTooSkewed, 409, 429, 5xx    Unavailable          yes
no answer                              Unavailable          yes
=====================================  ===================  =========================

obstore tells failures by their text alone: the status, and S3's error document with ``<Code>`` and
``<RequestId>``, which the answer to a HEAD lacks. S3's ``<Message>`` may hold names of the account and is
never passed on.
"""

import os
import re
from collections.abc import Callable

from msgspec import Struct

from lambda_inference._errors import AccessDenied, Refused, Unavailable

_STATUS = re.compile(r"status code: (\d{3})")
_FIELD = re.compile(r"<(Code|RequestId|Region)>([\w./+=-]{1,128})</\1>")
_REDIRECT = "Received redirect without LOCATION"
_TRANSIENT = {"RequestTimeout", "ExpiredToken", "IncompleteBody", "BadDigest", "RequestTimeTooSkewed"}
"""Codes of 400 and 403 that a second attempt may not get."""
_OTHER_REGION = {"PermanentRedirect", "IllegalLocationConstraintException"}


class Missing(Exception):
    """There is no such object."""


def is_conflict(error: Exception) -> bool:
    """Return whether S3 refused a conditional write because another one was under way.

    S3 wants it repeated (409 ConditionalRequestConflict); obstore 0.12 reports an object that exists
    (apache/arrow-rs-object-store#852).
    """
    status = _STATUS.search(str(error))
    return bool(status and status[1] == "409")


class _Answer(Struct, frozen=True):
    """S3's answer to a request that failed; empty where S3 does not say."""

    status: int
    code: str
    region: str
    text: str
    writing: bool

    @property
    def denied(self) -> bool:
        return self.status in {401, 403}

    @property
    def passing(self) -> bool:
        """Whether a second attempt may get another answer."""
        return self.status >= 500 or self.status == 416 or self.code in _TRANSIENT  # noqa: PLR2004


_RULES: tuple[tuple[Callable[[_Answer], bool], type[Unavailable], str], ...] = (
    (
        lambda one: "Throttling" not in one.code and (one.code.startswith("KMS.") or "kms:" in one.text),
        Refused,
        (
            "the function's role may not use the bucket's KMS key, or the key is disabled; deploy with the "
            "parameter KmsKeyArn, and let the key's policy allow the role, too"
        ),
    ),
    (
        lambda one: bool(one.region) or one.code in _OTHER_REGION,
        Refused,
        "the bucket is in {region}, and the function in {here}; deploy it with a bucket of its own region",
    ),
    (
        lambda one: one.code == "RequestTimeTooSkewed",
        Unavailable,
        "the clock of this environment is wrong by more than 15 minutes; try again",
    ),
    (
        lambda one: one.denied and one.writing and not one.passing,
        Refused,
        "S3 denied access, the function's role may not write there",
    ),
    (
        lambda one: one.denied,
        AccessDenied,
        "S3 denied access: it is missing, or the function's role may not",
    ),
    (
        lambda one: one.status == 409,  # noqa: PLR2004
        Unavailable,
        "another request wrote the same object at the same time; try again",
    ),
    (
        lambda one: one.status in {429, 503},
        Unavailable,
        "S3 asks for fewer requests; try again, with fewer invocations at once",
    ),
    (lambda one: one.passing, Unavailable, "try again"),
    (lambda one: bool(one.code), Refused, "another attempt gets the same answer"),
    (
        lambda _: True,
        Refused,
        "S3 says no more to such a request; a bucket in another region than the function's answers so",
    ),
)
"""The first that holds for an answer gives the fault and the message."""


def translate(error: Exception, url: str, *, writing: bool) -> Exception:
    """Return the fault of an error of obstore.

    Args:
        error: what obstore raised.
        url: the object that it was asked for.
        writing: whether it was to be written.

    """
    if isinstance(error, FileNotFoundError):
        return Missing(url)
    text = str(error)
    fields = dict(_FIELD.findall(text))
    found = _STATUS.search(text)
    code = fields.get("Code", "")
    if _REDIRECT in text:
        found, code = None, "PermanentRedirect"
    elif found is None:
        return Unavailable(f"S3 did not answer for {url}; try again")
    status = int(found[1]) if found else 301
    answer = _Answer(status, code, fields.get("Region", ""), text, writing)
    kind, hint = next((kind, hint) for holds, kind, hint in _RULES if holds(answer))
    region, here = answer.region or "another region", os.environ.get("AWS_REGION", "another one")
    request = f" (request {fields['RequestId']})" if "RequestId" in fields else ""
    said = f"S3 answered {status} {code}".rstrip()
    return kind(f"{said} for {url}{request}: {hint.format(region=region, here=here)}")

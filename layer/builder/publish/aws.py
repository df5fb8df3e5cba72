"""boto3's errors as one line, for the builder and the operator's commands; boto3 is imported late."""

import contextlib
from collections.abc import Iterator
from typing import Any

_CHANGED = "somebody else changed it at the same time; look, and try again"
_ELSEWHERE = "it is in another region; give that one with --region"
_ADVICE = {
    "PreconditionFailed": _CHANGED,
    "ConditionalRequestConflict": _CHANGED,
    "PermanentRedirect": _ELSEWHERE,
    "AuthorizationHeaderMalformed": _ELSEWHERE,
    "IllegalLocationConstraintException": _ELSEWHERE,
    "RequestTimeTooSkewed": "this machine's clock is wrong by more than 15 minutes; set it",
    "SlowDown": "S3 asks for fewer requests; try again later",
    "ExpiredToken": "the credentials have expired; get new ones, such as by `aws sso login`",
}


def _explain(response: Any) -> str:
    """Return what an error response of AWS says, and what to do where that is known."""
    error, facts = response.get("Error", {}), response.get("ResponseMetadata", {})
    code, message = str(error.get("Code")), str(error.get("Message"))
    advice = _ADVICE.get(code, "")
    if code.startswith("KMS.") or "kms:" in message:
        advice = "your identity may not use the bucket's KMS key, or the key is disabled"
    if advice == _CHANGED:
        return advice
    request = (
        f" (HTTP {facts.get('HTTPStatusCode')}, request {facts['RequestId']})"
        if facts.get("RequestId")
        else ""
    )
    return f"{code}: {message}{request}" + (f"; {advice}" if advice else "")


@contextlib.contextmanager
def readable_errors(subject: str, kind: type[Exception] = RuntimeError) -> Iterator[None]:
    """Turn boto3's errors into one line that begins with the subject and says what to do."""
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, NoRegionError

    try:
        yield
    except NoCredentialsError:
        raise kind(f"{subject}: no AWS credentials; run `aws configure`, or set AWS_PROFILE") from None
    except NoRegionError:
        raise kind(f"{subject}: no region; set AWS_DEFAULT_REGION, or run `aws configure`") from None
    except ClientError as error:
        raise kind(f"{subject}: {_explain(error.response)}") from None
    except (Boto3Error, BotoCoreError) as error:
        raise kind(f"{subject}: {error}") from None

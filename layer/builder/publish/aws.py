"""boto3's errors as one line, for the builder and the operator's commands; boto3 is imported late."""

import contextlib
from collections.abc import Iterator
from typing import Any

_CHANGED = "somebody else changed it at the same time; look, and try again"
_ELSEWHERE = "it is in another region; give that one with --region"
_FEWER = "S3 asks for fewer requests; try again later"
_UNKNOWN = (
    "AWS does not know these credentials; look at `aws sts get-caller-identity`, or give another --profile"
)
_DENIED = "your identity may not do it; docs/how-to/second_day.md has the policies"
_ADVICE = {
    "ConditionalRequestConflict": _CHANGED,
    "OperationAborted": _CHANGED,
    "409": _CHANGED,
    "301": _ELSEWHERE,
    "PermanentRedirect": _ELSEWHERE,
    "AuthorizationHeaderMalformed": _ELSEWHERE,
    "IllegalLocationConstraintException": _ELSEWHERE,
    "RequestTimeTooSkewed": "this machine's clock is wrong by more than 15 minutes; set it",
    "403": "your identity may not read it, or not use the KMS key that it is encrypted with, or the clock of "
    "this machine is wrong; S3 does not say more to a HEAD",
    "503": _FEWER,
    "SlowDown": _FEWER,
    "AccessDenied": _DENIED,
    "AccessDeniedException": _DENIED,
    "InvalidAccessKeyId": _UNKNOWN,
    "InvalidClientTokenId": _UNKNOWN,
    "SignatureDoesNotMatch": _UNKNOWN,
    "UnrecognizedClientException": _UNKNOWN,
    "ExpiredToken": "the credentials have expired; get new ones, such as by `aws sso login`",
}


def _explain(response: Any) -> str:
    """Return what an error response of AWS says, and what to do where that is known.

    The answer to a HEAD has no document: its code is the status, and only the region stands in a header.
    """
    error, facts = response.get("Error", {}), response.get("ResponseMetadata", {})
    code, message, status = str(error.get("Code")), str(error.get("Message")), facts.get("HTTPStatusCode")
    headers = facts.get("HTTPHeaders", {})
    region = error.get("Region") or headers.get("x-amz-bucket-region")
    advice = _ADVICE.get(code, "")
    if region and (advice == _ELSEWHERE or status in {301, 400}):
        advice = f"it is in {region}; give that one with --region"
    if code.startswith("KMS.") or "kms:" in message:
        advice = "your identity may not use the bucket's KMS key, or the key is disabled"
    if code == "PreconditionFailed":
        return _CHANGED
    # botocore does not look for it in an answer of 500 and more that has no document.
    request_id = facts.get("RequestId") or headers.get("x-amz-request-id")
    request = f" (HTTP {status}, request {request_id})" if request_id else ""
    return f"{code}: {message}{request}" + (f"; {advice}" if advice else "")


@contextlib.contextmanager
def readable_errors(subject: str, kind: type[Exception] = RuntimeError) -> Iterator[None]:
    """Turn boto3's errors into one line that begins with the subject and says what to do."""
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import (
        BotoCoreError,
        ClientError,
        EndpointConnectionError,
        NoCredentialsError,
        NoRegionError,
        ProfileNotFound,
        SSOError,
        TokenRetrievalError,
    )

    try:
        yield
    except NoCredentialsError:
        raise kind(f"{subject}: no AWS credentials; run `aws configure`, or set AWS_PROFILE") from None
    except NoRegionError:
        raise kind(f"{subject}: no region; set AWS_DEFAULT_REGION, or run `aws configure`") from None
    except ProfileNotFound as error:
        raise kind(f"{subject}: {error}; give one of `aws configure list-profiles` with --profile") from None
    except (SSOError, TokenRetrievalError) as error:
        raise kind(f"{subject}: {error}; log in: `aws sso login`, with the same --profile") from None
    except EndpointConnectionError as error:
        raise kind(f"{subject}: {error}; is this machine online, and the region spelled right?") from None
    except ClientError as error:
        raise kind(f"{subject}: {_explain(error.response)}") from None
    except (Boto3Error, BotoCoreError) as error:
        # boto3 puts an upload's error into a sentence, and keeps what S3 answered as its context.
        if isinstance(error.__context__, ClientError):
            raise kind(f"{subject}: {_explain(error.__context__.response)}") from None
        raise kind(f"{subject}: {error}") from None

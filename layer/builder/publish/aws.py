"""boto3's errors as one line, for the builder and the operator's commands; boto3 is imported late."""

import contextlib
from collections.abc import Iterator


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
        reason = error.response.get("Error", {})
        if reason.get("Code") == "PreconditionFailed":
            raise kind(f"{subject}: somebody else changed it at the same time; look, and try again") from None
        raise kind(f"{subject}: {reason.get('Code')}: {reason.get('Message')}") from None
    except (Boto3Error, BotoCoreError) as error:
        raise kind(f"{subject}: {error}") from None

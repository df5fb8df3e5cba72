"""The function's credentials where they are not among its environment variables.

A function with SnapStart gets them from an endpoint in its own environment, because a snapshot would
keep variables. obstore reads that endpoint's address, but not its token: so it is asked here.
Source: "Container credential provider" in the AWS SDKs and Tools Reference Guide.
"""

import json
import os
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from lambda_inference._errors import Unavailable

if TYPE_CHECKING:
    from obstore.store import S3Credential

_ADDRESS = "AWS_CONTAINER_CREDENTIALS_FULL_URI"
_TOKEN = "AWS_CONTAINER_AUTHORIZATION_TOKEN"  # noqa: S105 - the variable's name
_LOCAL = {"localhost", "127.0.0.1", "::1", "169.254.170.2", "169.254.170.23", "fd00:ec2::23"}
_SECONDS = 3


def provider() -> "Callable[[], S3Credential] | None":
    """Return what fetches credentials when they are needed, None where obstore finds them itself."""
    if "AWS_ACCESS_KEY_ID" in os.environ or _ADDRESS not in os.environ:
        return None
    return from_container


def from_container() -> "S3Credential":
    """Ask the endpoint that the environment names; obstore asks again when they expire.

    Raises:
        Unavailable: it did not answer, or not with credentials.

    """
    from urllib.parse import urlsplit

    address = urlsplit(os.environ[_ADDRESS])
    if address.scheme != "https" and address.hostname not in _LOCAL:
        raise Unavailable(f"{_ADDRESS} leads neither to this machine nor over HTTPS")
    from http.client import HTTPConnection, HTTPException, HTTPSConnection

    kind = HTTPSConnection if address.scheme == "https" else HTTPConnection
    connection = kind(address.hostname or "", address.port, timeout=_SECONDS)
    path = address.path + (f"?{address.query}" if address.query else "")
    try:
        connection.request("GET", path, headers={"Authorization": os.environ.get(_TOKEN, "")})
        said: Any = json.loads(connection.getresponse().read())
        expires = said.get("Expiration")
        return {
            "access_key_id": said["AccessKeyId"],
            "secret_access_key": said["SecretAccessKey"],
            "token": said.get("Token"),
            "expires_at": datetime.fromisoformat(expires).astimezone(UTC) if expires else None,
        }
    except (OSError, HTTPException, ValueError, LookupError, AttributeError, TypeError):
        # Not `from`: what was answered may hold credentials.
        raise Unavailable("the function's credentials cannot be had; try again") from None
    finally:
        connection.close()

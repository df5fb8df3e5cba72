"""Credentials of functions that do not find them in environment variables.

With SnapStart they come from an endpoint, because a snapshot would keep variables. obstore reads the
endpoint's address, but not its token, so the endpoint is called here.
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


def find_provider() -> "Callable[[], S3Credential] | None":
    """Return the function that fetches credentials, or None where obstore finds them itself."""
    if "AWS_ACCESS_KEY_ID" in os.environ or _ADDRESS not in os.environ:
        return None
    return fetch_from_container


def fetch_from_container() -> "S3Credential":
    """Fetch credentials from the endpoint in the environment; obstore calls again when they expire.

    Raises:
        Unavailable: the endpoint did not answer with credentials.

    """
    from urllib.parse import urlsplit

    address = urlsplit(os.environ[_ADDRESS])
    if address.scheme != "https" and address.hostname not in _LOCAL:
        raise Unavailable(f"{_ADDRESS} must name this machine or use HTTPS")
    from http.client import HTTPConnection, HTTPException, HTTPSConnection

    kind = HTTPSConnection if address.scheme == "https" else HTTPConnection
    connection = kind(address.hostname or "", address.port, timeout=_SECONDS)
    path = address.path + (f"?{address.query}" if address.query else "")
    try:
        connection.request("GET", path, headers={"Authorization": os.environ.get(_TOKEN, "")})
        answer: Any = json.loads(connection.getresponse().read())
        expires = answer.get("Expiration")
        return {
            "access_key_id": answer["AccessKeyId"],
            "secret_access_key": answer["SecretAccessKey"],
            "token": answer.get("Token"),
            "expires_at": datetime.fromisoformat(expires).astimezone(UTC) if expires else None,
        }
    except (OSError, HTTPException, ValueError, LookupError, AttributeError, TypeError):
        # Not `from`: the answer may hold credentials.
        raise Unavailable("the function's credentials are temporarily unavailable; try again") from None
    finally:
        connection.close()

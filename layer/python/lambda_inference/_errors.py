"""The faults that a caller is told of.

::

    Fault                   500
      BadRequest            400
        ForeignEvent
      Conflict              409
      TooLarge              413
      InternalError         500
      Unavailable           503
        AccessDenied
        MissingVersion
        Refused           503, with a code of its own
      OutOfTime             504
"""

from typing import Any, ClassVar


class Fault(Exception):
    """An answer other than 200.

    Attributes:
        status: the HTTP status.
        code: the error's name in an answer; subclasses that a caller need not tell apart share one.
        message: what was given, what is expected, and what to do next; never a user's text.
        field: the request's field that is at fault, if any.

    """

    status: ClassVar[int] = 500
    code: ClassVar[str] = "InternalError"

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.field = field

    def body(self) -> dict[str, Any]:
        """Return the response's body: ``{"error": {"code", "message", "field"?}}``."""
        error = {"code": self.code, "message": self.message}
        if self.field is not None:
            error["field"] = self.field
        return {"error": error}


class BadRequest(Fault, ValueError):
    """The request cannot be served as it stands."""

    status = 400
    code = "BadRequest"


class ForeignEvent(BadRequest):
    """An event that another service made, and no request; its message says which setting to change."""


class Conflict(Fault):
    """The request's id already names the result of another request."""

    status = 409
    code = "Conflict"


class TooLarge(Fault):
    """The answer does not fit into a response."""

    status = 413
    code = "TooLarge"


class InternalError(Fault):
    """A bug; the log has its traceback under the request's id."""


class Unavailable(Fault):
    """S3 or the model is temporarily unavailable."""

    status = 503
    code = "Unavailable"


class AccessDenied(Unavailable):
    """S3 denied access, as it also does for a missing object to a role that may not list the bucket."""


class Refused(Unavailable):
    """S3 refused, and goes on refusing until somebody changes a setting."""

    code = "Refused"


class MissingVersion(Unavailable):
    """A version of a model is not in the bucket, or only in part."""


class OutOfTime(Fault):
    """The prediction would have exceeded the function's timeout."""

    status = 504
    code = "OutOfTime"

"""What can go wrong, as the caller is told it."""

from typing import Any, ClassVar


class Fault(Exception):
    """An answer that is not 200.

    ``message`` says what was given, what is expected and what to do next; it never holds a
    user's text. ``field`` names the request's field that is at fault, where there is one.
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


class Conflict(Fault):
    """The request's id already names the result of another request."""

    status = 409
    code = "Conflict"


class TooLarge(Fault):
    """The answer does not fit into the response."""

    status = 413
    code = "TooLarge"


class InternalError(Fault):
    """A fault of ours; the log has the traceback under the request's id."""


class Unavailable(Fault):
    """The storage or the model cannot be had now.

    Attributes:
        refused: whether S3 refused access, as it also does for what is not there to those who may not list.
        missing: whether it is a version of a model that is not there, or not all of it.

    """

    refused = False
    missing = False

    status = 503
    code = "Unavailable"


class OutOfTime(Fault):
    """The function's timeout would have cut the prediction off."""

    status = 504
    code = "OutOfTime"

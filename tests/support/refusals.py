"""What S3 answers when it refuses: status, document and headers as AWS sends them.

Codes, statuses and texts are those of "Error responses" in the Amazon S3 API Reference; the documents' fields
are those of recorded answers: 301 names the bucket's region in a header and has no Location, 400 names it in
the document, and in a header where the answer to a HEAD has no document.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from xml.sax.saxutils import escape

from support.proxy import Answer, Fault

REQUEST_ID = "4442587FB7D0A2F9"
HOST_ID = "vlR7PnpV2Ce81l0PRw6jlUpck7Jo5ZsQjryTjKlc5aLWGVHPZLj5NeC6qMa0emYBDXOo6QBU0Wo="
ELSEWHERE = "eu-west-1"
"""The region of a bucket that another region is asked for."""
ROLE = "arn:aws:sts::123456789012:assumed-role/translation-FunctionRole-1/translation"


@dataclass(frozen=True)
class Refusal:
    """One of S3's refusals.

    Attributes:
        status: of HTTP.
        code: S3's.
        message: S3's; of a wrong key and a wrong region it holds names of the account.
        fields: other elements of the document, in order.
        headers: beside those that every answer has.
        head: headers that only the answer to a HEAD has, which lacks the document.

    """

    status: int
    code: str
    message: str
    fields: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    head: Mapping[str, str] = field(default_factory=dict)

    def document(self) -> bytes:
        """Return the body."""
        ids = {"RequestId": REQUEST_ID, "HostId": HOST_ID}
        elements = {"Code": self.code, "Message": self.message, **self.fields, **ids}
        text = "".join(f"<{name}>{escape(value)}</{name}>" for name, value in elements.items())
        return f'<?xml version="1.0" encoding="UTF-8"?>\n<Error>{text}</Error>'.encode()

    def answer(self, method: str = "GET") -> Answer:
        """Return the answer to a request of a method."""
        ids = {"x-amz-request-id": REQUEST_ID, "x-amz-id-2": HOST_ID, "Content-Type": "application/xml"}
        if method == "HEAD":
            return Answer(self.status, {**ids, **self.headers, **self.head})
        return Answer(self.status, {**ids, **self.headers}, self.document())

    def fault(self, method: str = "GET") -> Fault:
        """Return a fault of the proxy: the server is never asked."""

        def refuse(_: Callable[[], Answer]) -> Answer:
            return self.answer(method)

        return refuse


_REGION = {"x-amz-bucket-region": ELSEWHERE}
MOVED = Refusal(
    301,
    "PermanentRedirect",
    "The bucket you are attempting to access must be addressed using the specified endpoint. Please send all "
    "future requests to this endpoint.",
    {"Endpoint": f"bucket.s3.{ELSEWHERE}.amazonaws.com", "Bucket": "bucket"},
    _REGION,
)
WRONG_REGION = Refusal(
    400,
    "AuthorizationHeaderMalformed",
    f"The authorization header is malformed; the region 'us-east-1' is wrong; expecting '{ELSEWHERE}'",
    {"Region": ELSEWHERE},
    head=_REGION,
)
KMS = Refusal(
    403,
    "AccessDenied",
    f"User: {ROLE} is not authorized to perform: kms:Decrypt on the resource associated with this ciphertext "
    "because no identity-based policy allows the kms:Decrypt action",
)
DENIED = Refusal(403, "AccessDenied", "Access Denied")
CLOCK = Refusal(
    403,
    "RequestTimeTooSkewed",
    "The difference between the request time and the current time is too large.",
    {
        "RequestTime": "20261129T030000Z",
        "ServerTime": "2026-11-29T04:00:00Z",
        "MaxAllowedSkewMilliseconds": "900000",
    },
)
ABORTED = Refusal(
    409,
    "OperationAborted",
    "A conflicting conditional operation is currently in progress against this resource. Please try again.",
)
CONFLICT = Refusal(
    409,
    "ConditionalRequestConflict",
    "The conditional request cannot succeed due to a conflicting operation against this resource.",
    {"Condition": "If-None-Match"},
)
SLOW_DOWN = Refusal(503, "SlowDown", "Please reduce your request rate.")

REFUSALS = {
    "301": MOVED,
    "400": WRONG_REGION,
    "403-kms": KMS,
    "403-clock": CLOCK,
    "409-aborted": ABORTED,
    "409-conflict": CONFLICT,
    "503": SLOW_DOWN,
}
"""The refusals that commands, functions and batches are tried with, by a short name."""

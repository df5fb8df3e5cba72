"""Event files: JSON that is sent to a function."""

import json
from pathlib import Path
from typing import Any

from lambda_setup.errors import CommandError

REQUEST_LIMIT = 6_291_456
"""Bytes of a request that Lambda takes in a synchronous call."""


def read_event(path: Path) -> Any:
    """Return the event in a file: JSON in UTF-8 or UTF-16, with or without a byte order mark."""
    try:
        event = json.loads(path.read_bytes())  # detects the encoding, and drops a byte order mark
    except FileNotFoundError:
        raise CommandError(f"event file {path} is missing; check the path, or leave out --event") from None
    except IsADirectoryError:
        raise CommandError(f"event file {path} is a folder; name a file in it") from None
    except UnicodeDecodeError as error:
        raise CommandError(
            f"event file {path} is not text in {error.encoding}, at byte {error.start:,}; save it as UTF-8"
        ) from None
    except (ValueError, RecursionError) as error:
        raise CommandError(f"event file {path} is not JSON: {error}; see events/event.json") from None
    size = len(json.dumps(event))
    if size > REQUEST_LIMIT:
        raise CommandError(
            f"event file {path} is a request of {size:,} bytes, and Lambda takes {REQUEST_LIMIT:,}; send "
            "fewer items at once, or store them in S3 and name them with `source`"
        )
    return event

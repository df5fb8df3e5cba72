"""A model that is one word, and its manifest."""

import hashlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lambda_inference._models import PART_SIZE, File
from lambda_setup.models.describe import PublishedManifest, Smoke

FILE = "word.txt"
ENGINE = "shout"


def describe_word(
    folder: Path,
    name: str,
    word: str,
    *,
    created: datetime | None = None,
    smoke: tuple[dict[str, Any], list[Any]] | None = None,
) -> PublishedManifest:
    """Write a word into a folder, and return the manifest of the model that it is."""
    folder.mkdir(exist_ok=True)
    data = word.encode()
    (folder / FILE).write_bytes(data)
    file = File(name=FILE, size=len(data), part_size=PART_SIZE, parts=[hashlib.sha256(data).hexdigest()])
    return PublishedManifest(
        name=name,
        engine=ENGINE,
        precision="none",
        libraries={},
        files=[file],
        created=(created or datetime.now(UTC)).isoformat(),
        smoke=Smoke(*smoke) if smoke else None,
    )

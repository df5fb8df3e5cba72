"""``sbom.cdx.json``: the packages of a layer with versions, hashes and licences (CycloneDX 1.6).

The same layer gives the same bytes: it has no date, and its serial number is the layer's digest.
"""

import json
import re
import uuid
import zipfile
from collections.abc import Callable, Iterable
from email.parser import HeaderParser
from pathlib import Path
from typing import Any

from layer.builder.report.facts import Report
from layer.builder.tree import write_atomic
from layer.builder.wheels.wheel import Wheel, cache_path

SBOM = "sbom.cdx.json"
_METADATA = re.compile(r"[^/]+\.dist-info/METADATA")
_CLASSIFIER = "License :: "
_LONGEST = 64
"""Characters of a License field that is a name; others are the licence's text."""


def write_sbom(report: Report, wheels: Iterable[Wheel], cache: Path, out: Path) -> None:
    """Write the bill of materials of a layer beside its report.

    Args:
        report: of the layer.
        wheels: of its lock.
        cache: where they lie; one that is missing there is listed without its licence.
        out: the report's folder.

    """
    document = describe(report, wheels, lambda wheel: read_licence(cache_path(cache, wheel)))
    write_atomic(out / SBOM, json.dumps(document, indent=2, sort_keys=True) + "\n")


def describe(
    report: Report, wheels: Iterable[Wheel], find_licence: Callable[[Wheel], str | None]
) -> dict[str, Any]:
    """Return the document of a layer and its wheels."""
    inside = {wheel.file for wheel in report.wheels}
    components = [
        _describe_wheel(wheel, find_licence(wheel))
        for wheel in sorted(wheels, key=lambda wheel: wheel.file)
        if wheel.file in inside
    ]
    layer = f"layer/{report.recipe}"
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, report.layer_sha256)}",
        "version": 1,
        "metadata": {
            "component": {
                "type": "container",
                "bom-ref": layer,
                "name": report.recipe,
                "version": report.target,
                "hashes": [{"alg": "SHA-256", "content": report.digest}],
                "properties": [{"name": "layer:proof", "value": report.proof.status}],
            }
        },
        "components": components,
        "dependencies": [{"ref": layer, "dependsOn": [one["bom-ref"] for one in components]}],
    }


def _describe_wheel(wheel: Wheel, licence: str | None) -> dict[str, Any]:
    purl = f"pkg:pypi/{wheel.name}@{wheel.version.replace('+', '%2B')}"
    source = [{"name": "layer:source", "value": wheel.source.file}] if wheel.source else []
    return {
        "type": "library",
        "bom-ref": f"{purl}?file_name={wheel.file.replace('+', '%2B')}",
        "name": wheel.name,
        "version": wheel.version,
        "purl": purl,
        "hashes": [{"alg": "SHA-256", "content": wheel.sha256}],
        **({"licenses": [{"license": {"name": licence}}]} if licence else {}),
        "properties": [{"name": "layer:file", "value": wheel.file}, *source],
    }


def read_licence(path: Path) -> str | None:
    """Return the licence that a wheel's metadata name, None if they do not, or the wheel is not there."""
    try:
        with zipfile.ZipFile(path) as archive:
            name = next((name for name in archive.namelist() if _METADATA.fullmatch(name)), None)
            text = archive.read(name).decode("utf-8", "replace") if name else ""
    except (OSError, zipfile.BadZipFile):
        return None
    fields = HeaderParser().parsestr(text)
    if expression := fields.get("License-Expression"):
        return str(expression)
    stated = (fields.get("License") or "").strip()
    if stated and "\n" not in stated and len(stated) <= _LONGEST and stated != "UNKNOWN":
        return stated
    classifiers = [
        one.rpartition(" :: ")[2] for one in fields.get_all("Classifier", []) if one.startswith(_CLASSIFIER)
    ]
    return " AND ".join(sorted(set(classifiers))) or None

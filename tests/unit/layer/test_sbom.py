"""The bill of materials: each wheel of a layer, by name, version, hash and licence."""

import json
import zipfile
from dataclasses import replace

import pytest
from test_report import REPORT

from layer.builder.report.facts import InstalledWheel
from layer.builder.report.sbom import read_licence, write_sbom
from layer.builder.wheels.wheel import Source, Wheel, cache_path

TORCH = Wheel("torch", "2.10.0+cpu", "torch-2.10.0+cpu-any.whl", "a" * 64)
SIX = Wheel("six", "1.17.0", "six-1.17.0-any.whl", "b" * 64, source=Source("six-1.17.0.tar.gz", "c" * 64))
LEFT_OUT = Wheel("numpy", "2.4.6", "numpy-2.4.6-any.whl", "d" * 64)
LAYER = replace(
    REPORT, wheels=tuple(InstalledWheel(one.name, one.version, one.file, 1) for one in (TORCH, SIX))
)


def pack(path, metadata):
    """Write a wheel with these metadata."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("six-1.17.0.dist-info/METADATA", metadata)
    return path


def test_every_wheel_of_the_layer_is_a_component(tmp_path):
    """With its hash and licence; what the lock has and the layer has not is no component."""
    pack(cache_path(tmp_path, SIX), "Name: six\nLicense-Expression: MIT\n")
    write_sbom(LAYER, [TORCH, SIX, LEFT_OUT], tmp_path, tmp_path)
    first = (tmp_path / "sbom.cdx.json").read_text()
    document = json.loads(first)
    assert (document["bomFormat"], document["specVersion"], document["version"]) == ("CycloneDX", "1.6", 1)
    six, torch = document["components"]
    assert (six["purl"], six["licenses"]) == ("pkg:pypi/six@1.17.0", [{"license": {"name": "MIT"}}])
    assert six["properties"][1] == {"name": "layer:source", "value": "six-1.17.0.tar.gz"}
    assert (torch["purl"], torch["hashes"]) == (
        "pkg:pypi/torch@2.10.0%2Bcpu", [{"alg": "SHA-256", "content": "a" * 64}]
    )  # fmt: skip
    assert "licenses" not in torch  # it is not in the cache
    assert document["dependencies"][0]["dependsOn"] == [six["bom-ref"], torch["bom-ref"]]
    write_sbom(LAYER, [SIX, TORCH], tmp_path, tmp_path)
    assert (tmp_path / "sbom.cdx.json").read_text() == first


@pytest.mark.parametrize(
    ("metadata", "licence"),
    [
        ("License-Expression: Apache-2.0\nLicense: other\n", "Apache-2.0"),
        ("License: BSD-3-Clause\n", "BSD-3-Clause"),
        ("License: UNKNOWN\nClassifier: License :: OSI Approved :: MIT License\n", "MIT License"),
        ("License: Permission is\n  granted\nClassifier: License :: OSI Approved :: ISC\n", "ISC"),
        ("Classifier: Topic :: Text\n", None),
        ("", None),
    ],
)  # fmt: skip
def test_a_licence_is_what_the_metadata_name(tmp_path, metadata, licence):
    """An expression first, then a short field, then classifiers; a licence's whole text is no name."""
    assert read_licence(pack(tmp_path / "w.whl", metadata)) == licence


def test_what_is_no_wheel_has_no_licence(tmp_path):
    """The builder says elsewhere that it is damaged."""
    (tmp_path / "w.whl").write_bytes(b"PK")
    assert read_licence(tmp_path / "w.whl") is None

"""The template as it is deployed, held against the rules of cfn-lint and checkov.

A rule that the template does not follow has its reason beside it: in the Metadata of the resource,
or here where SAM keeps no Metadata.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from support.project import SCRIPTS
from support.template import SOURCE, Stack

CFN_LINT = SCRIPTS / "cfn-lint"
CHECKOV = Path(sys.prefix) / "checkov" / "bin" / "checkov"  # it needs an older boto3 than everything else

# What cfn-lint finds only after the transformation: the rule, what it is about, and why it stays.
FOUND_AFTER_SAM = {
    ("W8001", "OnlyLocal"): "it chooses what is built, and nothing is left to build",
    ("W2001", "CodeFolder"): "it chooses what is packed, and nothing is left to pack",
    ("W1020", "LayerName"): "SAM fills the parameters into a layer's name and leaves Fn::Sub around it",
}


REGIONS = ("us-east-1", "eu-central-1")
PARTITIONS = (*REGIONS, "us-gov-west-1", "cn-north-1", "eusc-de-east-1")
"""Regions of the partitions aws, aws-us-gov, aws-cn and aws-eusc."""


def cfn_lint(template, folder, regions=REGIONS) -> set[tuple[str, str]]:
    """Return the rules that a template breaks, each with the property or the name it is about."""
    path = folder / "template.json"
    path.write_text(json.dumps(template))
    done = subprocess.run(
        [CFN_LINT, "--regions", *regions, "--format", "json", "--", path],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    places = [(found["Rule"]["Id"], found["Location"]["Path"]) for found in json.loads(done.stdout)]
    return {(rule, (place[3:] or place[-1:])[0]) for rule, place in places}


def checkov(template, folder) -> dict[str, dict[tuple[str, str], str]]:
    """Return the checks that failed and those that were skipped: check and resource, and the reason."""
    if not CHECKOV.exists():
        pytest.skip("there is no checkov; run: make .venv/checkov/bin/checkov")
    path = folder / "template.json"
    path.write_text(json.dumps(template))
    done = subprocess.run(
        [CHECKOV, "--framework", "cloudformation", "--skip-download", "--output", "json", "--file", path],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    report = json.loads(done.stdout)
    assert report["summary"]["parsing_errors"] == 0
    assert report["summary"]["resource_count"] == len(template["Resources"])
    return {
        kind: {
            (check["check_id"], check["resource"].rpartition(".")[2]): check["check_result"].get(
                "suppress_comment", ""
            )
            for check in report["results"][f"{kind}_checks"]
        }
        for kind in ("failed", "skipped")
    }


def without(template, tool: str):
    """Return a template without what it tells a tool to leave out."""
    copy = json.loads(json.dumps(template))
    for part in (copy, *copy["Resources"].values()):
        part.get("Metadata", {}).pop(tool, None)
    return copy


class TestCfnLint:
    """``cfn-lint``, also on what SAM makes of the template."""

    @pytest.mark.sample(3)
    @pytest.mark.parametrize(
        "parameters",
        [
            {},
            {
                "Engine": "ctranslate2",
                "Architecture": "x86_64",
                "Tracing": "on",
                "FunctionUrl": "on",
                "Batch": "on",
                "Queue": "on",
            },
            {"LambdaLayerArn": "arn:aws:lambda:eu-central-1:999988887777:layer:mine:7", "BucketName": "one"},
        ],
        ids=["default", "all-on", "all-given"],
    )
    def test_transformed(self, parameters, tmp_path):
        """After the transformation nothing is found but what the table says, and all of that."""
        assert cfn_lint(Stack(**parameters).template, tmp_path) == FOUND_AFTER_SAM.keys()

    @pytest.mark.check
    def test_partitions(self, tmp_path):
        """In every partition there is all that the template has but a function's URL, which is off there."""
        assert cfn_lint(SOURCE, tmp_path, PARTITIONS) == {("E3006", "Type")}

    @pytest.mark.check
    def test_suppressions_needed(self, tmp_path):
        """Without its own suppressions the template breaks just those rules: none is left over."""
        tables = [part.get("Metadata", {}) for part in (SOURCE, *SOURCE["Resources"].values())]
        suppressed = {
            rule
            for table in tables
            if "cfn-lint" in table
            for rule in table["cfn-lint"]["config"]["ignore_checks"]
        }

        assert {rule for rule, _ in cfn_lint(without(SOURCE, "cfn-lint"), tmp_path)} == suppressed


@pytest.mark.check
class TestCheckov:
    """``checkov``, which knows no SAM and so sees what is deployed."""

    def test_nothing_fails(self, tmp_path):
        """Every check passes, or is skipped with a reason."""
        found = checkov(Stack().template, tmp_path)

        assert found["failed"] == {}
        assert all(found["skipped"].values())

    def test_skips_needed(self, tmp_path):
        """Without the skips just those checks fail: none is left over."""
        template = Stack().template
        skipped = {
            (skip["id"], name)
            for name, resource in template["Resources"].items()
            for skip in resource.get("Metadata", {}).get("checkov", {}).get("skip", [])
        }

        assert checkov(without(template, "checkov"), tmp_path) == {
            "failed": dict.fromkeys(skipped, ""),
            "skipped": {},
        }

    def test_sees_a_fault(self, tmp_path):
        """A bucket that anybody may open, and a role that may do anything, are found."""
        template = json.loads(json.dumps(Stack().template))
        resources = template["Resources"]
        resources["ModelBucket"]["Properties"]["PublicAccessBlockConfiguration"]["BlockPublicAcls"] = False
        statement = {"Effect": "Allow", "Action": "*", "Resource": "*"}
        resources["FunctionRole"]["Properties"]["Policies"][0]["PolicyDocument"]["Statement"] = [statement]

        found = checkov(template, tmp_path)["failed"]
        assert {name for _, name in found} == {"ModelBucket", "FunctionRole"}

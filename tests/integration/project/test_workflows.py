"""GitHub's workflows: their form, what an auditor says of them, and that what they run is there.

No runner is here to run them; each command is one that the other tests run, or that its own program knows.
"""

import re
import shlex
import subprocess
import sys
import tomllib

import pytest
import yaml
from support.project import ROOT, SCRIPTS

FILES = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
ENVIRONMENTS = tomllib.loads((ROOT / "samconfig.toml").read_text())
ACTIONS = {
    "actions/attest-build-provenance", "actions/checkout", "actions/deploy-pages", "actions/setup-python",
    "actions/upload-pages-artifact",
    "aws-actions/configure-aws-credentials",
}  # fmt: skip
WRITERS = {
    ("site.yml", "publish"): {"pages": "write", "id-token": "write"},
    ("release.yml", "release"): {"contents": "write"},
    ("release.yml", "layers"): {"contents": "write", "id-token": "write", "attestations": "write"},
}
"""The jobs that may write something, and what."""


def load(path):
    """Return a workflow; YAML 1.1 takes its key ``on`` for true."""
    return yaml.safe_load(path.read_text())


WORKFLOWS = {path.name: load(path) for path in FILES}
STEPS = [
    pytest.param(step, id=f"{name}-{step['name']}")
    for name, workflow in WORKFLOWS.items()
    for job in workflow["jobs"].values()
    for step in job.get("steps", [])
]


def run(*command):
    """Run a program in the project and return how it ended."""
    return subprocess.run(
        [str(part) for part in command], cwd=ROOT, capture_output=True, text=True, check=False, timeout=120
    )


class TestForm:
    """What other programs say of all workflows."""

    def test_schema(self):
        """They are workflows as GitHub's schema has them."""
        done = run(SCRIPTS / "check-jsonschema", "--builtin-schema", "vendor.github-workflows", *FILES)

        assert done.returncode == 0, done.stdout

    def test_audit(self):
        """An auditor who suspects everything finds nothing, and nothing was hidden from it."""
        done = run(
            SCRIPTS / "zizmor", "--offline", "--no-progress", "--no-config", "--persona", "auditor", *FILES
        )

        assert (done.returncode, "No findings to report" in done.stdout) == (0, True), done.stdout
        assert not [path for path in FILES if "zizmor: ignore" in path.read_text()]


class TestTrust:
    """What workflows may do, and whose code they run."""

    @pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
    def test_pinned(self, path):
        """Actions are few, each one commit with its version beside it; the rest is this repository's."""
        for uses in re.findall(r"uses: (.*)", path.read_text()):
            if uses.startswith("$/"):
                assert (ROOT / uses.removeprefix("$/")).is_file()
                continue
            name, pin = uses.split("@")
            assert name in ACTIONS
            assert re.fullmatch(r"[0-9a-f]{40} # v\d+\.\d+\.\d+", pin), uses

    def test_one_pin(self):
        """An action is the same commit everywhere."""
        found = {uses for path in FILES for uses in re.findall(r"uses: (\w\S+@\S+)", path.read_text())}

        assert len(found) == len(ACTIONS)

    @pytest.mark.parametrize("name", WORKFLOWS)
    def test_permissions(self, name):
        """A job gets what it needs: to read, to become a role where it deploys, else what is listed."""
        workflow = WORKFLOWS[name]
        assert workflow["permissions"] == {}
        for job_name, job in workflow["jobs"].items():
            if writes := WRITERS.get((name, job_name)):
                assert job["permissions"] == writes
                continue
            deploys = "stack.yml" in job.get("uses", "") or "environment" in job
            expected = {"contents": "read"} | ({"id-token": "write"} if deploys else {})
            assert job["permissions"] in ([expected] if "uses" in job or deploys else [expected, {}])

    def test_no_secrets(self):
        """There is no stored key: a workflow names no secret at all."""
        assert not [path for path in FILES if re.search(r"secrets[.:\[]|access-key", path.read_text())]

    @pytest.mark.parametrize("step", STEPS)
    def test_steps(self, step):
        """No step keeps GitHub's token in a file, nor writes a value that others choose into a script."""
        if "actions/checkout" in step.get("uses", ""):
            assert step["with"] == {"persist-credentials": False}
        assert "${{" not in step.get("run", "")

    @pytest.mark.parametrize("name", WORKFLOWS)
    def test_bounded(self, name):
        """Every job ends by itself, and every workflow says what becomes of two at once."""
        assert set(WORKFLOWS[name]["concurrency"]) == {"group", "cancel-in-progress"}
        for job in WORKFLOWS[name]["jobs"].values():
            assert "uses" in job or 0 < job["timeout-minutes"] <= 60


class TestRelease:
    """What a tag becomes."""

    def test_attested(self):
        """Every layer that is added to a release is attested before."""
        *_, attest, upload = WORKFLOWS["release.yml"]["jobs"]["layers"]["steps"]
        assert attest["with"] == {"subject-path": "dist/*"}
        assert upload["run"].endswith(" dist/*")


class TestDeploy:
    """The way from main to dev and prod."""

    JOBS = WORKFLOWS["deploy.yml"]["jobs"]

    def test_order(self):
        """Only main is deployed: tested, then to dev, then to prod, each by its own role."""
        assert WORKFLOWS["deploy.yml"][True]["push"] == {"branches": ["main"]}
        assert {name: job.get("needs") for name, job in self.JOBS.items()} == {
            "test": None, "dev": "test", "prod": "dev", "skipped": None,
        }  # fmt: skip
        assert "github.ref == 'refs/heads/main'" in self.JOBS["dev"]["if"]
        for name in ("dev", "prod"):
            assert self.JOBS[name]["with"] == {
                "environment": name,
                "role": f"${{{{ vars.AWS_ROLE_{name.upper()} }}}}",
                "region": "${{ vars.AWS_REGION }}",
            }

    def test_environments(self):
        """The environment is GitHub's, which asks for approval, and samconfig.toml's."""
        assert WORKFLOWS["stack.yml"]["jobs"]["deploy"]["environment"] == "${{ inputs.environment }}"
        for name in ("dev", "prod"):
            assert ENVIRONMENTS[name]["global"]["parameters"]["stack_name"] == f"translation-{name}"
            assert f"Channel={name}" in ENVIRONMENTS[name]["global"]["parameters"]["parameter_overrides"]

    def test_without_an_account(self):
        """Where a role is not named, its job is skipped, and a notice says which and where to read."""
        for name in ("DEV", "PROD"):
            assert f"vars.AWS_ROLE_{name} != ''" in self.JOBS[name.lower()]["if"]
        (step,) = self.JOBS["skipped"]["steps"]
        for dev, prod in (("", ""), ("arn", ""), ("arn", "arn")):
            done = subprocess.run(
                ["/bin/bash", "-e", "-o", "pipefail", "-c", step["run"]],
                env={"DEV": dev, "PROD": prod}, capture_output=True, text=True, check=True,
            )  # fmt: skip
            assert done.stdout.count("::notice title=") == (dev, prod).count("")
            assert ("AWS_ROLE_DEV" in done.stdout, "AWS_ROLE_PROD" in done.stdout) == (not dev, not prod)
        assert (ROOT / "docs" / "how-to" / "sam.md").is_file()

    def test_credentials_last(self):
        """What is fetched and built has run before the credentials are there."""
        names = [step["name"] for step in WORKFLOWS["stack.yml"]["jobs"]["deploy"]["steps"]]

        assert names.index("Build") < names.index("Take the role's credentials") < names.index("Deploy")


def commands(script):
    """Return the commands of a script, word for word."""
    for line in script.replace("\\\n", " ").splitlines():
        words = shlex.split(line.replace("$ENVIRONMENT", "dev"))
        if words[0] != "[":
            yield words[: words.index("|")] if "|" in words else words


class TestSite:
    """The pages as a site."""

    JOBS = WORKFLOWS["site.yml"]["jobs"]

    def test_only_main_is_published(self):
        """And only where the repository says so; every change builds it."""
        publishes = "github.ref == 'refs/heads/main' && vars.SITE == 'on'"
        assert self.JOBS["publish"]["if"] == publishes
        assert self.JOBS["publish"]["needs"] == "build"
        assert "if" not in self.JOBS["build"]
        assert [step["if"] for step in self.JOBS["build"]["steps"] if "if" in step] == [publishes]

    def test_what_is_built_is_published(self):
        """The folder is the one that mkdocs writes."""
        [kept] = [step for step in self.JOBS["build"]["steps"] if "upload" in step.get("uses", "")]
        assert kept["with"]["path"] == ".site/html"
        assert "site_dir: ../../.site/html" in (ROOT / "tools" / "site" / "mkdocs.yml").read_text()


@pytest.mark.parametrize(
    "words",
    [command for step in STEPS for command in commands(step.values[0].get("run", ""))],
    ids=" ".join,
)
class TestCommands:
    """What the workflows run."""

    @pytest.mark.check
    def test_known(self, words):
        """Each command exists here: a file, a target of make, an option that its program takes."""
        program, *arguments = words
        if program == "bash":
            assert (ROOT / arguments[0]).is_file()
        elif program == "make":
            assert run("make", "--dry-run", "--always-make", *arguments).returncode == 0
        elif program == ".venv/bin/sam":
            verbs = arguments[: 1 + (arguments[0] == "remote")]
            told = run(SCRIPTS / "sam", *verbs, "--help").stdout.replace(",", " ").split()
            assert [one for one in arguments if one.startswith("--") and one not in told] == []
        elif program == "python":
            assert (ROOT / f"{arguments[1].replace('.', '/')}.py").is_file()
        elif program == ".venv/bin/python":
            done = run(sys.executable, *arguments[:4], "--help")
            assert done.returncode == 0
            assert [one for one in arguments if one.startswith("--") and one not in done.stdout] == []
        else:
            assert program == "grep" or words[:3] in (
                ["sudo", "sysctl", "--write"],
                ["gh", "release", "create"],
                ["gh", "release", "upload"],
            )

    def test_files(self, words):
        """What a command names is in the repository."""
        for word in words[1:]:
            if re.fullmatch(r"(models|events|\.ci)/\S+", word):
                assert (ROOT / word).exists()

"""The state machine: as the linter wants it, filled in by the template, and careful with what it repeats."""

import json
import re
import subprocess

import pytest
from support.permissions import to_list
from support.project import ROOT, SCRIPTS
from support.template import SOURCE, Stack

from lambda_inference import _errors

PATH = ROOT / "statemachines" / "translate_corpus.asl.json"
TEXT = PATH.read_text()
CFN_LINT = SCRIPTS / "cfn-lint"
RESOURCE = SOURCE["Resources"]["BatchStateMachine"]["Properties"]


def states(part):
    """Yield every state of a definition, those inside of maps too."""
    for name, state in part["States"].items():
        yield name, state
        if "ItemProcessor" in state:
            yield from states(state["ItemProcessor"])


STATES = dict(states(json.loads(TEXT)))


def lint(definition, folder):
    """Return what cfn-lint says of a state machine."""
    template = {
        "Resources": {
            "Machine": {
                "Type": "AWS::StepFunctions::StateMachine",
                "Properties": {"RoleArn": "arn:aws:iam::111122223333:role/any", "Definition": definition},
            }
        }
    }
    path = folder / "template.json"
    path.write_text(json.dumps(template))
    done = subprocess.run(
        [CFN_LINT, "--format", "json", "--", path], capture_output=True, text=True, check=False
    )
    return {found["Rule"]["Id"] for found in json.loads(done.stdout)}


@pytest.mark.check
def test_the_linter_finds_nothing(tmp_path):
    """The definition is Amazon States Language, and the linter would say so if it were not."""
    definition = json.loads(TEXT.replace("${Partition}", "aws"))
    assert lint(definition, tmp_path) == set()
    del definition["States"]["Answer corpus"]["ItemProcessor"]
    assert "E3601" in lint(definition, tmp_path)


def test_the_template_fills_every_placeholder():
    """What the definition leaves open is what the template gives."""
    placeholders = set(re.findall(r"\$\{(\w+)\}", TEXT))
    assert placeholders == RESOURCE["DefinitionSubstitutions"].keys()
    assert ROOT / RESOURCE["DefinitionUri"] == PATH


def test_every_state_is_reached():
    """There are none left over."""
    definition = json.loads(TEXT)
    reached = {definition["StartAt"], STATES["Answer corpus"]["ItemProcessor"]["StartAt"]}
    for state in STATES.values():
        reached |= {state.get("Next"), state.get("Default")}
        reached |= {one["Next"] for one in (*state.get("Catch", ()), *state.get("Choices", ()))}
    assert reached - {None} == STATES.keys()


@pytest.mark.parametrize("name", [name for name, state in STATES.items() if state["Type"] == "Task"])
def test_tasks_are_retried_with_backoff_and_jitter(name):
    """What may pass is tried again, with growing and random pauses."""
    last = STATES[name]["Retry"][-1]
    assert last["ErrorEquals"] == ["States.ALL"]
    assert last["BackoffRate"] > 1
    assert last["JitterStrategy"] == "FULL"
    assert last["MaxAttempts"] > 0


def test_every_fault_has_its_retry():
    """What is the request's fault is not tried again; what passes is, often; a lack of time is once."""
    faults = {
        one.code: one.status
        for one in vars(_errors).values()
        if isinstance(one, type) and issubclass(one, _errors.Fault)
    }
    attempts = {
        error: one["MaxAttempts"] for one in STATES["Answer range"]["Retry"] for error in one["ErrorEquals"]
    }
    assert {name: attempts.get(name) for name, status in faults.items() if status < 500} == {
        "BadRequest": 0,
        "Conflict": 0,
        "TooLarge": 0,
    }
    assert attempts["OutOfTime"] == 1
    assert attempts["Refused"] == 2
    assert attempts["Unavailable"] == attempts["Lambda.TooManyRequestsException"] > 10


class TestRole:
    """What the state machine may do."""

    def test_only_with_the_batch(self):
        """A stack without the batch has neither machine nor role."""
        assert Stack().all("StepFunctions::StateMachine") == []
        assert len(Stack().all("IAM::Role")) == 1

    def test_it_may_do_what_its_states_do(self):
        """It calls the function, reads indexes, notes faults, writes the map's results, starts children."""
        stack = Stack(Batch="on", ResultBucketName="ours")
        role = next(
            one for one in stack.all("IAM::Role") if "states" in json.dumps(one["AssumeRolePolicyDocument"])
        )
        policies = [*role["Policies"], *stack.all("IAM::Policy")]
        allowed = {
            (action, resource)
            for policy in policies
            for statement in policy["PolicyDocument"]["Statement"]
            for action in to_list(statement["Action"])
            for resource in to_list(statement["Resource"])
        }
        objects = "arn:aws:s3:::ours/"
        written = f"{objects}prediction_outputs/batches/*"
        assert {one for one in allowed if one[0].startswith("s3:")} == {
            ("s3:GetObject", f"{objects}inputs/batches/*"),
            ("s3:PutObject", f"{objects}prediction_outputs/*/error.json"),
            ("s3:AbortMultipartUpload", written),
            ("s3:GetObject", written),
            ("s3:ListMultipartUploadParts", written),
            ("s3:PutObject", written),
        }
        assert {action for action, _ in allowed if not action.startswith("s3:")} == {
            "lambda:InvokeFunction",
            "states:StartExecution",
            "states:DescribeExecution",
            "states:RedriveExecution",
            "states:StopExecution",
        }
        assert not any(resource == "*" for _, resource in allowed)

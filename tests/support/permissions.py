"""What a role's policies allow, as IAM evaluates them."""

import re
from dataclasses import dataclass

# Of a listing its prefix; of a key the service that asks, which is always S3 here.
CONDITIONS = {("StringLike", "s3:prefix"), ("StringEquals", "kms:ViaService")}


@dataclass(frozen=True)
class Need:
    """A permission that is asked for; of a listing, also the prefix."""

    action: str
    resource: str
    prefix: str | None = None


@dataclass(frozen=True)
class Grant:
    """One action on one resource that a statement allows; of a listing, also the prefixes."""

    action: str
    resource: str
    prefixes: tuple[str, ...] | None = None

    def covers(self, need: Need) -> bool:
        """Return whether the grant is one for a need."""
        return (
            self.action.lower() == need.action.lower()
            and _like(self.resource, need.resource)
            and (
                self.prefixes is None
                or (need.prefix is not None and any(_like(prefix, need.prefix) for prefix in self.prefixes))
            )
        )


def _like(pattern: str, text: str) -> bool:
    """Return whether a text is what IAM's wildcards say, in which * also stands for slashes."""
    parts = {"*": ".*", "?": "."}
    expression = "".join(parts.get(one, re.escape(one)) for one in pattern)
    return re.fullmatch(expression, text, re.DOTALL) is not None


def grants(role: dict) -> set[Grant]:
    """Return what a role allows, every action and resource alone."""
    found = set()
    for policy in role["Policies"]:
        for statement in policy["PolicyDocument"]["Statement"]:
            assert statement["Effect"] == "Allow"
            assert statement.keys() <= {"Sid", "Effect", "Action", "Resource", "Condition"}
            prefixes = None
            for operator, keys in statement.get("Condition", {}).items():
                assert (operator, *keys) in CONDITIONS
                if operator == "StringLike":
                    prefixes = tuple(to_list(keys["s3:prefix"]))
            for action in to_list(statement["Action"]):
                assert "*" not in action, f"{action} grants more than anybody asks for"
                for resource in to_list(statement["Resource"]):
                    found.add(Grant(action, resource, prefixes))
    return found


def to_list(value: str | list[str]) -> list[str]:
    """Return a value of a policy, which may be one text or several, as a list."""
    return value if isinstance(value, list) else [value]

"""How a tree goes into a layer: directly, or in an archive that is unpacked at a cold start."""

from dataclasses import dataclass

from layer.builder.errors import PlanError

LIMIT = 262_144_000
"""Bytes that Lambda takes unzipped: the function and all its layers together."""

STRATEGIES = ("auto", "direct", "nested")

EPHEMERAL_STORAGE = 512 * 1024 * 1024
"""Bytes of /tmp that a function has without asking for more."""


@dataclass(frozen=True)
class Plan:
    """``direct`` or ``nested``, and why, in one sentence with numbers."""

    strategy: str
    reason: str


def decide(tree: int, function: int, nestable: bool, asked: str = "auto", by: str = "--strategy") -> Plan:
    """Return how a tree goes into a layer, by its bytes and those of the function's own code.

    ``by`` says who asked for a strategy. A tree that is too big is a PlanError unless it is nestable: a layer
    beside it unpacks.
    """
    total = tree + function
    sentence = f"{tree:,} bytes and the function's {function:,} are {total:,} of the {LIMIT:,} Lambda takes"
    if asked == "direct" and total > LIMIT:
        raise PlanError(
            f"{sentence}: it does not fit directly, as {by} asks for; leave that to the builder (auto), "
            "or say nested"
        )
    if asked == "nested" or (asked == "auto" and total > LIMIT):
        if not nestable:
            raise PlanError(
                f"{sentence}, and no layer beside this one could unpack an archive. Name one that can in the "
                'recipe (base_layer = "inference"), take more out, or deploy the function as a container '
                "image, which may have 10 GB"
            )
        why = f"{by} asks for it" if asked == "nested" else "too big to lie in the layer as it is"
        storage = ""
        if tree > EPHEMERAL_STORAGE:
            storage = f"; give the function an EphemeralStorage of at least {-(-tree // 1_000_000) + 50} MB"
        return Plan("nested", f"{sentence}: {why}, so it is unpacked to /tmp at a cold start{storage}")
    return Plan("direct", f"{sentence}: it fits as it is, and nothing is unpacked")


def check_fits(layer: int, function: int) -> None:
    """Refuse a layer that Lambda would refuse, by its bytes and the function's."""
    if layer + function > LIMIT:
        raise PlanError(
            f"even packed, the layer has {layer:,} bytes, the function {function:,}, and Lambda takes "
            f"{LIMIT:,}: take more out, or deploy the function as a container image, which may have 10 GB"
        )

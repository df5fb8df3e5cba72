"""Plans: how a tree goes into a layer, by its bytes."""

import pytest

from layer.builder.errors import PlanError
from layer.builder.pack.plan import EPHEMERAL_STORAGE, LIMIT, check_fits, decide


class TestDecide:
    """Direct or nested."""

    @pytest.mark.parametrize(
        ("tree", "function", "asked", "strategy"),
        [
            (LIMIT - 10, 10, "auto", "direct"),
            (LIMIT - 10, 11, "auto", "nested"),
            (LIMIT - 10, 10, "direct", "direct"),
            (1, 1, "nested", "nested"),
        ],
    )
    def test_limit(self, tree, function, asked, strategy):
        """What Lambda takes to the last byte lies there as it is, unless something else is asked for."""
        plan = decide(tree, function, nestable=True, asked=asked)

        assert plan.strategy == strategy
        assert f"{tree + function:,} of the 262,144,000 Lambda takes" in plan.reason

    def test_direct_anyway(self):
        """Who asks for what does not fit is told by which numbers."""
        with pytest.raises(
            PlanError, match=r"262,144,001 of the 262,144,000 .* does not fit directly, as --strategy asks"
        ):
            decide(LIMIT, 1, nestable=True, asked="direct")

    @pytest.mark.parametrize(("tree", "asked"), [(LIMIT + 1, "auto"), (1, "nested")])
    def test_nobody_unpacks(self, tree, asked):
        """Where nothing unpacks an archive, none is made, and the error says what the recipe lacks."""
        with pytest.raises(PlanError, match=r'in the recipe \(base_layer = "inference"\), take more out, or'):
            decide(tree, 0, nestable=False, asked=asked)

    def test_storage(self):
        """A tree that /tmp does not hold is planned with how much storage to ask for, which then holds it."""
        assert "EphemeralStorage" not in decide(EPHEMERAL_STORAGE, 0, nestable=True).reason
        assert "EphemeralStorage of at least 1050 MB" in decide(1_000_000_000, 0, nestable=True).reason
        assert "EphemeralStorage of at least 1051 MB" in decide(1_000_000_001, 0, nestable=True).reason


def test_check_fits():
    """A layer that Lambda takes to the last byte passes, and one byte more is refused with the numbers."""
    check_fits(LIMIT - 10, 10)
    with pytest.raises(
        PlanError, match=r"262,143,990 bytes, the function 11, .* takes 262,144,000: take more"
    ):
        check_fits(LIMIT - 10, 11)

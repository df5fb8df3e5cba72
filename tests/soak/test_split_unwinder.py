"""Exceptions pass through cold frames under GCC 11's unwinder, which Amazon Linux 2023 has.

Before GCC 12 it finds a frame only where a loaded segment covers its address.
"""

import pytest
from support.splitting import MATCH, run, split

PROGRAM = """
import kiwisolver
solver, x = kiwisolver.Solver(), kiwisolver.Variable("x")
solver.addConstraint((x >= 3) | "required")
for _ in range(100):
    for wrong in (lambda: solver.addConstraint((x <= 2) | "required"), lambda: solver.removeEditVariable(x)):
        try:
            wrong()
        except (kiwisolver.UnsatisfiableConstraint, kiwisolver.UnknownEditVariable) as error:
            name = type(error).__name__
print(name, answer())
"""


@pytest.mark.parametrize("hot", [[], [(0, 4)]], ids=["cold", "mixed"])
def test_exceptions(unwinder, tmp_path, monkeypatch, hot) -> None:
    """They are caught as in the whole library."""
    split("kiwisolver", tmp_path, hot=hot)
    expected = run(f"sys.path.remove(folder)\n{MATCH}{PROGRAM}", tmp_path).stdout
    monkeypatch.setenv("LD_PRELOAD", str(unwinder))
    monkeypatch.setenv("LD_DEBUG", "bindings")
    monkeypatch.setenv("LD_DEBUG_OUTPUT", str(tmp_path / "bindings"))
    done = run(f"load()\n{MATCH}{PROGRAM}print(count().blocks > 0)", tmp_path)
    bindings = "".join(path.read_text() for path in tmp_path.glob("bindings.*"))

    assert (done.returncode, done.stdout) == (0, f"{expected}True\n"), done.stderr
    assert any(
        "libstdc++" in line and unwinder.name in line and "_Unwind_RaiseException" in line
        for line in bindings.splitlines()
    )

"""How many threads a function computes with."""

import pytest

from lambda_inference import threads as module


@pytest.mark.parametrize(("memory", "threads"), [("128", 1), ("1769", 1), ("3008", 2), ("10240", 6)])
def test_threads_are_what_the_memory_pays_for(monkeypatch, memory, threads):
    """One thread for 1,769 MB, and never more than there are cores."""
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", memory)
    monkeypatch.setattr("os.cpu_count", lambda: 6)
    assert module.thread_count() == threads
    monkeypatch.setattr("os.cpu_count", lambda: 1)
    assert module.thread_count() == 1

"""How many threads an engine computes with."""

import os


def threads() -> int:
    """Return how many threads the granted memory pays for.

    Lambda grants one core's time per 1,769 MB (AWS Lambda Developer Guide, "Configure Lambda
    function memory"); threads beyond that only wait for each other.
    """
    memory = int(os.environ.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "1769"))
    return max(1, min(round(memory / 1769), os.cpu_count() or 1))

"""Errors that the operator's commands show as one line, without a traceback."""


class CommandError(RuntimeError):
    """A refusal that says what was given, what was expected and what to do next.

    Everything else that is raised, other than an OSError, is a fault of ours and shows its traceback.
    """

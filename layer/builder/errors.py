"""The builder's errors.

Every message ends with what to do next; ``LayerError`` and ``OSError`` are all that a caller has to catch.
"""

import re

_ERROR_LINE = re.compile(r"^ *([\w.]*(?:Error|Exception)(?:: .*)?)$", re.MULTILINE)


class LayerError(Exception):
    """Base class of the builder's errors."""


class RecipeError(LayerError):
    """A recipe is missing, or a field of it is invalid."""


class TargetError(LayerError):
    """A target's name is invalid, or its runtime is not supported."""


class ResolveError(LayerError):
    """A set of wheels that a layer can be made of was not found."""


class CudaBuildError(ResolveError):
    """The only wheel found is built for a GPU."""


class TreeError(LayerError):
    """A folder holds something that a layer cannot, such as a link."""


class PatchError(LayerError):
    """A patch does not fit the installed package: upstream has changed."""


class ElfError(LayerError):
    """A shared library is damaged, or laid out in an unusual way."""


class CheckError(LayerError):
    """A shared library would not load in the runtime that the layer is for."""


class InterpreterError(LayerError):
    """An interpreter could not be fetched."""


class SmokeError(LayerError):
    """The smoke test failed; the message ends with the end of its output."""

    @property
    def cause(self) -> str:
        """The first error of the traceback's chain, such as a missing module."""
        match = _ERROR_LINE.search(str(self))
        return match[1] if match else str(self).splitlines()[0]


class SignalError(SmokeError):
    """A signal ended the smoke test."""


class CompileError(LayerError):
    """A source does not compile for the target."""


class ArchiveError(LayerError):
    """A tree could not be packed into an archive."""


class PlanError(LayerError):
    """A layer does not fit Lambda's limit, or not with the strategy that was asked for."""


class BuildError(LayerError):
    """A layer could not be built."""


class ReportError(LayerError):
    """A report is missing, or was written by another version of the builder."""


class PublishError(LayerError):
    """A layer was not published, or not in every region."""

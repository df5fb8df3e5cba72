"""The contract between a fork's model and everything around it."""

from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, cast

from msgspec import Struct

from lambda_inference._deadline import Deadline
from lambda_inference._models import Model
from lambda_inference._requests import BaseRequest
from lambda_inference._settings import Settings

if TYPE_CHECKING:
    from array import array

DTYPES = {
    "f": ("float32", "<f4", 4), "d": ("float64", "<f8", 8), "i": ("int32", "<i4", 4),
    "q": ("int64", "<i8", 8), "B": ("uint8", "|u1", 1),
}  # fmt: skip
"""By code of the buffer protocol: numpy's name of a type, how numpy's files spell it, and its bytes."""


class Array(Struct, frozen=True):
    """Numbers beside a JSON record.

    Attributes:
        data: the numbers in C order.
        dtype: a code of the buffer protocol: ``f`` float32, ``d`` float64, ``i`` int32, ``q`` int64,
            ``B`` uint8.
        shape: its extents.
        path: the object inside the record that holds the array in an inline answer; several of a kind with
            one path become a list.

    """

    data: bytes
    dtype: Literal["f", "d", "i", "q", "B"]
    shape: tuple[int, ...]
    path: tuple[str | int, ...] = ()

    def tolist(self) -> list[Any]:
        """Return the numbers as nested lists; float32 ones print with no more digits than float32 needs."""
        # A memoryview cannot be cast to a shape with a zero in it.
        if 0 in self.shape:
            return [[] for _ in range(self.shape[0])]
        data, dtype = memoryview(self.data).cast("B"), str(self.dtype)
        if dtype == "f":
            data, dtype = memoryview(_shorten(data)).cast("B"), "d"
        return cast("list[Any]", data.cast(cast("Any", dtype), self.shape).tolist())

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        """Return the numbers as numpy's array, for ``numpy.asarray``; a view where it can be one."""
        import numpy as np

        return np.array(np.frombuffer(self.data, self.dtype).reshape(self.shape), dtype, copy=copy)


def _shorten(data: memoryview) -> "array[float]":
    """Return float32 numbers as the float64 ones with the fewest digits that are read as the same float32."""
    from array import array

    numbers = data.cast("f").tolist()
    shortened, places = array("d", numbers), list(range(len(numbers)))
    for digits in (7, 8, 9):  # float32 keeps any 6 digits, and 9 tell all numbers apart
        wanted = [numbers[place] for place in places]
        found = [*map(float, (f"%.{digits}g " * len(wanted) % tuple(wanted)).split())]
        left = []
        for place, number, same, original in zip(places, found, array("f", found), wanted, strict=True):
            if same == original:
                shortened[place] = number
            else:
                left.append(place)
        places = left
    return shortened


class Prediction(Struct, frozen=True):
    """One item's answer.

    Attributes:
        record: its line of JSON.
        arrays: arrays by kind; each kind becomes one file. Arrays of one kind share dtype and rank.
        counts: its cost by metric name, summed over a request (``{"Tokens": 12}``).
        truncated: how many of its outputs a limit ended, not the model; the answer and a metric say the sum.

    """

    record: dict[str, Any]
    arrays: Mapping[str, Sequence[Array]] = {}
    counts: Mapping[str, int] = {}
    truncated: int = 0


class Predictor(Protocol):
    """The class that a fork writes.

    It is constructed while the model's bytes arrive from S3: import heavy libraries in ``__init__``, so that
    both happen at once::

        class Shout:
            class Request(BaseRequest):
                data: Annotated[list[str], Meta(description="a list of strings")]

            def load(self, model):
                self.mark = bytes(model.files["mark.txt"]).decode()

            def predict(self, request, deadline):
                for index, text in enumerate(request.data):
                    deadline.check(index, len(request.data))
                    yield Prediction({"index": index, "text": text.upper() + self.mark})

        lambda_handler = serve(Shout)

    A method ``count_array_bytes(request)`` may say how many bytes of float32 numbers each item's arrays have,
    at least; then a request for an inline answer that cannot fit is refused before its prediction.
    """

    Request: ClassVar[type[BaseRequest]]
    """The type of its requests."""

    def load(self, model: Model) -> None:
        """Load a model, whose files stay in memory for as long as they are referenced."""

    def predict(self, request: Any, deadline: Deadline) -> Iterable[Prediction]:
        """Answer the items of a valid request in order, with one prediction for each."""


def load_engine_module(default: str = "") -> Any:
    """Import the module ``engine_<name>`` beside the predictor that the variable ENGINE chooses.

    Call it in ``Predictor.__init__``, where imports cost no time of their own.

    Args:
        default: name of the engine where ENGINE is not set.

    Raises:
        Unavailable: ENGINE is not set, and there is no default.

    """
    settings = Settings.read()
    return import_module(f"engine_{settings.engine or default or settings.require('engine')}")

"""Images in, the classes that a fastai learner sees in them out."""

import base64
import binascii
from collections.abc import Iterator
from typing import Annotated, Any, ClassVar

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from lambda_inference import BadRequest, BaseRequest, Deadline, Model, Prediction, Unavailable
from lambda_inference.inputs import PREFIX, read
from lambda_inference.threads import thread_count

MAX_ITEMS = 100
MAX_BYTES = 10_000_000
"""Limit of an image's file."""
BATCH = 16
"""Images in a batch; fewer if they are large."""
TOP = 3

_DATA = (
    f'a list of 1 to {MAX_ITEMS:,} objects, each with either "image", a file in base64, or "key", an object '
    f"below {PREFIX} in the result bucket; a file has at most {MAX_BYTES:,} bytes"
)


class Item(Struct, forbid_unknown_fields=True):
    """One image, in the request or in S3."""

    image: Annotated[str, Meta(max_length=-(-MAX_BYTES // 3) * 4)] | UnsetType = UNSET
    key: Annotated[str, Meta(max_length=1024)] | UnsetType = UNSET


class ImageRequest(BaseRequest, kw_only=True):
    """Images to classify, and the number of classes to return."""

    content_types: ClassVar[tuple[str, ...]] = (
        "image/bmp", "image/gif", "image/jpeg", "image/png", "image/webp",
    )  # fmt: skip

    data: Annotated[list[Item], Meta(min_length=1, max_length=MAX_ITEMS, description=_DATA)]
    top: Annotated[
        int, Meta(ge=1, le=1000, description="an integer from 1 to the number of the model's classes")
    ] = TOP

    def __post_init__(self) -> None:
        for index, item in enumerate(self.data):
            if (item.image is UNSET) == (item.key is UNSET):
                which = "neither" if item.image is UNSET else "both"
                raise BadRequest(
                    f'data[{index}] takes either "image" or "key"; got {which}', field=f"data[{index}]"
                )

    @classmethod
    def from_body(cls, data: bytes) -> dict[str, Any]:
        """Return the request for one image, whose file an HTTP body is."""
        return {"data": [{"image": base64.b64encode(data).decode()}]}


class ImageClassifier:
    """A fastai learner that returns the most probable classes of each image."""

    Request: ClassVar[type[BaseRequest]] = ImageRequest

    def __init__(self) -> None:
        # The heavy imports happen here, while the model is downloaded.
        import pictures
        import rebuild

        self._pictures, self._rebuild = pictures, rebuild

    def load(self, model: Model) -> None:
        """Load a model: one ``*.pt`` with weights, and the ``*.json`` that describes its learner."""
        from lambda_inference import tensors

        try:
            description = msgspec.json.decode(model.only(".json"), type=self._rebuild.Description)
            weights = tensors.load_checkpoint(model.only(".pt"))
            self._learner = self._rebuild.build_learner(description, weights, thread_count())
        except (msgspec.DecodeError, ValueError, LookupError, TypeError, RuntimeError) as error:
            reason = str(error).partition("\n")[0]
            raise Unavailable(
                f"the learner of {model.manifest.name} cannot be rebuilt ({reason}); export it again"
            ) from error
        self._vocabulary, self._mode = description.vocabulary, description.mode

    def predict(self, request: ImageRequest, deadline: Deadline) -> Iterator[Prediction]:
        """Yield each image's prediction, in input order."""
        classes = len(self._vocabulary)
        if request.top > max(classes, TOP):
            raise BadRequest(
                f"top takes an integer from 1 to {classes}, the model's classes; got {request.top}",
                field="top",
            )
        waiting: list[tuple[int, Any, dict[str, Any]]] = []
        pixels = 0
        for index, item in enumerate(request.data):
            deadline.check(index, len(request.data))
            image, facts = self._decode(item, f"data[{index}]")
            size = facts["width"] * facts["height"]
            if waiting and (len(waiting) == BATCH or pixels + size > self._pictures.MAX_PIXELS):
                yield from self._predict_batch(waiting, request.top)
                waiting, pixels = [], 0
            waiting.append((index, image, facts))
            pixels += size
        yield from self._predict_batch(waiting, request.top)

    def _decode(self, item: Item, field: str) -> tuple[Any, dict[str, Any]]:
        if isinstance(item.key, str):
            return self._pictures.decode(read(item.key, f"{field}.key", MAX_BYTES), self._mode, field)
        try:
            data = base64.b64decode(str(item.image), validate=True)
        except (binascii.Error, ValueError):
            raise BadRequest(
                f"{field}.image is not base64 (RFC 4648, section 4: padded, in one line, no data: before it)",
                field=f"{field}.image",
            ) from None
        return self._pictures.decode(data, self._mode, field)

    def _predict_batch(self, images: list[tuple[int, Any, dict[str, Any]]], top: int) -> Iterator[Prediction]:
        results = self._rebuild.predict_probabilities(self._learner, [image for _, image, _ in images])
        for (index, _, facts), probabilities in zip(images, results, strict=True):
            best = sorted(zip(self._vocabulary, probabilities, strict=True), key=lambda one: -one[1])[:top]
            yield Prediction(
                {
                    "index": index,
                    "label": best[0][0],
                    "classes": [{"label": label, "probability": value} for label, value in best],
                    "image": facts,
                },
                counts={"Images": 1},
            )

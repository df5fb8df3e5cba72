"""fastai's Learner from weights and a description, in place of its export, which is a pickle.

``learner.json`` describes the network and its inputs::

    {"vocabulary": ["0", …], "mode": "L", "size": 32, "mean": [0.69], "deviation": [0.35], "layers": […]}
"""

from collections.abc import Mapping
from operator import itemgetter
from typing import Any, Literal

from msgspec import Struct

from lambda_inference import tensors

tensors.ignore_import_warnings()

import torch  # noqa: E402
from fastai.data.block import CategoryBlock, DataBlock  # noqa: E402
from fastai.data.transforms import Normalize  # noqa: E402
from fastai.learner import Learner  # noqa: E402
from fastai.losses import CrossEntropyLossFlat  # noqa: E402
from fastai.vision.augment import Resize, ResizeMethod  # noqa: E402
from fastai.vision.core import PILImage, PILImageBW  # noqa: E402
from fastai.vision.data import ImageBlock  # noqa: E402
from PIL import Image  # noqa: E402

from network import build  # noqa: E402


class Description(Struct, forbid_unknown_fields=True, frozen=True):
    """A learner without its weights.

    Attributes:
        vocabulary: the classes, in the order of the network's outputs.
        mode: of the images, ``L`` or ``RGB``.
        size: pixels of a side; an image is squeezed to that, whatever its proportions.
        mean: of each channel, of values from 0 to 1.
        deviation: the standard deviation of each channel.
        layers: see ``network``.

    """

    vocabulary: list[str]
    mode: Literal["L", "RGB"]
    size: int
    mean: list[float]
    deviation: list[float]
    layers: list[tuple[str, dict[str, int | float | bool]]]


def build_learner(description: Description, weights: Mapping[str, Any], threads: int) -> Learner:
    """Return the learner, as ``load_learner`` returns it: ready to predict, with no data in it.

    Args:
        description: of the learner.
        weights: of its network, by name.
        threads: how many of them the network computes with.

    Raises:
        ValueError: the layers cannot be built, or have another number of outputs than there are classes.
        RuntimeError: the weights do not fit into the layers.

    """
    torch.set_num_threads(threads)
    network = build(description.layers)
    network.load_state_dict(weights)
    kind = {"L": PILImageBW, "RGB": PILImage}[description.mode]
    block = DataBlock(
        blocks=(ImageBlock(kind), CategoryBlock(vocab=description.vocabulary, sort=False)),
        get_x=itemgetter(0),
        get_y=itemgetter(1),
        splitter=lambda _: ([0], [0]),
        item_tfms=Resize(description.size, method=ResizeMethod.Squish),
        batch_tfms=Normalize.from_stats(description.mean, description.deviation, cuda=False),
    )
    # fastai learns from an item what goes through its pipelines.
    blank = Image.new(description.mode, (1, 1))
    items = [[blank, description.vocabulary[0]]]
    loaders = block.dataloaders(items, bs=1, num_workers=0, device="cpu").new_empty()
    rebuilt = Learner(loaders, network, loss_func=CrossEntropyLossFlat())
    outputs = len(predict_probabilities(rebuilt, [blank])[0])
    if outputs != len(description.vocabulary):
        raise ValueError(f"{outputs} outputs for {len(description.vocabulary)} classes")
    return rebuilt


def predict_probabilities(learner: Learner, images: list[Image.Image]) -> list[list[float]]:
    """Return, for each image, the probability of each class."""
    loader = learner.dls.test_dl(images, bs=len(images), num_workers=0)
    results: list[list[float]] = learner.get_preds(dl=loader)[0].tolist()
    return results

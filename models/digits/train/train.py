"""Train the shipped digit classifier, export it, and write what its answers are.

``python models/digits/train/train.py`` writes ``weights.pt``, ``learner.json`` and ``reference.json.gz``
beside this folder, and ``work/learner.pkl``, fastai's own export, which never leaves the training side: it
is a pickle, and loading it runs what it names. One core takes three minutes.
"""

import argparse
import base64
import gzip
import io
import json
import sys
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from sklearn.datasets import load_digits

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[2] / "examples" / "fastai_function"))

SIDE = 64
"""Pixels of an image's side, as the function gets it."""
SIZE = 32
"""Pixels of a side, as the network gets it."""
TRAINED, VALIDATED = 1200, 200
"""Of 1,797 images in their order, which keeps writers together: these many first, and the rest is tested."""
REFERENCE = 120
EPOCHS = 40
LAYERS: list[tuple[str, dict[str, Any]]] = [
    ("ConvLayer", {"ni": 1, "nf": 16}),
    ("ResBlock", {"expansion": 1, "ni": 16, "nf": 32, "stride": 2}),
    ("ResBlock", {"expansion": 1, "ni": 32, "nf": 64, "stride": 2}),
    ("ResBlock", {"expansion": 1, "ni": 64, "nf": 128, "stride": 2}),
    ("AdaptiveAvgPool", {}),
    ("Flatten", {}),
    ("LinBnDrop", {"n_in": 128, "n_out": 10, "p": 0.2}),
]


def main() -> None:
    """Train, export and describe."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--out", type=Path, default=HERE.parent, help="where the files go")
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    options = parser.parse_args()
    images = [png(pixels) for pixels in load_digits().images]
    labels = [str(label) for label in load_digits().target]
    exported = options.out / "train" / "work" / "learner.pkl"
    exported.parent.mkdir(parents=True, exist_ok=True)
    train([list(pair) for pair in zip(images, labels, strict=True)], options.epochs, options.out, exported)
    start = TRAINED + VALIDATED
    refer(exported, images[start:], labels[start:], options.out / "reference.json.gz")


def png(pixels: "np.ndarray[Any, Any]") -> bytes:
    """Return one of scikit-learn's digits (8 by 8, ink from 0 to 16) as dark ink on white paper."""
    paper = Image.fromarray(np.rint(255 - pixels * 255 / 16).astype(np.uint8))
    file = io.BytesIO()
    paper.resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(file, "PNG", optimize=True)
    return file.getvalue()


def declare_operators() -> None:
    """Import torchvision, whose compiled half is for CUDA where only that build is available.

    fastai needs none of its operators, but torchvision describes two of them while it is imported.
    """
    try:
        import torchvision  # noqa: F401
    except RuntimeError:
        library = torch.library.Library("torchvision", "FRAGMENT")
        for name in ("nms", "qnms"):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        declare_operators.library = library  # type: ignore[attr-defined] # which lasts as long as somebody has it


def train(items: list[list[Any]], epochs: int, out: Path, exported: Path) -> None:
    """Train a learner, export it, and write its weights and their description."""
    declare_operators()
    from fastai.data.block import CategoryBlock, DataBlock
    from fastai.data.transforms import IndexSplitter, Normalize
    from fastai.learner import Learner
    from fastai.losses import CrossEntropyLossFlat
    from fastai.metrics import accuracy
    from fastai.torch_core import set_seed
    from fastai.vision.augment import Resize, aug_transforms
    from fastai.vision.core import PILImageBW
    from fastai.vision.data import ImageBlock

    from network import build

    import fastai.callback.schedule  # noqa: F401 # isort: skip - it gives a learner fit_one_cycle

    set_seed(20, reproducible=True)
    mean, deviation = statistics([image for image, _ in items[:TRAINED]])
    block = DataBlock(
        blocks=(ImageBlock(PILImageBW), CategoryBlock()),
        get_x=itemgetter(0),
        get_y=itemgetter(1),
        splitter=IndexSplitter(range(TRAINED, TRAINED + VALIDATED)),
        item_tfms=Resize(SIZE, method="squish"),
        batch_tfms=[
            *aug_transforms(
                do_flip=False, max_rotate=12, max_zoom=1.25, min_zoom=0.8, max_warp=0.15, pad_mode="border"
            ),
            Normalize.from_stats([mean], [deviation]),
        ],
    )
    loaders = block.dataloaders(items[: TRAINED + VALIDATED], bs=64, num_workers=0, device="cpu")
    learner = Learner(loaders, build(LAYERS), loss_func=CrossEntropyLossFlat(), metrics=accuracy)
    with learner.no_bar():
        learner.fit_one_cycle(epochs, 5e-3)
    learner.export(exported)
    torch.save(learner.model.state_dict(), out / "weights.pt")
    description = {
        "vocabulary": list(loaders.vocab),
        "mode": "L",
        "size": SIZE,
        "mean": [mean],
        "deviation": [deviation],
        "layers": LAYERS,
    }
    lines = ",\n".join(f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in description.items())
    (out / "learner.json").write_text(f"{{\n{lines}\n}}\n".replace("]], [", "]],\n    ["), encoding="utf-8")


def statistics(images: list[bytes]) -> tuple[float, float]:
    """Return mean and standard deviation of images' pixels, between 0 and 1."""
    pixels = np.stack([np.asarray(Image.open(io.BytesIO(image))) for image in images]) / 255
    return round(float(pixels.mean()), 4), round(float(pixels.std()), 4)


def refer(exported: Path, images: list[bytes], labels: list[str], reference: Path) -> None:
    """Ask the exported learner about images that it has not seen, print its score, and keep its answers."""
    from fastai.learner import load_learner

    learner = load_learner(exported)  # our own pickle, a minute old
    answers = []
    for image, label in zip(images, labels, strict=True):
        with learner.no_bar():
            predicted, _, probabilities = learner.predict(image)
        answers.append((label, predicted, [round(float(one), 7) for one in probabilities], image))
    right = sum(label == predicted for label, predicted, *_ in answers)
    print(f"{right} of {len(answers)} images of the test part are right: {right / len(answers):.4f}")
    step = len(answers) // REFERENCE
    kept = [
        {
            "label": label,
            "predicted": predicted,
            "probabilities": probabilities,
            "image": base64.b64encode(image).decode(),
        }
        for label, predicted, probabilities, image in answers[::step][:REFERENCE]
    ]
    text = json.dumps({"vocabulary": list(learner.dls.vocab), "items": kept})
    reference.write_bytes(gzip.compress(text.encode(), mtime=0))


if __name__ == "__main__":
    main()

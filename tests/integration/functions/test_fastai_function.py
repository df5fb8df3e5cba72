"""What the image classifier promises: the exported learner's answers, and defined ones for any image."""

import base64
import gzip
import io
import json
import struct
import warnings
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support.project import ROOT

from lambda_setup.deployment.local.application import MODEL_BUCKET, RESULT_BUCKET
from lambda_setup.models import pickles
from lambda_setup.models.upload import publish
from layer.builder import build
from layer.builder.recipe import load
from layer.builder.report import facts as report
from layer.builder.target import get_target

pytestmark = pytest.mark.check
MODEL = ROOT / "models" / "digits"
REFERENCE = json.loads(gzip.decompress((MODEL / "reference.json.gz").read_bytes()))
CLASSES = len(REFERENCE["vocabulary"])
FORMATS = "PNG, JPEG, WEBP, GIF, BMP"
TURNS = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
"""How an upright image is stored under each of Exif's orientations."""


@pytest.fixture
def ask(start_function):
    """Ask the function about files, and return what it predicts, or its error."""

    def send(*files: bytes, **fields: Any) -> Any:
        data = [{"image": base64.b64encode(file).decode()} for file in files]
        body = start_function("fastai").invoke({"data": data, "result": "inline", "top": CLASSES, **fields})[
            "body"
        ]
        return body.get("predictions", body.get("error"))

    return send


@pytest.fixture(scope="module")
def four() -> Image.Image:
    """Return a digit that no mistake of orientation leaves as it is, on a wide sheet."""
    first = next(one for one in REFERENCE["items"] if one["label"] == "4")
    sheet = Image.new("L", (96, 64), 255)
    sheet.paste(Image.open(io.BytesIO(base64.b64decode(first["image"]))), (16, 0))
    return sheet


def file_of(image: Image.Image, kind: str, **options: Any) -> bytes:
    """Return an image as a file."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def png(width: int, height: int, rows: bytes, bits: int = 1) -> bytes:
    """Return a grey PNG that says what it likes about its size."""

    def chunk(name: bytes, content: bytes) -> bytes:
        checksum = zlib.crc32(name + content)
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", checksum)

    header = struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0)
    parts = chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows, 9)), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def apart(one: dict[str, Any], other: dict[str, Any]) -> float:
    """Return how far the probabilities of two predictions are apart at most."""
    left, right = ({c["label"]: c["probability"] for c in each["classes"]} for each in (one, other))
    return max(abs(left[label] - right[label]) for label in left)


def test_answers_are_those_of_the_exported_learner(ask):
    """The rebuilt learner gives each class the probability that fastai's own export gives it."""
    items = REFERENCE["items"]
    assert len(items) >= 100
    found = []
    for start in range(0, len(items), 100):
        found += ask(*(base64.b64decode(one["image"]) for one in items[start : start + 100]))
    for one, answer in zip(items, found, strict=True):
        expected = dict(zip(REFERENCE["vocabulary"], one["probabilities"], strict=True))
        assert answer["label"] == one["predicted"]
        assert {c["label"]: c["probability"] for c in answer["classes"]} == pytest.approx(expected, abs=1e-5)


def test_learner_is_right_about_what_it_has_not_seen():
    """Of the images that are kept of the test part, 97 of 100 are recognised."""
    right = sum(one["label"] == one["predicted"] for one in REFERENCE["items"])
    assert right / len(REFERENCE["items"]) >= 0.97


def test_answer_does_not_depend_on_the_batch(ask):
    """An image alone has the answer that it has among a hundred."""
    files = [base64.b64decode(one["image"]) for one in REFERENCE["items"][:100]]
    together = ask(*files)
    for index in (0, 15, 16, 50, 99):
        (alone,) = ask(files[index])
        assert apart(alone, together[index]) < 1e-6


def test_classes_are_sorted_and_as_many_as_asked_for(ask):
    """The most probable classes come first, three unless more or fewer are asked for."""
    file = base64.b64decode(REFERENCE["items"][0]["image"])
    (every,) = ask(file)
    probabilities = [one["probability"] for one in every["classes"]]
    assert probabilities == sorted(probabilities, reverse=True)
    assert sum(probabilities) == pytest.approx(1, abs=1e-5)
    for top in (1, 3, CLASSES):
        assert ask(file, top=top)[0]["classes"] == every["classes"][:top]


@pytest.mark.check
def test_what_is_published_loads_as_tensors_alone():
    """The published files hold no code, and the exported pickle is not among them."""
    names = {path.name for path in MODEL.iterdir() if path.is_file()}
    pickles.check(MODEL / name for name in names)
    assert not any(name.endswith(".pkl") for name in names)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP"])
def test_formats(ask, four, kind):
    """An image has the same answer in every format that is taken."""
    options = {"WEBP": {"lossless": True}, "JPEG": {"quality": 100}}.get(kind, {})
    (answer,) = ask(file_of(four, kind, **options))
    assert answer["image"] == {"format": kind, "width": 96, "height": 64}
    assert apart(answer, ask(file_of(four, "PNG"))[0]) < 0.02


@pytest.mark.parametrize("orientation", TURNS)
def test_upright(ask, four, orientation):
    """An image that a camera stored turned or mirrored is seen as people see it."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    turn = TURNS[orientation]
    stored = four if turn is None else four.transpose(turn)
    (answer,) = ask(file_of(stored, "PNG", exif=exif))
    assert answer["image"] == {"format": "PNG", "width": 96, "height": 64}
    assert apart(answer, ask(file_of(four, "PNG"))[0]) < 1e-6


def test_sixteen_bits_are_scaled(ask, four):
    """A 16-bit grey image is scaled to 8 bits; PIL alone would cut it off to white."""
    grey = np.asarray(four)
    (answer,) = ask(file_of(Image.fromarray(grey.astype(np.uint16) * 257), "PNG"))
    assert apart(answer, ask(file_of(four, "PNG"))[0]) < 1e-6
    ramp = np.arange(0, 65536, 16, dtype=np.uint16).reshape(64, 64)
    scaled = ((ramp.astype(np.uint32) + 128) // 257).astype(np.uint8)
    (deep,), (shallow,) = (
        ask(file_of(Image.fromarray(ramp), "PNG")),
        ask(file_of(Image.fromarray(scaled), "PNG")),
    )
    assert apart(deep, shallow) < 1e-6


def test_transparent_is_white(ask, four):
    """What is transparent is paper, whatever colour lies under it, in full colour, grey and palettes."""
    ink = Image.fromarray(255 - np.asarray(four))
    black = Image.new("L", four.size, 0)
    (expected,) = ask(file_of(four, "PNG"))
    for image in (Image.merge("LA", (black, ink)), Image.merge("RGBA", (black, black, black, ink))):
        for kind in ("PNG", "WEBP"):
            options = {"lossless": True, "exact": True} if kind == "WEBP" else {}
            assert apart(ask(file_of(image, kind, **options))[0], expected) < 1e-3
    drawn = four.point(lambda value: 255 * (value > 127))
    palette = drawn.convert("P")
    palette.putpalette([0, 0, 0] * 256)
    assert apart(ask(file_of(palette, "PNG", transparency=255))[0], ask(file_of(drawn, "PNG"))[0]) < 1e-6


def test_cmyk_is_converted(ask, four):
    """A JPEG for printing has its colours, not their opposites."""
    (answer,) = ask(file_of(four.convert("RGB").convert("CMYK"), "JPEG", quality=100))
    assert apart(answer, ask(file_of(four, "PNG"))[0]) < 0.02


def test_two_colours(ask, four):
    """An image of one bit a pixel is black and white, not nearly black and black."""
    drawn = four.point(lambda value: 255 * (value > 127))
    (answer,) = ask(file_of(drawn.convert("1"), "PNG"))
    assert apart(answer, ask(file_of(drawn, "PNG"))[0]) < 1e-6


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "MPO"])
def test_first_frame(ask, four, kind):
    """Of an animation, and of a camera's several pictures in a file, the first is seen."""
    options = {"WEBP": {"lossless": True}, "MPO": {"quality": 100}}.get(kind, {})
    (answer,) = ask(
        file_of(four, kind, save_all=True, append_images=[Image.new("L", four.size, 90)] * 3, **options)
    )
    assert answer["image"]["format"] == ("JPEG" if kind == "MPO" else kind)
    assert apart(answer, ask(file_of(four, "PNG"))[0]) < 0.02


@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (5000, 1)])
def test_extreme_sizes(ask, size):
    """One pixel is an image, and so is a line."""
    (answer,) = ask(file_of(Image.new("L", size, 128), "PNG"))
    assert (answer["image"]["width"], answer["image"]["height"]) == size


def test_images_at_the_bound_are_taken(ask):
    """25 million pixels are decoded, several of them in a request."""
    file = file_of(Image.new("1", (5000, 5000), 1), "PNG")
    assert [one["image"]["width"] for one in ask(*[file] * 3)] == [5000] * 3


@pytest.mark.parametrize(
    ("file", "message"),
    [
        (b"", "data[0] holds no bytes"),
        (b"\x00" * 64, FORMATS),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", FORMATS),
        (b"%PDF-1.7\n1 0 obj\n", FORMATS),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n", FORMATS),
        (b"P6 8 8 255\n" + bytes(192), FORMATS),
        (png(5001, 5000, b"\x00"), "5,001 x 5,000 pixels, and 25,000,000 are taken"),
        (png(60_000, 60_000, bytes(100_000)), "60,000 x 60,000 pixels"),
        (png(2**31 - 1, 2**31 - 1, b"\x00"), "pixels, and 25,000,000 are taken"),
        (png(64, 64, b"\x00"), "damaged PNG"),
        (png(0, 64, b"\x00"), "data[0]"),
    ],
    ids=["nothing", "zeros", "svg", "pdf", "eps", "ppm", "large", "bomb", "largest", "no pixels", "no width"],
)
def test_no_image(ask, file, message):
    """What is no image, or too large a one, is refused before it is decoded, by the item's name."""
    answer = ask(file)
    assert (answer["code"], answer["field"]) == ("BadRequest", "data[0]")
    assert message in answer["message"]


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP"])
def test_truncated(ask, four, kind):
    """A file that ends early is refused wherever it ends, and never answered by half."""
    whole = file_of(four, kind)
    good = file_of(four, "PNG")
    for part in (0.02, 0.3, 0.6, 0.9):
        answer = ask(good, whole[: int(len(whole) * part)])
        assert (answer["code"], answer["field"]) == ("BadRequest", "data[1]")


def test_damaged_bytes_are_answered_or_refused(start_function, four):
    """Whatever bytes are changed, the answer is a prediction or a 400, never a fault of the function."""
    random = np.random.default_rng(7)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wholes = [file_of(four, kind) for kind in ("PNG", "JPEG", "WEBP", "GIF", "BMP")]
    for whole in wholes:
        for _ in range(40):
            damaged = bytearray(whole)
            for place in random.integers(0, len(whole), 4):
                damaged[place] = random.integers(0, 256)
            item = {"image": base64.b64encode(bytes(damaged)).decode()}
            response = start_function("fastai").invoke({"data": [item], "result": "inline"})
            assert response["statusCode"] in {200, 400}, bytes(damaged)


def test_damaged_metadata_do_no_harm(ask, four):
    """An image whose Exif cannot be read is taken as it is stored."""
    (answer,) = ask(file_of(four, "PNG", exif=b"Exif\x00\x00MM\x00*\xff\xff\xff\xff" + b"\xff" * 40))
    assert apart(answer, ask(file_of(four, "PNG"))[0]) < 1e-6


def test_image_from_s3(start_function, four):
    """A key below inputs/ is as good as the image itself."""
    own, file = start_function("fastai"), file_of(four, "PNG")
    own.stack.client.put_object(Bucket=RESULT_BUCKET, Key="inputs/öre/four.png", Body=file)
    data = [{"key": "inputs/öre/four.png"}, {"image": base64.b64encode(file).decode()}]
    response = own.invoke({"data": data, "result": "inline", "top": CLASSES})
    one, other = response["body"]["predictions"]
    assert apart(one, other) < 1e-6
    assert one["image"] == other["image"]


@pytest.mark.parametrize(
    "key",
    ["four.png", "", "inputs", "inputs/../four.png", "prediction_outputs/x", "/inputs/four.png",
     "inputs/not-there.png", "inputs/", "inputs//four.png", "inputs/./four.png", "inputs/\x00",
     "inputs/a\nb"],
)  # fmt: skip
def test_other_keys_are_refused(start_function, four, key):
    """A key elsewhere, or of nothing, is a 400 that names the field, also where there is an object."""
    own = start_function("fastai")
    own.stack.client.put_object(Bucket=RESULT_BUCKET, Key="four.png", Body=file_of(four, "PNG"))
    response = own.invoke({"data": [{"key": key}], "result": "inline"})
    assert response["statusCode"] == 400
    assert response["body"]["error"]["field"] == "data[0].key"


def test_object_that_is_too_large_or_no_image(start_function):
    """An object is held to the same bounds as what is sent along."""
    own = start_function("fastai")
    for name, content, message in (
        ("large", bytes(10_000_001), "10,000,000 are taken at most"),
        ("text", b"four", FORMATS),
        ("empty", b"", "holds no bytes"),
    ):
        own.stack.client.put_object(Bucket=RESULT_BUCKET, Key=f"inputs/{name}", Body=content)
        response = own.invoke({"data": [{"key": f"inputs/{name}"}]})
        assert response["statusCode"] == 400
        assert message in response["body"]["error"]["message"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"layers": [["Lambda", {"func": 1}]]}, "layer 0 is not one of"),
        ({"layers": [["ConvLayer", {"ni": 1, "channels": 16}]]}, "layer 0 cannot be built"),
        ({"layers": [["ConvLayer", {"ni": 1, "nf": 16, "act_cls": "ReLU"}]]}, "Expected"),
        ({"layers": [["ConvLayer", {"ni": 1, "nf": 8}]]}, "state_dict"),
        ({"vocabulary": ["0", "1"]}, "10 outputs for 2 classes"),
        ({"mode": "CMYK"}, "Invalid enum value"),
        ({"code": "print()"}, "unknown field"),
    ],
    ids=["layer", "argument", "name for an argument", "weights", "vocabulary", "mode", "field"],
)
def test_description_that_fits_nothing_is_refused(start_function, tmp_path, change, reason):
    """A learner that cannot be rebuilt is a 503 that says why, and nothing that it names is looked up."""
    for path in ("weights.pt", "model.toml"):
        (tmp_path / path).write_bytes((MODEL / path).read_bytes())
    said = json.loads((MODEL / "learner.json").read_text()) | change
    (tmp_path / "learner.json").write_text(json.dumps(said))
    own = start_function("fastai")
    channel = f"broken-{tmp_path.name}"[:30]
    publish(tmp_path, own.stack.client, MODEL_BUCKET, channel)
    with own.stack.function(env={"MODEL_CHANNEL": channel}) as function:
        response = function.invoke({"data": [{"image": ""}]})
    assert "503" in json.dumps(response)
    assert reason in json.dumps(response)


def test_layer_holds_what_inference_needs_alone(start_function):
    """What is there beside torch takes a fifth of 102 MB, and nothing that only training needs is there."""
    start_function("fastai")
    found = report.read(build.default_out(load("fastai"), get_target("host")) / report.REPORT)
    packages = {file.path.partition("/")[0] for file in found.files}
    absent = {
        "scipy",
        "pandas",
        "matplotlib",
        "spacy",
        "sklearn",
        "numpy",
        "torchvision",
        "fasthtml",
        "requests",
    }
    assert {"fastai", "fastcore", "fasttransform", "torch", "PIL"} <= packages
    assert not packages & absent
    torch = ("torch/", "torchgen/", "torch-")
    assert sum(file.bytes for file in found.files if not file.path.startswith(torch)) <= 102_000_000 // 5
    assert found.strategy == "direct"

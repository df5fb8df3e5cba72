"""The results of 20,000 sentences, five hypotheses each with attention, encoded, compressed and in S3.

Run: ``make bench ROW=results``. The hypotheses are the shipped model's for the 620 sentences of its test
split, in a new order again and again until there are 100,000: 107 MB of attention, 31 MB of JSON. A
sentence comes back after megabytes, and deflate looks back 32 kB. Even so each round's scores and
attention are multiplied by a factor of its own, so that what is equal within a sentence stays equal, and
nothing else does. Both sides get what their engine would give them: bytes here, numpy arrays there, and
strings that are objects of their own.

The server is a SeaweedFS on this machine. Each repetition of each side is a fresh process, whose imports
and hypotheses are there before its clock starts; the sides take turns, and the first turn does not count:
what the two have put then is compared.
"""

import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.areas.store import make_client
from bench.memory import load_translator
from bench.row import MODEL, OF_TIME, ROOT, Row, function_environment, measures, ratio, scratch_folder
from bench.worker import sentences
from lambda_setup.viewer.result import read_arrays, read_records

if TYPE_CHECKING:
    import numpy as np

    from lambda_setup.deployment.local.s3 import S3Server

REPETITIONS = 9
SENTENCES, BEST = 20_000, 5
BUCKET = "results"
RECORDS, ARRAYS = "predictions.jsonl.gz", "attention.npz"

Action = Callable[[], object]
Item = tuple[dict[str, Any], "list[np.ndarray[Any, Any]]"]


def translate(folder: Path) -> None:
    """Translate the test split as the function does, and write its result files into a folder."""
    from lambda_inference import Deadline
    from lambda_inference._results import encode_lines, encode_npz
    from translator import TranslationRequest

    translator = load_translator(MODEL)
    request = TranslationRequest(data=sentences(), beam=BEST, n_best=BEST, return_attention=True)
    predictions = list(translator.predict(request, Deadline.after(900)))
    (folder / RECORDS).write_bytes(encode_lines(predictions))
    (folder / ARRAYS).write_bytes(encode_npz("attention", predictions))


def items(folder: Path) -> Iterator[Item]:
    """Yield 20,000 records with their attention maps, from those in a folder."""
    import msgspec
    import numpy as np

    records = [msgspec.json.encode(record) for record in read_records(folder / RECORDS)]
    maps = read_arrays(folder / ARRAYS)
    order = random.Random(1)  # noqa: S311 - the same for both sides
    for index in range(SENTENCES):
        turn, place = divmod(index, len(records))
        if not place:
            numbers = order.sample(range(len(records)), len(records))
            factor = np.float32(1 - turn / 4096)
        record = msgspec.json.decode(records[numbers[place]])
        record["index"] = index
        for hypothesis in record["hypotheses"]:
            hypothesis["score"] = float(np.float32(hypothesis["score"]) * factor)
        yield record, [weights * factor for weights in maps[numbers[place]]]


def ours(folder: Path) -> Action:
    """Store them as the function does."""
    import obstore.store  # noqa: F401

    from lambda_inference import Array, Prediction
    from lambda_inference._results import Origin, ResultStore

    predictions = [
        Prediction(
            record,
            {
                "attention": [
                    Array(weights.tobytes(), "f", weights.shape, ("hypotheses", number))
                    for number, weights in enumerate(maps)
                ]
            },
        )
        for record, maps in items(folder)
    ]
    store = ResultStore.from_environment()
    return lambda: store.write(Origin("ours", "0" * 64, "en-es", "1" * 64, "opennmt"), predictions)


def usual(folder: Path) -> Action:
    """Store them as everyone does."""
    from bench.baselines import gzip_pickle

    records, arrays = [], []
    for record, maps in items(folder):
        records.append(record)
        arrays += maps
    client = make_client()
    return lambda: gzip_pickle.store(client, BUCKET, "pickle.gz", records, arrays)


SIDES: dict[str, Callable[[Path], Action]] = {"ours": ours, "everyone's": usual}


def act(side: str, folder: Path) -> None:
    """Do what a side does, in this process, and print how many seconds it took."""
    action = SIDES[side](folder)
    start = time.monotonic()
    action()
    print(time.monotonic() - start)


def run(server: "S3Server", task: str, folder: Path) -> str:
    """Have a fresh process do a task, and return the last line that it prints."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "bench.areas.encode", task, str(folder)],
        env={**function_environment(), **server.environment(), "RESULT_BUCKET": BUCKET},
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return done.stdout.rpartition("\n")[0].rpartition("\n")[2]


def sizes(server: "S3Server") -> dict[str, int]:
    """Return the sizes of the objects that were put."""
    objects = server.client().list_objects_v2(Bucket=BUCKET)
    return {entry["Key"]: entry["Size"] for entry in objects.get("Contents", [])}


def remove(server: "S3Server") -> None:
    """Remove the objects that were put."""
    for key in sizes(server):
        server.client().delete_object(Bucket=BUCKET, Key=key)


def compare(server: "S3Server", folder: Path) -> None:
    """Stop if what the two sides have put is not the same."""
    import numpy as np

    from bench.baselines import gzip_pickle

    client = server.client()
    for key in sizes(server):
        client.download_file(BUCKET, key, str(folder / key.rpartition("/")[2]))
    other = gzip_pickle.load(client, BUCKET, "pickle.gz")
    (arrays,) = folder.glob("attention-*.npz")
    maps = [weights for item in read_arrays(arrays).values() for weights in item]
    same = all(np.array_equal(*pair) for pair in zip(maps, other["attention"], strict=True))
    if not same or list(read_records(folder / RECORDS)) != other["records"]:
        raise RuntimeError("what was put differs")


@measures("results.time", "results.bytes")
def measure_storing() -> Iterator[Row]:
    """Compare storing with a gzipped pickle."""
    from lambda_setup.deployment.local.s3 import S3Server

    seconds: dict[str, list[float]] = {side: [] for side in SIDES}
    stored: dict[str, list[int]] = {side: [] for side in SIDES}
    with scratch_folder() as folder, scratch_folder() as put, S3Server() as server:
        server.client().create_bucket(Bucket=BUCKET)
        run(server, "translate", folder)
        for side in SIDES:
            run(server, side, folder)
        compare(server, put)
        for _ in range(REPETITIONS):
            for side in SIDES:
                remove(server)
                seconds[side].append(float(run(server, side, folder)))
                stored[side].append(sum(sizes(server).values()))
    baseline = "gzip of a pickle of the same records and numpy arrays (bench/baselines/gzip_pickle.py)"
    yield Row(
        name="results.time",
        **ratio(seconds["ours"], seconds["everyone's"]),
        unit=OF_TIME,
        baseline=f"{baseline}, put by boto3",
        goal=1.0,
        cause="attention hardly compresses, and both sides spend their time in zlib",
    )
    yield Row(
        name="results.bytes",
        **ratio(stored["ours"], stored["everyone's"]),
        unit="× of the baseline's bytes",  # noqa: RUF001
        baseline=baseline,
        goal=1.0,
        cause="attention hardly compresses, and JSON is longer than a pickle that writes a token once",
    )


if __name__ == "__main__":
    task, place = sys.argv[1:]
    if task == "translate":
        translate(Path(place))
    else:
        act(task, Path(place))

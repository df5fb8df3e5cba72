"""A model of 500 MB from S3 into memory: its time, its peak, and what of it hides behind the imports.

Run: ``make bench ROW=store``. The server is a SeaweedFS on this machine, which needs processor time of its
own. S3 is not on a function's processor: where there are two cores, the server is held to one and each side
to the other. For the overlap a proxy sends at a pace that leaves both alone. Each repetition of each side is
a fresh process, whose imports are done before its clock starts; the sides take turns, and the first turn,
which fills the page cache, does not count.
"""

import hashlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from bench.row import OF_TIME, ROOT, Row, function_environment, measures, ratio, scratch_folder
from bench.worker import status

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

REPETITIONS = 9
PACE = 150
"""Megabytes a second."""
BUCKET, NAME, CHANNEL = "models", "large", "dev"
FILE = "large.pt"

Action = Callable[[], object]


def _store() -> Any:
    from lambda_inference._model_store import ModelStore

    os.environ.update(MODEL_BUCKET=BUCKET, MODEL_NAME=NAME, MODEL_CHANNEL=CHANNEL)
    return ModelStore.from_environment()


def ours() -> Action:
    """From the pointer to tensors, as the function does it."""
    import obstore.store  # noqa: F401
    import torch  # noqa: F401

    from lambda_inference import tensors

    store = _store()
    return lambda: tensors.load_checkpoint(store.load()[0].only(".pt"), [Namespace])


def usual() -> Action:
    """From the pointer to tensors, as everyone does it."""
    from bench.baselines import boto3_load

    client = make_client()
    return lambda: boto3_load.load(client, BUCKET, NAME, CHANNEL)


def read_checked() -> Action:
    """From the pointer to checked bytes."""
    import obstore.store  # noqa: F401

    return _store().load  # type: ignore[no-any-return]


def plain(reader: str) -> Action:
    """Nothing but the bytes."""
    from obstore.store import S3Store

    from bench.baselines.plain_read import READERS

    store = S3Store(BUCKET, endpoint=os.environ["AWS_ENDPOINT_URL_S3"], client_options={"allow_http": True})
    key, size = os.environ["BENCH_KEY"], int(os.environ["BENCH_SIZE"])
    return lambda: READERS[reader](store, key, size)


def import_function() -> None:
    """Import what a function imports before it can load a model."""
    from translator import Translator

    os.environ.setdefault("ENGINE", "opennmt")
    Translator()


def import_while_loading() -> None:
    """Import while the model is on its way, as the handler does."""
    from lambda_inference import BackgroundTask

    model = BackgroundTask(_store().load)
    import_function()
    model.result(60)


def make_client() -> "S3Client":
    """Return a client of boto3 for the S3 server."""
    from lambda_setup.deployment.local.s3 import S3

    keys = os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"]
    return S3(os.environ["AWS_ENDPOINT_URL_S3"], *keys).client()


SIDES: dict[str, Callable[..., Action]]
SIDES = {"ours": ours, "everyone's": usual, "read": read_checked, "plain": plain}
STARTS: dict[str, Action] = {
    "overlapped": import_while_loading,
    "imported": import_function,
    "loaded": lambda: _store().load(),
}
"""Actions that are timed from the start of their process."""


@dataclass(frozen=True)
class Run:
    """The cost of one process."""

    seconds: float  # of its action, or of itself
    cpu: float  # seconds of its processor time
    peak: int  # the most memory there was while it acted, beyond what there was before, in bytes


def act(side: str, *arguments: str) -> None:
    """Do what a side does, in this process, and print what it took."""
    if side in STARTS:
        STARTS[side]()
        start, cpu, before = float(os.environ["BENCH_START"]), 0.0, 0
    else:
        action = SIDES[side](*arguments)
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew: proc_pid_clear_refs(5)
        before = status("VmRSS")
        start, cpu = time.monotonic(), time.process_time()
        kept = action()
    seconds = time.monotonic() - start
    print(json.dumps([seconds, time.process_time() - cpu, status("VmHWM") - before]))
    kept = None  # noqa: F841 - until here the tensors were there


class Server:
    """An S3 server with a model of 500 MB."""

    def __init__(self, environment: dict[str, str], pid: int, size: int) -> None:
        self.environment = environment
        self.pid = pid
        self.size = size
        self.cores = sorted(os.sched_getaffinity(0))

    @contextmanager
    def apart(self) -> Iterator[None]:
        """Hold the server to the last core and what runs to the first, if there are two."""
        every = set(self.cores)
        self._hold({self.cores[-1]})
        self.cores = self.cores[:1]
        yield
        self.cores = sorted(every)
        self._hold(every)

    def _hold(self, cores: set[int]) -> None:
        for thread in Path(f"/proc/{self.pid}/task").iterdir():
            os.sched_setaffinity(int(thread.name), cores)

    def run(self, side: str, *arguments: str) -> Run:
        """Have a fresh process do what a side does."""
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-m", "bench.areas.store", side, *arguments],
            preexec_fn=partial(os.sched_setaffinity, 0, self.cores),
            env={**function_environment(), **self.environment, "BENCH_START": str(time.monotonic())},
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        seconds, cpu, peak = json.loads(done.stdout.splitlines()[-1])
        return Run(seconds, cpu, peak)

    def take_turns(self, sides: Sequence[tuple[str, ...]]) -> dict[tuple[str, ...], list[Run]]:
        """Return what each repetition of each side took."""
        runs: dict[tuple[str, ...], list[Run]] = {side: [] for side in sides}
        for repetition in range(REPETITIONS + 1):
            for side, taken in runs.items():
                one = self.run(*side)
                if repetition:
                    taken.append(one)
        return runs


@contextmanager
def serve() -> Iterator[Server]:
    """Serve a large model."""
    from lambda_setup.deployment.local.s3 import S3Server
    from lambda_setup.models.describe import describe
    from lambda_setup.models.upload import publish

    with scratch_folder() as folder, S3Server() as server:
        make(folder)
        client = server.client()
        client.create_bucket(Bucket=BUCKET)
        publish(folder, client, BUCKET, CHANNEL)
        version = describe(folder).version
        size = (folder / FILE).stat().st_size
        environment = {
            **server.environment(),
            "BENCH_KEY": f"models/{NAME}/versions/{version}/{FILE}",
            "BENCH_SIZE": str(size),
        }
        yield Server(environment, find_child("weed"), size)


@contextmanager
def pace(endpoint: str) -> Iterator[str]:
    """Forward connections to an endpoint, what it sends all together at a pace; yield what to connect to."""
    target = urlsplit(endpoint)
    lock = threading.Lock()
    free = [0.0]

    def pump(source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 18):
                with lock:
                    free[0] = max(free[0], time.monotonic()) + len(data) / PACE / 1e6
                    wait = free[0] - time.monotonic()
                time.sleep(max(wait, 0))
                sink.sendall(data)
        for each in (source, sink):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def accept() -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                server = socket.create_connection((target.hostname or "", target.port or 80))
                for ends in ((client, server), (server, client)):
                    threading.Thread(target=pump, args=ends, daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=accept, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)


def find_child(name: str) -> int:
    """Return the process of ours that has a name."""
    us = f"/proc/{os.getpid()}/task/{os.getpid()}/children"
    (pid,) = (
        pid for pid in Path(us).read_text().split() if Path(f"/proc/{pid}/comm").read_text().strip() == name
    )
    return int(pid)


def make(folder: Path) -> None:
    """Write a checkpoint as OpenNMT-py's, 124 million parameters in float32, and its model.toml."""
    import torch

    torch.manual_seed(1)
    width, inner, layers, words = 768, 3072, 6, 16_000
    model: dict[str, torch.Tensor] = {}

    def add(name: str, *shape: int) -> None:
        model[f"{name}.weight"] = torch.randn(*shape)
        model[f"{name}.bias"] = torch.randn(shape[0])

    for side, attentions in (("encoder", ("self_attn",)), ("decoder", ("self_attn", "context_attn"))):
        model[f"{side}.embeddings.weight"] = torch.randn(words, width)
        for number in range(layers):
            layer = f"{side}.transformer.{number}"
            for attention in attentions:
                for part in ("linear_keys", "linear_values", "linear_query", "final_linear"):
                    add(f"{layer}.{attention}.{part}", width, width)
                add(f"{layer}.{attention}.layer_norm", width)
            add(f"{layer}.feed_forward.w_1", inner, width)
            add(f"{layer}.feed_forward.w_2", width, inner)
            add(f"{layer}.feed_forward.layer_norm", width)
    options = Namespace(model_task="seq2seq", hidden_size=width, heads=8, layers=layers)
    checkpoint = {"model": model, "generator": {}, "vocab": {}, "opt": options}
    torch.save(checkpoint, folder / FILE)
    (folder / "model.toml").write_text(
        f'name = "{NAME}"\nengine = "opennmt"\nprecision = "float32"\nfiles = ["{FILE}"]\n\n[libraries]\n'
    )


def time_hashing(size: int) -> float:
    """Return the seconds that sha256 takes for so many bytes."""
    data, start = bytes(size), time.process_time()
    hashlib.sha256(data)
    return time.process_time() - start


def list_seconds(runs: Sequence[Run]) -> list[float]:
    """Return what the clock showed."""
    return [run.seconds for run in runs]


def median_cpu(runs: Sequence[Run]) -> float:
    """Return the median of the processor time."""
    return median(run.cpu for run in runs)


@measures("store.load_time", "store.peak_memory")
def measure_loading() -> Iterator[Row]:
    """Compare loading with boto3 and torch.load."""
    with serve() as server, server.apart():
        runs = server.take_turns([("ours",), ("everyone's",)])
        mine, other = runs["ours",], runs["everyone's",]
        peaks, others = ([run.peak / server.size for run in side] for side in (mine, other))
    yield Row(
        name="store.load_time",
        **ratio(list_seconds(mine), list_seconds(other)),
        unit=OF_TIME,
        baseline="boto3 into a BytesIO and torch.load of its bytes (bench/baselines/boto3_load.py)",
        goal=0.5,
        cause=f"ours takes {median_cpu(mine) / median_cpu(other):.2f} of the baseline's processor time, with "
        f"hashes that the baseline lacks, of which {time_hashing(server.size):.2f} s of its "
        f"{median_cpu(mine):.2f} are; the rest of the time both wait for the server's core",
    )
    yield Row(
        name="store.peak_memory",
        value=round(median(peaks), 3),
        unit="× of the model's size",  # noqa: RUF001
        baseline=f"the model's bytes; boto3 and torch.load take {median(others):.2f} times as many",
        goal=1.15,
        runs=[round(peak, 3) for peak in peaks],
    )


@measures("store.read_time")
def measure_reading() -> Iterator[Row]:
    """Compare checked reading with the fastest plain one."""
    from bench.baselines.plain_read import READERS

    with serve() as server, server.apart():
        runs = server.take_turns([("read",), *(("plain", reader) for reader in READERS)])
    mine = runs.pop(("read",))
    (_, reader), fastest = min(runs.items(), key=lambda item: median(list_seconds(item[1])))
    hashing = time_hashing(server.size)
    limit = (median_cpu(fastest) + hashing) / median(list_seconds(fastest))
    yield Row(
        name="store.read_time",
        **ratio(list_seconds(mine), list_seconds(fastest)),
        unit=OF_TIME,
        baseline=f"the fastest of {len(READERS)} plain reads without hashes, which was {reader} "
        "(bench/baselines/plain_read.py)",
        goal=1.25,
        cause=f"ours takes {median_cpu(mine):.2f} s of its core, the plain read {median_cpu(fastest):.2f} of "
        f"{median(list_seconds(fastest)):.2f}, and the hashes alone take {hashing:.2f}: a plain read that "
        f"computed them on its core would take {limit:.2f} of its time. The rest of ours are copies: "
        "the client gathers a part before it hands it over",
    )


@measures("store.overlap")
def measure_overlap() -> Iterator[Row]:
    """Compare a start that loads while it imports with the longer of the two alone."""
    sides = [("overlapped",), ("imported",), ("loaded",)]
    with serve() as server, pace(server.environment["AWS_ENDPOINT_URL_S3"]) as endpoint:
        server.environment["AWS_ENDPOINT_URL_S3"] = endpoint
        runs = server.take_turns(sides)
    both, imports, load = (runs[side] for side in sides)
    yield Row(
        name="store.overlap",
        **ratio(list_seconds(both), max(list_seconds(imports), list_seconds(load), key=median)),
        unit=OF_TIME,
        baseline="the longer of the imports alone and the load alone, from a server that sends "
        f"{PACE} MB a second and leaves both cores alone (bench/areas/store.py)",
        goal=1.1,
        cause="the threads of the load and those of the imports wait for each other",
    )


if __name__ == "__main__":
    act(*sys.argv[1:])

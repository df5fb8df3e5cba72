"""Translating: how fast, in how much memory and how well each engine does it, and what the function adds.

Run: ``make bench ROW=throughput``. What is translated are the first 500 sentences of the shipped model's test
split, with beam 5 on one thread; quality is that of all 620. A side is a fresh process with the function's
own layers and code (bench/worker.py), whose model comes from a SeaweedFS on this machine and whose results
go there; the sides take turns. The Translator's time is the answer's ``timings_ms.predict``: tokenising,
batches, search, and text again. ``ENGINES`` keeps what was measured in seconds and bytes, for what the
function costs.
"""

import gzip
import http.client
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import astuple, dataclass
from itertools import chain, pairwise
from pathlib import Path
from statistics import median
from typing import Any, Self

from bench.areas import cold_start
from bench.baselines import onmt_command
from bench.results import ENGINES, commit, machine
from bench.row import AS_FAST, OF_TIME, ROOT, Row, measures, ratio, scratch_folder
from bench.worker import BEAM, sentences, tokenise
from lambda_setup.deployment.local import MODEL_BUCKET, SHIPPED_MODEL, Emulator, LocalDeployment, S3Server
from lambda_setup.deployment.local.layers import build_layers
from lambda_setup.models import convert as conversions
from lambda_setup.models.describe import describe
from lambda_setup.models.upload import publish

REPETITIONS = 5
COUNT = 500
"""Sentences of a request."""
COMMAND_BATCHES = (
    (8, "sents"), (16, "sents"), (32, "sents"), (64, "sents"),
    (2048, "tokens"), (4096, "tokens"), (8192, "tokens"),
)  # fmt: skip
"""Of which the command gets the one that it is fastest with."""
SIZES = (10, 100, 1_000, 10_000)
BLOCKS, CALLS, WARM_CALLS = 5, 500, 50
THREAD = {"OMP_NUM_THREADS": "1"}


@dataclass(frozen=True)
class Kind:
    """An engine, and the precision that it computes in."""

    engine: str
    precision: str

    @property
    def name(self) -> str:
        """The name in rows, where float32 goes without saying."""
        return self.engine if self.precision == "float32" else f"{self.engine}_{self.precision}"


OPENNMT = Kind("opennmt", "float32")
OPENNMT_INT8 = Kind("opennmt", "int8")
FLOAT32 = Kind("ctranslate2", "float32")
INT8 = Kind("ctranslate2", "int8")
KINDS = (OPENNMT, OPENNMT_INT8, FLOAT32, INT8)

MEASURED = (
    "engine", "precision", "sentences_per_second", "cold_start_seconds", "peak_memory_mb", "items_per_call",
    "bleu", "chrf",
)  # fmt: skip
"""The fields of an engine in ENGINES; null until they are measured."""


class Models:
    """An S3 server with each kind's model, and the folders that the models are in."""

    def __init__(self, server: S3Server, folder: Path) -> None:
        self._server = server
        self._layers: dict[str, list[Path]] = {}
        self.folder = folder
        self.models = {kind: folder / kind.name for kind in KINDS} | {OPENNMT: SHIPPED_MODEL}

    def publish(self) -> None:
        """Convert the models, and put each where a channel of its own points to it."""
        client, source = self._server.client(), describe(SHIPPED_MODEL)
        for bucket in (MODEL_BUCKET, "results"):
            client.create_bucket(Bucket=bucket)
        for kind, folder in self.models.items():
            self._layers[kind.engine] = build_layers(kind.engine)
            if not folder.exists():
                folder.mkdir()
                conversions.convert(SHIPPED_MODEL, source, folder, kind.engine, kind.precision)
            publish(folder, client, MODEL_BUCKET, kind.name)

    def application(self, kind: Kind) -> LocalDeployment:
        """Return a kind's application."""
        name = describe(SHIPPED_MODEL).name
        return LocalDeployment(self._server, name, kind.engine, channel=kind.name, log=subprocess.DEVNULL)

    def worker(
        self, kind: Kind, *task: object, variables: Mapping[str, str] = THREAD, **options: Any
    ) -> "subprocess.Popen[str]":
        """Start a process that does a task within the layers of a kind's function."""
        places = [ROOT / "translation_function", *self._layers[kind.engine]]
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": os.pathsep.join(map(str, places)),
            **self.application(kind).environment(),
            **variables,
        }
        return subprocess.Popen(
            [sys.executable, "-W", "ignore", "-s", "-S", "-P", ROOT / "bench" / "worker.py", *map(str, task)],
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
            **options,
        )

    def run(self, kind: Kind, *task: object, variables: Mapping[str, str] = THREAD) -> Any:
        """Return what a task found, done by a fresh process."""
        process = self.worker(kind, *task, variables=variables)
        printed, _ = process.communicate()
        if process.returncode:
            raise RuntimeError(f"{' '.join(map(str, task))} ended with {process.returncode}; see above")
        return json.loads(printed)


@contextmanager
def serve() -> Iterator[Models]:
    """Serve all models."""
    with scratch_folder() as folder, S3Server() as server:
        found = Models(server, folder)
        found.publish()
        yield found


class Command:
    """OpenNMT-py's own command, on the tokens of the same sentences."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "command"
        self._folder.mkdir()
        self._source = self._folder / "source.txt"
        tokens = tokenise(sentences(COUNT), SHIPPED_MODEL)
        self._source.write_text("".join(f"{' '.join(one)}\n" for one in tokens), encoding="utf-8")
        (self._model,) = SHIPPED_MODEL.glob("*.pt")
        onmt_command.copy_package(self._folder)
        seconds = {batch: self._run(batch)["seconds"] for batch in COMMAND_BATCHES}
        two = sorted(seconds, key=lambda batch: seconds[batch])[:2]
        again = {batch: min(seconds[batch], self._run(batch)["seconds"]) for batch in two}
        self.batch = min(again, key=lambda batch: again[batch])

    def run(self) -> dict[str, float]:
        """Return the seconds of its translating, and its peak in bytes."""
        return self._run(self.batch)

    def _run(self, batch: tuple[int, str]) -> dict[str, float]:
        return onmt_command.translate(self._folder, self._model, self._source, *batch)


@measures("throughput.handler")
def measure_handler() -> Iterator[Row]:
    """Compare the whole handler with CTranslate2 alone."""
    with serve() as serving:
        found = serving.run(INT8, "handler", COUNT, REPETITIONS + 2, serving.models[INT8])
    ours, plain, predicting = (list(side) for side in zip(*found["runs"], strict=True))
    share = median(one / other for one, other in zip(predicting, ours, strict=True))
    again = found["again"] / median(ours)
    yield Row(
        name="throughput.handler",
        **ratio(plain, ours),
        better="higher",
        unit=AS_FAST,
        baseline="ctranslate2.Translator.translate_batch with the same batches of tokens and options in the "
        "same process, int8 (bench/worker.py)",
        goal=0.97,
        cause=f"of the handler's time {share:.1%} are the Translator's, {again:.1%} those of searching again "
        "alone what has reached its own cap in a batch",
    )


@measures(
    "throughput.opennmt", "throughput.opennmt_int8", "throughput.ctranslate2_float32",
    "throughput.ctranslate2_int8",
    "memory.opennmt", "memory.opennmt_int8", "memory.ctranslate2", "memory.ctranslate2_int8",
)  # fmt: skip
def measure_translating() -> Iterator[Row]:
    """Compare each engine's time and memory with those of OpenNMT-py's own command."""
    others: list[dict[str, float]] = []
    runs: dict[Kind, list[dict[str, float]]] = {kind: [] for kind in KINDS}
    bare: dict[Kind, list[dict[str, float]]] = {kind: [] for kind in (FLOAT32, INT8)}
    with serve() as serving:
        command = Command(serving.folder)
        for _ in range(REPETITIONS):
            others.append(command.run())
            for kind, taken in runs.items():
                taken.append(serving.run(kind, "translate", COUNT))
            for kind, alone in bare.items():
                alone.append(serving.run(kind, "translate_bare", COUNT, kind.precision, serving.models[kind]))
    for engine, starts in cold_start.measure_engines().items():
        for kind in (kind for kind in KINDS if kind.engine == engine):
            record(kind, cold_start_seconds=round(median(starts), 2))
    size = " ".join(map(str, command.batch))
    baseline = f"OpenNMT-py's own command at its best batch size, {size} (bench/baselines/onmt_command.py)"
    other = [run["seconds"] for run in others]
    causes = {
        kind: f"bare ctranslate2.Translator.translate_batch, with the same batches of tokens and beam "
        f"{BEAM} alone, is {median(other) / median(run['seconds'] for run in alone):.2f} times as fast"
        for kind, alone in bare.items()
    }
    for kind in (OPENNMT, OPENNMT_INT8):
        network = median(run["network"] for run in runs[kind])
        causes[kind] = f"{network:.0%} of its time is the network's, whose operators are torch's"
    for kind, goal in ((OPENNMT, 1.2), (OPENNMT_INT8, 2.0), (FLOAT32, 2.0), (INT8, 4.0)):
        seconds = [run["seconds"] for run in runs[kind]]
        record(kind, sentences_per_second=round(COUNT / median(seconds), 1), items_per_call=COUNT)
        yield Row(
            name=f"throughput.{kind.name if kind is not FLOAT32 else 'ctranslate2_float32'}",
            **ratio(other, seconds),
            better="higher",
            unit=AS_FAST,
            baseline=f"{baseline}, without its start",
            goal=goal,
            cause=causes[kind],
        )
    for kind in KINDS:
        peaks = [run["peak"] for run in runs[kind]]
        record(kind, peak_memory_mb=round(median(peaks) / 2**20))
        loaded = median(run["loaded"] / run["peak"] for run in runs[kind])
        yield Row(
            name=f"memory.{kind.name}",
            **ratio(peaks, [run["peak"] for run in others]),
            unit="× of the baseline's peak",  # noqa: RUF001
            baseline=f"{baseline}; ours is the whole function, with its model and its result in S3",
            goal=1.0,
            cause=f"{loaded:.0%} of it are there when the model is loaded, before the first sentence",
        )


@measures("throughput.bare_float32")
def measure_float32() -> Iterator[Row]:
    """Compare CTranslate2 with OpenNMT-py's answers with CTranslate2's own, and with a search as long."""
    taken: dict[str, list[float]] = {"ours": [], "bare": [], "patient": []}
    with serve() as serving:
        model = serving.models[FLOAT32]
        for repetition in range(REPETITIONS + 1):
            found = {
                "ours": serving.run(FLOAT32, "translate", COUNT),
                "bare": serving.run(FLOAT32, "translate_bare", COUNT, "float32", model),
                "patient": serving.run(FLOAT32, "translate_bare", COUNT, "float32", model, "patient"),
            }
            for side, one in found.items():
                if repetition:
                    taken[side].append(one["seconds"])
    share, patient = (median(taken[side]) / median(taken["ours"]) for side in ("bare", "patient"))
    yield Row(
        name="throughput.bare_float32",
        **ratio(taken["bare"], taken["ours"]),
        better="higher",
        unit=AS_FAST,
        baseline="bare ctranslate2.Translator.translate_batch with the same batches of tokens and the same "
        "beam, whose best translations are not always OpenNMT-py's (bench/worker.py)",
        goal=0.85,
        cause=f"bare calls are {share:.0%} of its time. A patience of {found['patient']['patience']}, "
        f"without which OpenNMT-py's hypotheses are not found, is {patient - share:.0%}. Scoring beginnings, "
        f"which tell where OpenNMT-py stops, is {found['ours']['scoring']:.0%}: each takes as long as its "
        "search. What reached its own cap in a batch, and is searched alone, is "
        f"{found['ours']['alone']:.0%}",
    )


@measures("throughput.two_cores_ctranslate2", "throughput.two_cores_opennmt")
def measure_cores() -> Iterator[Row]:
    """Compare a function whose memory pays for two cores with one whose memory pays for one."""
    with serve() as serving:
        for kind, goal in ((FLOAT32, 1.6), (OPENNMT, 1.0)):
            taken: dict[str, list[float]] = {"1769": [], "3538": []}
            for repetition in range(REPETITIONS + 1):
                for memory, seconds in taken.items():
                    variables = {"AWS_LAMBDA_FUNCTION_MEMORY_SIZE": memory}
                    found = serving.run(kind, "translate", COUNT, variables=variables)["seconds"]
                    if repetition:
                        seconds.append(found)
            yield Row(
                name=f"throughput.two_cores_{kind.engine}",
                **ratio(taken["1769"], taken["3538"]),
                better="higher",
                unit=AS_FAST,
                baseline=f"the same {COUNT} sentences by the same function with the memory of one core",
                goal=goal,
                cause="the S3 server, tokenising and the search's own Python do not use the second core",
            )


@measures("attention.ctranslate2", "attention.opennmt")
def measure_attention() -> Iterator[Row]:
    """Compare predictions with attention with the same without."""
    for kind in (FLOAT32, OPENNMT):
        with serve() as serving:
            taken = serving.run(kind, "attention", COUNT, REPETITIONS)
        ours, without = (list(side) for side in zip(*taken, strict=True))
        yield Row(
            name=f"attention.{kind.name}",
            **ratio(ours, without),
            unit=OF_TIME,
            baseline=f"the same {COUNT} sentences and {BEAM} hypotheses each without attention "
            "(bench/worker.py)",
            goal=1.35,
            cause=f"the maps of {COUNT * BEAM:,} hypotheses take "
            f"{median(ours) - median(without):.1f} s of {median(ours):.1f}",
        )


@measures("growth.ctranslate2", "growth.opennmt")
def measure_growth() -> Iterator[Row]:
    """Compare the time for a sentence in small and in large requests."""
    for kind in (FLOAT32, OPENNMT):
        with serve() as serving:
            found = serving.run(kind, "growth", *SIZES)
        value = round(max(more / fewer for fewer, more in pairwise(found["seconds"])), 3)
        times = " and ".join(
            f"{', '.join(f'{one * 1000:.1f}' for one in found[clock])} ms {what}"
            for clock, what in (("seconds", "by the clock"), ("processor", "of processor time"))
        )
        yield Row(
            name=f"growth.{kind.name}",
            value=value,
            unit=OF_TIME,
            baseline="the time for a sentence in a request of a tenth of the sentences, the worst of "
            f"{', '.join(f'{size:,}' for size in SIZES[1:])}, with the result in S3",
            goal=1.1,
            runs=[value],
            cause=f"a sentence takes, with {', '.join(f'{size:,}' for size in SIZES)}, {times}",
        )


@measures("quality.bleu_opennmt_int8", "quality.bleu_int8", "quality.parity")
def measure_quality() -> Iterator[Row]:
    """Compare the translations of engines and precisions."""
    from sacrebleu.metrics.bleu import BLEU
    from sacrebleu.metrics.chrf import CHRF

    with gzip.open(SHIPPED_MODEL / "test.es.gz", "rt", encoding="utf-8") as file:
        references = [[line.rstrip("\n") for line in file]]
    with serve() as serving:
        # The same at any batch size (functions/test_parity.py); at one it is the reference itself.
        texts = {kind: serving.run(kind, "translate_split", 1 if kind is OPENNMT else 32) for kind in KINDS}
    bleu = {kind: BLEU().corpus_score(found, references).score for kind, found in texts.items()}
    for kind, found in texts.items():
        chrf = CHRF().corpus_score(found, references).score
        record(kind, bleu=round(bleu[kind], 2), chrf=round(chrf, 2))
    for name, whole, eight in (("opennmt_int8", OPENNMT, OPENNMT_INT8), ("int8", FLOAT32, INT8)):
        lost = round(bleu[whole] - bleu[eight], 3)
        yield Row(
            name=f"quality.bleu_{name}",
            value=lost,
            unit="BLEU less",
            baseline=f"{whole.engine} in float32, {bleu[whole]:.1f} BLEU on the whole test split (sacreBLEU)",
            goal=0.3,
            runs=[lost],
            cause=f"{count_differences(texts[whole], texts[eight])} of {len(references[0])} sentences are "
            "translated differently with 8-bit weights",
        )
    same = 1 - count_differences(texts[FLOAT32], texts[OPENNMT]) / len(references[0])
    yield Row(
        name="quality.parity",
        value=round(same, 4),
        better="higher",
        unit="of the test split",
        baseline="the OpenNMT engine's best translations at batch size 1; CTranslate2's in float32, in "
        "batches of 32",
        goal=0.995,
        runs=[round(same, 4)],
        cause=f"{count_differences(texts[FLOAT32], texts[OPENNMT])} sentences are translated differently",
    )


def count_differences(texts: Sequence[str], others: Sequence[str]) -> int:
    """Return how many texts are not the same."""
    return sum(one != other for one, other in zip(texts, others, strict=True))


@dataclass(frozen=True)
class Sides:
    """Milliseconds of each call, side by side."""

    function: list[float]
    bare: list[float]
    handler: list[float]
    echo: list[float]

    def calculate_excess(self, share: float) -> float:
        """Return the function's percentile over that of the bare engine and that of the echo."""
        return percentile(self.function, share) - percentile(self.bare, share) - percentile(self.echo, share)


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value that a share of all is not above, as statistics.quantiles has it by default."""
    return statistics.quantiles(values, n=1000)[round(share * 1000) - 1]


@measures("latency.p50", "latency.p99")
def measure_latency() -> Iterator[Row]:
    """Compare a sentence's way through the emulated function with the bare engine and with an echo."""
    # One sentence, for percentiles of many tell their lengths.
    text = sorted(sentences(), key=len)[len(sentences()) // 2]
    blocks: list[Sides] = []
    with ExitStack() as stack:
        serving = stack.enter_context(serve())
        application = stack.enter_context(serving.application(INT8))
        function = Connection(stack.enter_context(application.function(env=THREAD)))
        echoing = serving.folder / "echo"
        echoing.mkdir()
        (echoing / "app.py").write_text("def lambda_handler(event, context):\n    return event\n")
        echo = Connection(
            stack.enter_context(Emulator(echoing, layers=[], env=THREAD, log=subprocess.DEVNULL))
        )
        handler = stack.enter_context(LineWorker(serving, INT8, "serve_handler"))
        bare = stack.enter_context(LineWorker(serving, INT8, "serve_bare", serving.models[INT8]))
        sides = (function, bare, handler, echo)
        for side in sides:
            for _ in range(WARM_CALLS):
                side.milliseconds(text)
        for _ in range(BLOCKS):
            taken = [[side.milliseconds(text) for side in sides] for _ in range(CALLS)]
            blocks.append(Sides(*(list(side) for side in zip(*taken, strict=True))))
    for share in (0.5, 0.99):
        runs = [round(block.calculate_excess(share), 2) for block in blocks]
        every = Sides(*(list(chain.from_iterable(side)) for side in zip(*map(astuple, blocks), strict=True)))
        bare_engine, echoed = percentile(every.bare, share), percentile(every.echo, share)
        yield Row(
            name=f"latency.p{share * 100:.0f}",
            value=median(runs),
            unit="ms over the baseline",
            baseline="the same percentiles of bare ctranslate2.Translator.translate_batch with the same "
            f"sentence's tokens, int8, {bare_engine:.1f} ms, and of a handler that returns its event under "
            f"the same emulator, {echoed:.1f} ms (bench/worker.py)",
            goal=3,
            runs=runs,
            cause=f"by calls without the emulator our handler takes "
            f"{percentile(every.handler, share) - bare_engine:.1f} ms over the bare engine; slow calls of "
            "the engine and of the emulator seldom coincide, so that percentiles do not add up",
        )


class Connection:
    """A caller of an emulated function, who keeps his connection: invoke() opens one for each call."""

    def __init__(self, function: Emulator) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", function._port)  # noqa: SLF001

    def milliseconds(self, text: str) -> float:
        """Return what a call took."""
        body = json.dumps({"data": [text], "beam": BEAM, "result": "inline"}).encode("ascii")
        start = time.perf_counter()
        self._connection.request("POST", "/2015-03-31/functions/function/invocations", body)
        answer = self._connection.getresponse().read()
        taken = (time.perf_counter() - start) * 1000
        if b'"errorType"' in answer or b'"statusCode": 5' in answer:
            raise RuntimeError(f"the function answered {answer.decode()}")
        return taken


class LineWorker:
    """A process that does something for each sentence."""

    def __init__(self, serving: Models, kind: Kind, *task: object) -> None:
        self._process = serving.worker(kind, *task, stdin=subprocess.PIPE)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def milliseconds(self, text: str) -> float:
        """Return what it took, by its own clock."""
        assert self._process.stdin  # noqa: S101
        assert self._process.stdout  # noqa: S101
        self._process.stdin.write(f"{json.dumps(text)}\n")
        self._process.stdin.flush()
        return float(self._process.stdout.readline())


def record(kind: Kind, **measured: Any) -> None:
    """Put what was measured of an engine into the file beside results.json; what was not stays there."""
    found = json.loads(ENGINES.read_text(encoding="utf-8"))["engines"] if ENGINES.exists() else []
    records = {(one["engine"], one["precision"]): one for one in found}
    engines = [
        dict.fromkeys(MEASURED) | records.get((each.engine, each.precision), {}) | vars(each)
        | (measured if each == kind else {})
        for each in KINDS
    ]  # fmt: skip
    content = {"machine": machine(), "commit": commit(), "engines": engines}
    ENGINES.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")

"""A process that bench/areas/translate.py times: the function's handler, or CTranslate2 bare, on one thread.

The function finds what Lambda would give it and nothing else: its layers and its own code. A task is named
by the first argument, takes the others, and prints what it found as JSON. Every event is a request of its
own, and its answer's ``timings_ms.predict`` is what the Translator took.
"""

import gzip
import json
import os
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
TEST_SPLIT = ROOT / "models" / "en-es" / "test.en.gz"
BEAM = 5
ANSWERS = sys.stdout


class Context:
    """Lambda's context of an invocation."""

    def __init__(self) -> None:
        self.aws_request_id = str(uuid.uuid4())

    def get_remaining_time_in_millis(self) -> int:
        """Return Lambda's longest timeout, 15 minutes."""
        return 900_000


def sentences(count: int | None = None) -> list[str]:
    """Return the first sentences of the test split, or all 620."""
    with gzip.open(TEST_SPLIT, "rt", encoding="utf-8") as file:
        return [line.strip() for line in file][:count]


def number_sentences(count: int) -> list[str]:
    """Return so many sentences that differ and are, on average, equally long, whatever their number.

    The test split comes again and again, each time with another number of two digits behind its sentences;
    the last time every n-th sentence of it, by length.
    """
    split = sorted(sentences(), key=len)
    rounds, rest = divmod(count, len(split))
    chosen = [f"{text} ({number + 10})" for number in range(rounds) for text in split]
    places = [int((place + 0.5) * len(split) / rest) for place in range(rest)]
    return [*chosen, *(f"{split[place]} ({rounds + 10})" for place in places)]


def ask(data: list[str], **fields: Any) -> dict[str, Any]:
    """Have the handler answer a request, and return the answer's body with the seconds that all took."""
    from app import lambda_handler

    event = {"data": data, "beam": BEAM, **fields}
    start = time.perf_counter()
    response = lambda_handler(event, Context())
    seconds = time.perf_counter() - start
    if response["statusCode"] != 200:  # noqa: PLR2004
        raise RuntimeError(f"the function answered {response}")
    body: dict[str, Any] = response["body"]
    return body | {"seconds": seconds}


def warm() -> None:
    """Have the handler load its model."""
    from app import lambda_handler

    lambda_handler({"warmup": True}, Context())


def time_prediction(data: list[str], **fields: Any) -> float:
    """Return the seconds that the Translator takes for a request."""
    return float(ask(data, **fields)["timings_ms"]["predict"]) / 1000


def translate(count: str) -> dict[str, float]:
    """Translate so many sentences once, and return the ``seconds`` that it took.

    ``network`` is the share of OpenNMT-py's encoder and decoder, ``scoring`` that of CTranslate2's
    ``score_batch``, and ``alone`` that of sentences that it searches alone; ``peak`` are the process's bytes
    of memory, and ``loaded`` those that there were with the model.
    """
    warm()
    loaded = status("VmRSS")
    clocks = start_clocks()
    seconds = time_prediction(sentences(int(count)))
    shares = {name: sum(clock) / seconds for name, clock in clocks.items()}
    return {"seconds": seconds, **shares, "loaded": loaded, "peak": status("VmHWM")}


def start_clocks() -> dict[str, list[float]]:
    """Return lists that the seconds of the engine's calls go into from now on."""
    clocks: dict[str, list[float]] = {"network": [], "scoring": [], "alone": []}
    if os.environ["ENGINE"] == "opennmt":
        from onmt.translate.translator import Translator

        for name in ("_run_encoder", "_decode_and_generate"):
            setattr(Translator, name, _time(getattr(Translator, name), clocks["network"]))
    else:
        from ct2_calls import Calls

        run = Calls.run
        alone, scoring = (_time(run, clocks[name]) for name in ("alone", "scoring"))

        def tell_apart(self: Any, check: Any, call: Any, batch: Any, *rest: Any, **options: Any) -> Any:
            timed = scoring if call.__name__ == "score_batch" else run if batch[1:] else alone
            return timed(self, check, call, batch, *rest, **options)

        setattr(Calls, "run", tell_apart)  # noqa: B010 - a method of a class that was imported
    return clocks


def _time(function: Callable[..., Any], clock: list[float]) -> Callable[..., Any]:
    def measure(*args: Any, **options: Any) -> Any:
        start = time.perf_counter()
        try:
            return function(*args, **options)
        finally:
            clock.append(time.perf_counter() - start)

    return measure


def translate_bare(count: str, precision: str, model: str, *patient: str) -> dict[str, float]:
    """Return the ``seconds`` of CTranslate2's own calls for as many sentences as asked for.

    With ``patient``, they are as long as the engine's, whose hypotheses are OpenNMT-py's.
    """
    batches = bare_batches(sentences(int(count)), Path(model))
    patience = 1.0
    if patient:
        from engine_ctranslate2 import PATIENCE

        patience = PATIENCE
    return {"seconds": time_search(bare(Path(model), precision, patience), batches), "patience": patience}


def time_search(search: Callable[[list[list[str]]], Any], batches: list[list[list[str]]]) -> float:
    """Return the seconds that CTranslate2 takes for batches."""
    start = time.perf_counter()
    for batch in batches:
        search(batch)
    return time.perf_counter() - start


def translate_split(batch_size: str) -> list[str]:
    """Return the best translation of each sentence of the test split, searched in batches of a size."""
    import translator

    translator.MAX_BATCH = int(batch_size)
    found = ask(sentences(), result="inline")["predictions"]
    return [one["hypotheses"][0]["text"] for one in found]


def attention(count: str, repetitions: str) -> list[list[float]]:
    """Return pairs of seconds: with attention, and the same call without, in changing order."""
    warm()
    data = sentences(int(count))
    time_prediction(data[:32], n_best=BEAM, return_attention=True)
    found = []
    for repetition in range(int(repetitions)):
        order = (True, False) if repetition % 2 else (False, True)
        taken = {wanted: time_prediction(data, n_best=BEAM, return_attention=wanted) for wanted in order}
        found.append([taken[True], taken[False]])
    return found


def handler(count: str, repetitions: str, model: str) -> dict[str, Any]:
    """Have the whole handler and CTranslate2 bare translate the same sentences, in changing order.

    ``runs`` are the seconds of the handler, its result in S3; of CTranslate2; and of the Translator.
    ``again`` are those that CTranslate2 takes for what the engine searches a second time.
    """
    from decoding import DEFAULT

    warm()
    data = sentences(int(count))
    batches = bare_batches(data, Path(model))
    search = bare(Path(model))

    again = [
        tokens
        for batch in batches
        for tokens, found in zip(batch, search(batch), strict=True)
        if DEFAULT.cap(len(tokens)) < DEFAULT.cap(len(batch[0]))
        and len(found.hypotheses[0]) >= DEFAULT.cap(len(tokens))
    ]
    runs = []
    for repetition in range(int(repetitions)):
        first = time_search(search, batches) if repetition % 2 else None
        body = ask(data)
        plain = first or time_search(search, batches)
        runs.append([body["seconds"], plain, body["timings_ms"]["predict"] / 1000])
    return {"runs": runs, "again": time_search(search, [[tokens] for tokens in again])}


def growth(*counts: str) -> dict[str, list[float]]:
    """Return ``seconds`` and ``processor`` time for a sentence by size of request, medians for small ones."""
    warm()
    ask(number_sentences(32))
    found: dict[str, list[float]] = {"seconds": [], "processor": []}
    for count in map(int, counts):
        data = number_sentences(count)
        calls = 9 if count <= 100 else 2 if count <= 1000 else 1  # noqa: PLR2004
        start = time.process_time()
        found["seconds"].append(median(ask(data)["seconds"] for _ in range(calls)) / count)
        found["processor"].append((time.process_time() - start) / calls / count)
    return found


def bare(model: Path, precision: str = "int8", patience: float = 1.0) -> Callable[[list[list[str]]], Any]:
    """Return CTranslate2's own call, with the options that the engine gives it in int8."""
    import ctranslate2

    from decoding import DEFAULT

    translator = ctranslate2.Translator(
        str(model), device="cpu", compute_type=precision, inter_threads=1, intra_threads=1
    )

    return lambda batch: translator.translate_batch(
        batch,
        beam_size=BEAM,
        num_hypotheses=1,
        patience=patience,
        length_penalty=1.0,
        max_decoding_length=max(DEFAULT.cap(len(tokens)) for tokens in batch),
        min_decoding_length=0,
        max_input_length=0,
        return_scores=True,
        return_attention=False,
    )


def bare_batches(data: list[str], model: Path) -> list[list[list[str]]]:
    """Return sentences as tokens, in the batches that the Translator makes of them."""
    from lambda_inference.texts import plan_batches
    from translator import MAX_BATCH, MAX_BATCH_TOKENS

    tokens = tokenise(data, model)
    batches = plan_batches([*map(len, tokens)], MAX_BATCH_TOKENS // BEAM, MAX_BATCH)
    return [[tokens[index] for index in batch] for batch in batches]


def tokenise(data: list[str], model: Path) -> list[list[str]]:
    """Return the tokens of sentences."""
    from sentencepiece import SentencePieceProcessor

    (pieces,) = model.glob("*.model")
    found: list[list[str]] = SentencePieceProcessor(model_file=str(pieces)).encode(data, out_type=str)
    return found


def serve_bare(model: str) -> None:
    """Print the milliseconds that CTranslate2 takes for the tokens of each sentence that comes in."""
    search, folder = bare(Path(model)), Path(model)
    _serve(lambda text: tokenise([text], folder), search)


def serve_handler() -> None:
    """Print the milliseconds that the handler takes for each sentence that comes in."""
    from app import lambda_handler

    warm()
    _serve(
        lambda text: {"data": [text], "beam": BEAM, "result": "inline"},
        lambda event: lambda_handler(event, Context()),
    )


def serve_requests() -> None:
    """Print the seconds of processor time that the handler takes for each list of sentences that comes in."""
    warm()
    for line in sys.stdin:
        start = time.process_time()
        ask(json.loads(line), result="inline")
        print(time.process_time() - start, file=ANSWERS, flush=True)


def _serve(prepare: Callable[[str], Any], action: Callable[[Any], Any]) -> None:
    for line in sys.stdin:
        prepared = prepare(json.loads(line))
        start = time.perf_counter()
        action(prepared)
        print((time.perf_counter() - start) * 1000, file=ANSWERS, flush=True)


def status(field: str) -> int:
    """Return a number of bytes that proc_pid_status(5) has of this process."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) * 1024


TASKS: tuple[Callable[..., Any], ...]
TASKS = (
    translate, translate_bare, translate_split, attention, handler, growth, serve_bare, serve_handler,
    serve_requests,
)  # fmt: skip


if __name__ == "__main__":
    sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115 - what the function logs, until the end
    found = {task.__name__: task for task in TASKS}[sys.argv[1]](*sys.argv[2:])
    print(json.dumps(found), file=ANSWERS, flush=True)

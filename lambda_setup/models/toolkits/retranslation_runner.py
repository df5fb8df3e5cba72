"""Translations of a converted model, whose tokens are made by the modules of the function that will serve it.

Run as ``python retranslation_runner.py FOLDER`` with the function's code on the path, and the ``cases`` of a
toolkit as JSON on standard input. Its last line is JSON: ``made``, a translation of each case, or ``reason``
and whether a module is ``missing``.
"""

import importlib
import json
import sys
import tomllib
from pathlib import Path
from typing import Any

from msgspec import UNSET

from lambda_inference import Fault

BEAM = 5


def retranslate(folder: Path, cases: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the translations of a plain beam search, which ranks by the sum of log-probabilities."""
    import ctranslate2

    files = {path.name: memoryview(path.read_bytes()) for path in folder.iterdir()}
    description = tomllib.loads(bytes(files.pop("model.toml")).decode())
    sides = importlib.import_module("tokenizer").load(description.get("tokenizer", {}), files)
    vocabularies = importlib.import_module("formats.ct2").read_vocabularies(
        {name: data for name, data in files.items() if "_vocabulary." in name}
    )
    languages = importlib.import_module("formats.languages").Languages(
        description.get("languages", {}), *vocabularies
    )
    translator = ctranslate2.Translator(str(folder), compute_type=description["precision"])
    translations = []
    for case in cases:
        tags = languages.resolve(
            *(case["languages"].get(f"{side}_language", UNSET) for side in ("source", "target"))
        )
        [found] = translator.translate_batch(
            [[*tags.before, *sides.source.encode(case["data"]), *tags.after]],
            target_prefix=[tags.forced] if tags.forced else None,
            beam_size=BEAM,
            length_penalty=0,
            min_decoding_length=0,
            max_decoding_length=case["cap"],
            max_input_length=0,
            return_scores=True,
        )
        tokens = found.hypotheses[0]
        translations.append(
            {
                "text": sides.target.decode(tokens[len(tags.forced) :]),
                "tokens": tokens[len(tags.forced) :],
                "sum": found.scores[0],
                "truncated": len(tokens) >= case["cap"],
            }
        )
    return translations


def main(folder: Path) -> None:
    """Print the translations, or why there are none."""
    try:
        result: dict[str, Any] = {"made": retranslate(folder, json.load(sys.stdin))}
    except (Fault, ModuleNotFoundError) as error:
        reason = error.message if isinstance(error, Fault) else str(error)
        causes = {type(one) for one in (error, error.__cause__)}
        result = {"reason": " ".join(reason.split()), "missing": ModuleNotFoundError in causes}
    print(json.dumps(result))


if __name__ == "__main__":
    main(Path(sys.argv[1]))

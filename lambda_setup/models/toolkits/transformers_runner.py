"""A model of transformers: converted for CTranslate2, and asked for translations to compare with.

Run as ``python transformers_runner.py FOLDER TARGET`` in an environment with transformers, with
``sentences`` and ``quantizations`` as JSON on standard input. Writes a folder TARGET/<quantization> each, and
to standard output JSON: ``tables``, the model's; ``libraries``; and ``cases``, the translations of
transformers. For a model that cannot be converted it is ``reason`` alone.
"""

import json
import os
import re
import shutil
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

os.environ |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error"}

import torch
from ctranslate2.converters import TransformersConverter
from ctranslate2.converters.transformers import M2M100Loader
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer, GenerationConfig

BEAM = 5
MAX_LENGTH = 250
"""Tokens of the longest hypothesis, as the function has it."""
FAMILIES = {
    "marian": [(r">>([\w-]+)<<", {"source_prefix": ">>{target}<<"})],
    "m2m_100": [
        (r"__([a-z]{2,3})__", {"source_prefix": "__{source}__", "target_prefix": "__{target}__"}),
        (r"([a-z]{3}_[A-Z][a-z]{3})", {"source_prefix": "{source}", "target_prefix": "{target}"}),
    ],
}
"""Patterns of languages in vocabularies, and the tokens around sentences: M2M-100's, NLLB's."""
TOKENIZERS = {"marian": ("source.spm", "target.spm"), "m2m_100": ("sentencepiece.bpe.model",)}


def list_tokens(model: Any, tokenizer: Any) -> list[str]:
    """Return the token of each row of a model's embeddings."""
    # M2M-100's tokenizer keeps its languages apart.
    numbers = tokenizer.get_vocab() | getattr(tokenizer, "lang_token_to_id", {})
    rows = {row: token for token, row in numbers.items()}
    return [rows.get(row, f"madeupword{row}") for row in range(model.config.vocab_size)]


class Original:
    """A model as transformers runs it, in float32."""

    def __init__(self, folder: Path) -> None:
        self.tokenizer: Any = AutoTokenizer.from_pretrained(folder)
        self.model: Any = AutoModelForSeq2SeqLM.from_pretrained(folder, dtype=torch.float32).eval()
        self.is_marian = self.model.config.model_type == "marian"
        self.pattern, self.languages = self._find_languages()

    def check(self) -> None:
        """Check what CTranslate2 takes for granted; ValueError if it does not hold."""
        if not self.is_marian:
            if not self.pattern:
                raise ValueError(
                    "its vocabulary has no languages as M2M-100 and NLLB have them (__en__, eng_Latn)"
                )
            return
        config = self.model.config
        start = self.model.get_input_embeddings().weight[config.decoder_start_token_id]
        if config.decoder_start_token_id != config.vocab_size - 1 or start.count_nonzero():
            raise ValueError(
                "its decoder does not start with a <pad> that is the last token and whose embedding is zero, "
                "as CTranslate2 takes it for granted of Marian's models; it cannot be converted"
            )

    def _find_languages(self) -> tuple[str, dict[str, str]]:
        """Return the pattern of the languages' tokens, empty without any, and the ``[languages]``."""
        suffix = {"source_suffix": self.tokenizer.eos_token}
        for pattern, table in FAMILIES[self.model.config.model_type]:
            if not self._list_codes(pattern):
                continue
            if getattr(self.tokenizer, "legacy_behaviour", False):  # of NLLB's first tokenizers
                suffix = {"source_prefix": "", "source_suffix": f"{suffix['source_suffix']} {{source}}"}
            return pattern, table | suffix
        return "", suffix

    def _list_codes(self, pattern: str) -> list[str]:
        tokens = list_tokens(self.model, self.tokenizer)
        return sorted(found[1] for token in tokens if (found := re.fullmatch(pattern, token)))

    def choose_languages(self) -> list[dict[str, str]]:
        """Return the pairs of languages to translate between, as a request names them."""
        if not self.pattern:
            return [{}]
        codes = self._list_codes(self.pattern)
        source = next((code for code in codes if code.startswith("en")), codes[0])
        targets = [code for code in codes if code != source] or codes
        named = {} if self.is_marian else {"source_language": source}
        return [{**named, "target_language": code} for code in dict.fromkeys((targets[0], targets[-1]))]

    def translate(self, text: str, names: dict[str, str]) -> dict[str, Any]:
        """Return the best translation of a beam search, and the sum of its tokens' log-probabilities."""
        config, forced, prompt = self.model.config, None, text
        if self.is_marian and names:
            prompt = f">>{names['target_language']}<< {text}"
        elif names:
            token = self.languages["target_prefix"].replace("{target}", names["target_language"])
            self.tokenizer.src_lang = names["source_language"]
            forced = self.tokenizer.convert_tokens_to_ids(token)
        cap = min(MAX_LENGTH, config.max_position_embeddings - 2)
        # <pad> is no word, but has a share of the probabilities in transformers, and none in CTranslate2.
        banned = [config.pad_token_id] if self.is_marian else []
        self.model.generation_config = GenerationConfig(
            num_beams=BEAM,
            length_penalty=0.0,
            max_new_tokens=cap,
            decoder_start_token_id=config.decoder_start_token_id,
            eos_token_id=config.eos_token_id,
            pad_token_id=config.pad_token_id,
            forced_bos_token_id=forced,
            suppress_tokens=banned or None,
            renormalize_logits=True,
        )
        source = self.tokenizer(prompt, return_tensors="pt")
        found = self.model.generate(**source)
        logits = self.model(**source, decoder_input_ids=found[:, :-1]).logits
        logits[..., banned] = float("-inf")
        total = logits.log_softmax(-1).gather(2, found[:, 1:, None])[:, forced is not None :].sum().item()
        ids = found[0].tolist()[1:]
        ended = ids[-1] == config.eos_token_id
        ids = ids[forced is not None : len(ids) - ended]
        decoded = self.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return {
            "data": text,
            "languages": names,
            "text": decoded,
            "tokens": self.tokenizer.convert_ids_to_tokens(ids),
            "sum": total,
            "truncated": not ended,
            "cap": cap,
        }


def convert(folder: Path, target: Path, asked: dict[str, Any]) -> dict[str, Any]:
    """Write the converted models, and return what the module says; ValueError for a model that has no way."""
    original = Original(folder)
    original.check()
    # CTranslate2 4.8.5 looks for the languages where transformers 5 has none.
    M2M100Loader.get_vocabulary = lambda _, model, tokenizer: list_tokens(model, tokenizer)
    files = TOKENIZERS[original.model.config.model_type]
    if missing := [name for name in files if not (folder / name).is_file()]:
        raise ValueError(f"it lacks {', '.join(missing)}, its SentencePiece model; save that beside it")
    for quantization in asked["quantizations"]:
        stored = "int8_float32" if quantization == "int8" else quantization
        TransformersConverter(str(folder)).convert(str(target / quantization), quantization=stored)
        for name in files:
            shutil.copyfile(folder / name, target / quantization / name)
    pairs = original.choose_languages()
    with torch.inference_mode():
        cases = [
            original.translate(text, pairs[number % len(pairs)])
            for number, text in enumerate(asked["sentences"])
        ]
    libraries = {name: version(name) for name in ("ctranslate2", "transformers")}
    # transformers caps the length alone.
    tables = {"languages": original.languages, "decoding": {"max_length_ratio": MAX_LENGTH}}
    return {"tables": tables, "libraries": libraries, "cases": cases}


def main(folder: Path, target: Path) -> int:
    """Convert a model; return 0, also if it cannot be."""
    try:
        result = convert(folder, target, json.load(sys.stdin))
    except ValueError as error:
        result = {"reason": " ".join(str(error).split())}
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))

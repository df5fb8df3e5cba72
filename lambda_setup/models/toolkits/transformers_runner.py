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
from typing import Any, NamedTuple

os.environ |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error"}

import torch
from ctranslate2.converters import TransformersConverter
from ctranslate2.converters.transformers import BartLoader, M2M100Loader, MBartLoader, T5Loader, UMT5Loader
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer, GenerationConfig

BEAM = 5
MAX_LENGTH = 250
"""Tokens of the longest hypothesis, as the function has it."""
TOKENIZER = "tokenizer.json"


class Family(NamedTuple):
    """What models of a type have in common.

    Attributes:
        pieces: their SentencePiece files; without those, ``tokenizer.json`` is for both sides.
        languages: patterns of languages' tokens in vocabularies.
        norms: whether layers begin with a norm, and whether embeddings end with one. transformers 5 knows it
            by the type, and CTranslate2 4.8.5 asks the settings.

    """

    pieces: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    norms: tuple[bool, bool] | None = None


FAMILIES = {
    "marian": Family(("source.spm", "target.spm"), (r">>([\w-]+)<<",)),
    # M2M-100's languages, and NLLB's.
    "m2m_100": Family(("sentencepiece.bpe.model",), (r"__([a-z]{2,3})__", r"([a-z]{3}_[A-Z][a-z]{3})")),
    "mbart": Family(("sentencepiece.bpe.model",), (r"([a-z]{2}_[A-Z]{2})",), (True, True)),
    "bart": Family(norms=(False, True)),
    "pegasus": Family(("spiece.model",), norms=(True, False)),
    "t5": Family(("spiece.model",)),
    "mt5": Family(("spiece.model",)),
    "umt5": Family(("spiece.model",)),
}


def list_tokens(model: Any, tokenizer: Any) -> list[str]:
    """Return the token of each row of a model's embeddings."""
    # M2M-100's tokenizer keeps its languages apart.
    numbers = tokenizer.get_vocab() | getattr(tokenizer, "lang_token_to_id", {})
    rows = {row: token for token, row in numbers.items()}
    return [rows.get(row, f"<unused{row}>") for row in range(model.config.vocab_size)]


def find_start(model: Any) -> int:
    """Return the number of the token that translations start with; ValueError if nothing says it."""
    for settings in (model.config, model.generation_config):
        if isinstance(start := getattr(settings, "decoder_start_token_id", None), int):
            return start
    if "t5" in model.config.model_type:
        return int(model.config.pad_token_id)
    raise ValueError(
        "its config.json lacks decoder_start_token_id, which translations start with; write it there"
    )


def set_config(config: Any, model: Any, tokenizer: Any) -> None:
    """Set what a converted model has to know of its special tokens and its norms."""
    config.bos_token = tokenizer.bos_token or tokenizer.pad_token
    config.eos_token = tokenizer.eos_token
    config.unk_token = tokenizer.unk_token
    config.decoder_start_token = tokenizer.convert_ids_to_tokens(find_start(model))
    config.layer_norm_epsilon = getattr(model.config, "layer_norm_epsilon", None)


class Converter(TransformersConverter):  # type: ignore[misc]
    """CTranslate2's converter, for models as transformers 5 has them."""

    def load_model(self, *arguments: Any, **options: Any) -> Any:
        """Return the model, with the settings that are asked where transformers 5 says it otherwise."""
        model = super().load_model(*arguments, **options)
        config = model.config
        if norms := FAMILIES[config.model_type].norms:
            config.normalize_before, config.normalize_embedding = norms
        if "t5" in config.model_type:
            # transformers 5 ties all embeddings; this one says whether outputs are scaled.
            config.tie_word_embeddings = getattr(config, "scale_decoder_outputs", False)
        return model


def prepare_loaders() -> None:
    """Have CTranslate2 4.8.5 find tokens where transformers 5 has them, and not name two of T5's alike."""
    for loader in (BartLoader, M2M100Loader, T5Loader, UMT5Loader):
        loader.get_vocabulary = lambda _, model, tokenizer: list_tokens(model, tokenizer)
    for loader in (BartLoader, MBartLoader, T5Loader):
        loader.set_config = lambda _, config, model, tokenizer: set_config(config, model, tokenizer)


class Original:
    """A model as transformers runs it, in float32."""

    def __init__(self, folder: Path) -> None:
        self.tokenizer: Any = AutoTokenizer.from_pretrained(folder)
        self.model: Any = AutoModelForSeq2SeqLM.from_pretrained(folder, dtype=torch.float32).eval()
        self.start = find_start(self.model)
        self.family = FAMILIES[self.model.config.model_type]
        self.is_marian = self.model.config.model_type == "marian"
        self.pattern = next((pattern for pattern in self.family.languages if self._list_codes(pattern)), "")
        self.languages = self._find_languages()

    def check(self) -> None:
        """Check what CTranslate2 takes for granted; ValueError if it does not hold."""
        if self.model.config.model_type == "m2m_100" and not self.pattern:
            raise ValueError(
                "its vocabulary has no languages as M2M-100 and NLLB have them (__en__, eng_Latn)"
            )
        if not self.is_marian:
            return
        first = self.model.get_input_embeddings().weight[self.start]
        if self.start != self.model.config.vocab_size - 1 or first.count_nonzero():
            raise ValueError(
                "its decoder does not start with a <pad> that is the last token and whose embedding is zero, "
                "as CTranslate2 takes it for granted of Marian's models; it cannot be converted"
            )

    def _list_codes(self, pattern: str) -> list[str]:
        tokens = list_tokens(self.model, self.tokenizer)
        return sorted(found[1] for token in tokens if (found := re.fullmatch(pattern, token)))

    def _choose_source(self) -> str:
        codes = self._list_codes(self.pattern)
        return next((code for code in codes if code.startswith("en")), codes[0])

    def _find_languages(self) -> dict[str, str]:
        """Return the ``[languages]``: tokens around a source, and those that translations begin with."""
        if self.is_marian:
            prefix = {"source_prefix": ">>{target}<<"} if self.pattern else {}
            return prefix | {"source_suffix": self.tokenizer.eos_token}
        if self.pattern:
            self.tokenizer.src_lang = self._choose_source()
        whole, inner = (self.tokenizer("a", add_special_tokens=added)["input_ids"] for added in (True, False))
        place = next(place for place in range(len(whole)) if whole[place : place + len(inner)] == inner)
        found = {
            "source_prefix": self._write_template("source", whole[:place]),
            "source_suffix": self._write_template("source", whole[place + len(inner) :]),
            "target_prefix": self._write_template("target", self._find_forced()),
        }
        return {name: template for name, template in found.items() if template}

    def _find_forced(self) -> list[int]:
        """Return the numbers of the tokens that translations begin with, for some target."""
        if not self.pattern:
            forced = getattr(self.model.generation_config, "forced_bos_token_id", None)
            return [] if forced is None else [forced]
        if re.fullmatch(self.pattern, self.tokenizer.convert_ids_to_tokens(self.start)):
            return []  # of a model to one language
        tokens = list_tokens(self.model, self.tokenizer)
        return [next(row for row, token in enumerate(tokens) if re.fullmatch(self.pattern, token))]

    def _write_template(self, side: str, numbers: list[int]) -> str:
        """Return tokens with ``{source}`` or ``{target}`` in the place of a language."""
        tokens = list_tokens(self.model, self.tokenizer)
        words = []
        for token in (tokens[number] for number in numbers):
            found = re.fullmatch(self.pattern, token) if self.pattern else None
            words.append(f"{token[: found.start(1)]}{{{side}}}{token[found.end(1) :]}" if found else token)
        return " ".join(words)

    def choose_languages(self) -> list[dict[str, str]]:
        """Return the pairs of languages to translate between, as a request names them."""
        if not self.pattern:
            return [{}]
        templates = " ".join(self.languages.values())
        source, codes = self._choose_source(), self._list_codes(self.pattern)
        targets = [code for code in codes if code != source] or codes
        pairs = [{"source": source, "target": code} for code in (targets[0], targets[-1])]
        return [
            {f"{side}_language": code for side, code in pair.items() if f"{{{side}}}" in templates}
            for pair in pairs
        ]

    def translate(self, text: str, names: dict[str, str]) -> dict[str, Any]:
        """Return the best translation of a beam search, and the sum of its tokens' log-probabilities."""
        config, forced, prompt = self.model.config, None, text
        target = names.get("target_language", "")
        if "source_language" in names:
            self.tokenizer.src_lang = names["source_language"]
        if self.is_marian and names:
            prompt = f">>{target}<< {text}"
        if template := self.languages.get("target_prefix"):
            forced = list_tokens(self.model, self.tokenizer).index(template.replace("{target}", target))
        cap = min(MAX_LENGTH, getattr(config, "max_position_embeddings", MAX_LENGTH + 2) - 2)
        # <pad> is not a word, but has a share of the probabilities in transformers, and none in CTranslate2.
        banned = [config.pad_token_id] if self.is_marian else []
        self.model.generation_config = GenerationConfig(
            num_beams=BEAM,
            length_penalty=0.0,
            max_new_tokens=cap,
            decoder_start_token_id=self.start,
            eos_token_id=config.eos_token_id,
            pad_token_id=config.pad_token_id,
            forced_bos_token_id=forced,
            suppress_tokens=banned or None,
            renormalize_logits=True,
        )
        source = self.tokenizer(prompt, return_tensors="pt")
        source = {name: source[name] for name in ("input_ids", "attention_mask")}
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


def write_tokenizer(folder: Path, original: Original, target: Path) -> dict[str, Any]:
    """Write the tokenizer's files beside a converted model, and return its ``[tokenizer]``."""
    names = original.family.pieces
    missing = [name for name in names if not (folder / name).is_file()]
    if names and not missing:
        for name in names:
            shutil.copyfile(folder / name, target / name)
        return {}
    backend = getattr(original.tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise ValueError(f"it lacks {', '.join(missing)}, its SentencePiece model; save that beside it")
    (target / TOKENIZER).write_text(backend.to_str(), encoding="utf-8")
    return {"tokenizer": {"kind": "tokenizers"}}


def convert(folder: Path, target: Path, asked: dict[str, Any]) -> dict[str, Any]:
    """Write the converted models, and return what the module says; ValueError for a model that has no way."""
    original = Original(folder)
    original.check()
    prepare_loaders()
    # transformers caps the length alone.
    tables = {"languages": original.languages, "decoding": {"max_length_ratio": MAX_LENGTH}}
    for quantization in asked["quantizations"]:
        stored = "int8_float32" if quantization == "int8" else quantization
        Converter(str(folder)).convert(str(target / quantization), quantization=stored)
        tables |= write_tokenizer(folder, original, target / quantization)
    pairs = original.choose_languages()
    with torch.inference_mode():
        cases = [
            original.translate(text, pairs[number % len(pairs)])
            for number, text in enumerate(asked["sentences"])
        ]
    libraries = {name: version(name) for name in ("ctranslate2", "transformers")}
    return {"tables": tables, "libraries": libraries, "cases": cases}


def main(folder: Path, target: Path) -> int:
    """Convert a model; return 0, also if it cannot be."""
    try:
        result = convert(folder, target, json.load(sys.stdin))
    except KeyError as error:
        result = {"reason": f"CTranslate2 has no {error}"}
    except (OSError, ValueError) as error:
        result = {"reason": " ".join(str(error).split())}
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))

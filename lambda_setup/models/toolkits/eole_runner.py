"""A model of Eole: converted for CTranslate2, and asked for translations to compare with.

Run as ``python eole_runner.py FOLDER TARGET`` in an environment with Eole, with ``sentences`` and
``quantizations`` as JSON on standard input. Writes a folder TARGET/<quantization> each, and to standard
output JSON: ``tables``, the model's; ``libraries``; and ``cases``, the translations of Eole. For a model that
cannot be converted it is ``reason`` alone.
"""

import json
import os
import shutil
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"

import torch
from ctranslate2.converters.eole_ct2 import EoleConverter
from eole.config.run import PredictConfig
from eole.inference_engine import InferenceEnginePY

BEAM = 5
MAX_LENGTH = 250
"""Tokens of the longest hypothesis, as the function has it."""
CONVERTED: dict[str, set[Any]] = {
    # Relative ones are translated otherwise by CTranslate2 4.8.5 than by Eole 0.6.4.
    "position_encoding_type": {"SinusoidalInterleaved", "SinusoidalConcat"},
    "layer_norm": {"standard", "rms"},
    "mlp_activation_fn": {"relu", "gelu", "fast_gelu", "gated-silu"},
    "encoder_layer_style": {"standard"},
    "final_encoder_layer_norm": {True},
    "relative_positions_buckets": {0},
    "sliding_window": {0},
    "num_experts": {0},
    "parallel_residual": {False},
    "ffn_layernorm": {False},
    "q_gating": {False},
    "query_norm": {False},
    "key_norm": {False},
    "attn_scaling": {None},
    "layer_types": {None},
}
"""Options of an encoder or decoder, each with the values that are converted."""
SUFFIXES = {"sentencepiece": ".model", "bpe": ".codes"}


class Original:
    """A model as Eole runs it, in float32."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config: Any = PredictConfig(
            model_path=str(folder), src="none", compute_dtype="fp32", batch_size=1, beam_size=BEAM, n_best=1,
            length_penalty="none", max_length=MAX_LENGTH, max_length_ratio=0,
        )  # fmt: skip
        # The command's, if the model says nothing.
        self.ratio = PredictConfig(model_path=str(folder), src="none").max_length_ratio or MAX_LENGTH

    def check(self) -> None:
        """Check what CTranslate2 takes for granted; ValueError if it does not hold."""
        model = self.config.model
        for side in ("encoder", "decoder"):
            part = getattr(model, side)
            kind = getattr(part, f"{side}_type", None)
            if kind != "transformer":
                raise ValueError(
                    f"its {side} is {kind or 'missing'}; only translation by transformers is converted"
                )
            for name, known in CONVERTED.items():
                if hasattr(part, name) and (value := getattr(part, name)) not in known:
                    raise ValueError(f"{name} = {getattr(value, 'value', value)} is not converted")
            if part.heads_kv not in {None, part.heads}:
                raise ValueError(f"heads_kv = {part.heads_kv} is not converted")
        if self.config.quant_type:
            raise ValueError(
                f"its weights are quantised ({self.config.quant_type}); publish what it was before"
            )

    def load(self) -> None:
        """Load the weights, and remember the vocabulary's numbers of each translation."""
        self.engine: Any = InferenceEnginePY(self.config)
        predict = self.engine.predictor.predict_batch

        def remember(*args: Any, **options: Any) -> Any:
            self.found = predict(*args, **options)
            return self.found

        self.engine.predictor.predict_batch = remember

    def translate(self, text: str) -> dict[str, Any]:
        """Return the best translation of a beam search, and the sum of its tokens' log-probabilities."""
        _, _, [[translation]] = self.engine.infer_list([text])
        vocabulary = self.engine.vocabs["tgt"].ids_to_tokens
        tokens = [vocabulary[number] for number in self.found["predictions"][0][0].tolist()]
        ended = tokens[-1:] == [self.engine.vocabs["specials"]["eos_token"]]
        return {
            "data": text,
            "languages": {},
            "text": translation,
            "tokens": tokens[: len(tokens) - ended],
            "sum": float(self.found["scores"][0][0]),
            "truncated": not ended,
            "cap": MAX_LENGTH,
        }

    def copy_tokenizer(self, target: Path) -> dict[str, Any]:
        """Copy the tokenizer's files into a folder; return the ``[tokenizer]``, ValueError for others."""
        names = self.config.transforms
        if not names:
            return {"kind": "space"}
        if len(names) > 1 or names[0] not in {"sentencepiece", "bpe", "onmt_tokenize"}:
            raise ValueError(
                f"its transforms are {', '.join(names)}, and only one of sentencepiece, bpe and "
                "onmt_tokenize is converted"
            )
        options = getattr(self.config.transforms_configs, names[0])
        table: dict[str, Any] = {"kind": names[0]}
        kind = names[0]
        if names[0] == "onmt_tokenize":
            kind = options.src_subword_type
            self._check_equal(options, "subword_type", "onmttok_kwargs")
            if options.mapped_tokens or options.gpt2_pretok:
                raise ValueError("onmt_tokenize's mapped_tokens and gpt2_pretok are not converted")
            table = {"kind": "pyonmttok", "options": options.src_onmttok_kwargs}
        for side in ("src", "tgt"):
            if getattr(options, f"{side}_subword_vocab") and getattr(options, f"{side}_vocab_threshold"):
                raise ValueError(f"{names[0]}'s {side}_vocab_threshold is not converted")
        if kind == "none":
            return table
        models = [options.src_subword_model, options.tgt_subword_model]
        shared = self.config.share_vocab or models[0] == models[1]
        sides = {"source": models[0]} if shared else dict(zip(("source", "target"), models, strict=True))
        for side, model in sides.items():
            name = f"{'tokenizer' if shared else side}{SUFFIXES[kind]}"
            shutil.copyfile(model, target / name)
            table[side] = name
        return table

    @staticmethod
    def _check_equal(options: Any, *names: str) -> None:
        for name in names:
            if getattr(options, f"src_{name}") != getattr(options, f"tgt_{name}"):
                raise ValueError(f"onmt_tokenize's src_{name} and tgt_{name} differ, which is not converted")


def convert(folder: Path, target: Path, asked: dict[str, Any]) -> dict[str, Any]:
    """Write the converted models, and return what the module says; ValueError for a model that has no way."""
    original = Original(folder)
    original.check()
    table: dict[str, Any] = {}
    for quantization in asked["quantizations"]:
        spec = EoleConverter(str(folder))._load()  # noqa: SLF001 - the public method does all steps
        # The converter of CTranslate2 4.8.5 looks for it in the options of inference.
        spec.config.layer_norm_epsilon = original.config.model.encoder.norm_eps
        spec.validate()
        spec.optimize(quantization="int8_float32" if quantization == "int8" else quantization)
        (target / quantization).mkdir()
        spec.save(str(target / quantization))
        table = original.copy_tokenizer(target / quantization)
    original.load()
    with torch.inference_mode():
        cases = [original.translate(text) for text in asked["sentences"]]
    tables = {"tokenizer": table, "decoding": {"max_length_ratio": min(original.ratio, MAX_LENGTH)}}
    return {
        "tables": tables,
        "libraries": {name: version(name) for name in ("ctranslate2", "eole")},
        "cases": cases,
    }


def main(folder: Path, target: Path) -> int:
    """Convert a model; return 0, also if it cannot be."""
    try:
        result = convert(folder, target, json.load(sys.stdin))
    except (ArithmeticError, AssertionError, AttributeError, LookupError, OSError, TypeError, ValueError,
            RuntimeError) as error:  # fmt: skip
        result = {"reason": " ".join(str(error).split()) or type(error).__name__}
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))

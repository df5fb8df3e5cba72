"""The usual function: packages out of a zip, the checkpoint by boto3 into a BytesIO, OpenNMT-py's own engine.

Written by us from public descriptions: that of the nested zip (nested_zip.py), that of many posts about
models in Lambda, and that of OpenNMT-py's ``InferenceEnginePY``. The posts load a model at the top of the
module, for all invocations. The engine's options are those of its ``translate`` command. Nothing of it is
ours: no fixes, no patches, no hash is computed, and the keys are fixed, so that no pointer is read before the
model.

MODEL_BUCKET, MODEL_KEY and TOKENIZER_KEY say where the model is; LAMBDA_TASK_ROOT has the zip.
"""

import io
import os
import tempfile
from pathlib import Path
from typing import Any

from nested_zip import extract

extract(Path(os.environ["LAMBDA_TASK_ROOT"], "requirements.zip"), Path(tempfile.gettempdir(), "requirements"))

from argparse import Namespace  # noqa: E402

import boto3  # noqa: E402
import torch  # noqa: E402
from onmt.inference_engine import InferenceEnginePY  # noqa: E402
from onmt.opts import translate_opts  # noqa: E402
from onmt.utils.parse import ArgumentParser  # noqa: E402
from sentencepiece import SentencePieceProcessor  # noqa: E402

BEAM = 5


def download(client: Any, key: str) -> io.BytesIO:
    """Return an object of the model's bucket in memory."""
    buffer = io.BytesIO()
    client.download_fileobj(os.environ["MODEL_BUCKET"], key, buffer)
    buffer.seek(0)
    return buffer


def load_engine(checkpoint: io.BytesIO) -> Any:
    """Return OpenNMT-py's engine with a checkpoint; torch.load takes a file in place of its name."""
    parser = ArgumentParser()
    translate_opts(parser)
    options = parser.parse_args(
        ["-model", "", "-src", "", "-output", os.devnull, "-beam_size", str(BEAM), "-batch_size", "1",
         "-batch_type", "sents"]
    )  # fmt: skip
    ArgumentParser.validate_translate_opts(options)
    ArgumentParser._get_all_transform_translate(options)  # noqa: SLF001 - as the command does
    ArgumentParser._validate_transforms_opts(options)  # noqa: SLF001
    ArgumentParser.validate_translate_opts_dynamic(options)
    options.models = [checkpoint]
    return InferenceEnginePY(options)


torch.serialization.add_safe_globals([Namespace])  # of the checkpoint's options
s3 = boto3.client("s3")
tokenizer = SentencePieceProcessor(model_proto=download(s3, os.environ["TOKENIZER_KEY"]).getvalue())
engine = load_engine(download(s3, os.environ["MODEL_KEY"]))


def lambda_handler(event: dict[str, Any], _: object) -> dict[str, Any]:
    """Answer an event ``{"data": [sentence, …]}`` with ``{"translations": [text, …]}``."""
    sources = [" ".join(tokens) for tokens in tokenizer.encode(event["data"], out_type=str)]
    _, found = engine.infer_list(sources)
    return {"translations": [tokenizer.decode(best[0].split()) for best in found]}

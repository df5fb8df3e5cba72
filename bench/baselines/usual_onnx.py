"""The usual function with an exported network: ONNX Runtime and tokenizers, loaded at the top of the module.

Written by us from public descriptions: ONNX Runtime's of ``InferenceSession``, tokenizers' of
``Tokenizer``, and that of many posts about models in Lambda, which fetch them by boto3 into a BytesIO.
Nothing of it is ours, and no hash is computed. The network gives vectors of length 1.

MODEL_FOLDER says where the model is on local disk; without it, MODEL_BUCKET and MODEL_PREFIX say where in S3.
"""

import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1

if folder := os.environ.get("MODEL_FOLDER"):
    [graph] = Path(folder).glob("*.onnx")
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    tokenizer = Tokenizer.from_file(str(Path(folder, "tokenizer.json")))
else:
    import boto3

    s3 = boto3.client("s3")

    def download(name: str) -> io.BytesIO:
        """Return an object of the model's bucket in memory."""
        buffer = io.BytesIO()
        s3.download_fileobj(os.environ["MODEL_BUCKET"], f"{os.environ['MODEL_PREFIX']}/{name}", buffer)
        return buffer

    weights = download("network.onnx.data").getbuffer()
    options.add_external_initializers_from_files_in_memory(["network.onnx.data"], [weights], [len(weights)])
    session = onnxruntime.InferenceSession(
        download("network.onnx").getvalue(), options, providers=["CPUExecutionProvider"]
    )
    tokenizer = Tokenizer.from_buffer(download("tokenizer.json").getvalue())

tokenizer.enable_padding()
tokenizer.enable_truncation(256)


def lambda_handler(event: dict[str, Any], _: object) -> dict[str, Any]:
    """Answer an event ``{"data": [text, …]}`` with a vector of each."""
    encodings = tokenizer.encode_batch(event["data"])
    feed = {
        "input_ids": np.array([one.ids for one in encodings]),
        "attention_mask": np.array([one.attention_mask for one in encodings]),
        "token_type_ids": np.array([one.type_ids for one in encodings]),
    }
    names = {one.name for one in session.get_inputs()}
    [vectors] = session.run(None, {name: array for name, array in feed.items() if name in names})
    return {"predictions": [{"vector": vector.tolist()} for vector in vectors]}

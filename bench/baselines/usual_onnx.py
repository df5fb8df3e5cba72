"""The usual function with an exported network: ONNX Runtime and tokenizers, loaded at the top of the module.

Written by us from public descriptions: ONNX Runtime's of ``InferenceSession``, tokenizers' of
``Tokenizer``, and that of many posts about models in Lambda, which fetch them by boto3 into a BytesIO.
Nothing of it is ours, and no hash is computed. The network gives vectors of length 1.

MODEL_FOLDER says where the model is on local disk; without it, MODEL_BUCKET and MODEL_PREFIX say where in S3.
With MODEL_URLS, signed beforehand, it is another function: the least that anybody can do who has to fetch
a model: bare sockets fill memory while everything is imported, and nobody looks at what came.
"""

import io
import json
import mmap
import os
import socket
import threading
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

THREADS = 2


def receive(url: str, view: memoryview, start: int) -> None:
    """Fill a view with an object's bytes from ``start`` on."""
    place = urlsplit(url)
    with socket.create_connection((place.hostname or "", place.port or 80)) as connection:
        connection.sendall(
            f"GET {place.path}?{place.query} HTTP/1.1\r\nHost: {place.netloc}\r\n"
            f"Range: bytes={start}-{start + len(view) - 1}\r\n\r\n".encode()
        )
        received = b""
        while b"\r\n\r\n" not in received:
            received += connection.recv(4096)
        first = received.partition(b"\r\n\r\n")[2]
        view[: len(first)] = first
        view = view[len(first) :]
        while view:
            view = view[connection.recv_into(view, 0, socket.MSG_WAITALL) :]


def begin(url: str, size: int) -> tuple[memoryview, list[threading.Thread]]:
    """Begin to fetch an object: return its memory, and the threads that fill it."""
    view, step = memoryview(mmap.mmap(-1, size)), -(-size // THREADS)
    threads = [
        threading.Thread(target=receive, args=(url, view[start : start + step], start))
        for start in range(0, size, step)
    ]
    for thread in threads:
        thread.start()
    return view, threads


coming = {name: begin(*one) for name, one in json.loads(os.environ.get("MODEL_URLS", "{}")).items()}

import numpy as np  # noqa: E402 - what is fetched comes first
import onnxruntime  # noqa: E402
from tokenizers import Tokenizer  # noqa: E402

options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1

if folder := os.environ.get("MODEL_FOLDER"):
    [graph] = Path(folder).glob("*.onnx")
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    tokenizer = Tokenizer.from_file(str(Path(folder, "tokenizer.json")))
elif coming:
    for _, threads in coming.values():
        for thread in threads:
            thread.join()
    files = {name: view for name, (view, _) in coming.items()}
    weights = files["network.onnx.data"]
    options.add_external_initializers_from_files_in_memory(["network.onnx.data"], [weights], [len(weights)])
    session = onnxruntime.InferenceSession(
        bytes(files["network.onnx"]), options, providers=["CPUExecutionProvider"]
    )
    tokenizer = Tokenizer.from_buffer(bytes(files["tokenizer.json"]))
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

"""A second version of the shipped model, and a channel that moves between the two."""

import contextlib
import hashlib
import json
import shutil
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from botocore.exceptions import ClientError

from lambda_setup.deployment.local import Emulator, LocalDeployment
from lambda_setup.deployment.local.application import MODEL_BUCKET
from lambda_setup.models import channels
from lambda_setup.models.describe import describe
from lambda_setup.models.upload import publish
from support.events import case
from support.project import MODEL

EVENT = case("valid/inline").event
BANNED = ("▁Pulse", "▁Se")
"""How the shipped model's answers to the event begin; the second model never says these."""


def load() -> dict[str, Any]:
    """Return the shipped model's checkpoint."""
    with torch.serialization.safe_globals([Namespace]):
        return torch.load(MODEL / "en-es.pt", weights_only=True)


def folder_with(checkpoint: bytes, folder: Path) -> Path:
    """Return a folder with a checkpoint in the place of the shipped model's."""
    shutil.copytree(MODEL, folder, ignore=shutil.ignore_patterns("train", "test.*", "*.pt"))
    (folder / "en-es.pt").write_bytes(checkpoint)
    return folder


class Versions:
    """A stack whose model has two versions, what each of them answers to the event, and its channel.

    Attributes:
        first: the shipped model's version, which the channel points to at the start of a test.
        second: the other one, which answers otherwise.

    """

    def __init__(self, stack: LocalDeployment, log: Path, folder: Path) -> None:
        self.stack = stack
        self._log = log
        self.first = stack.manifest.version
        checkpoint = load()
        for token in BANNED:
            checkpoint["generator"]["bias"][checkpoint["vocab"]["tgt"].index(token)] = -100
        torch.save(checkpoint, folder / "changed.pt")
        self.second = self.publish(folder_with((folder / "changed.pt").read_bytes(), folder / "en-es"))
        with stack.function() as function:
            other = function.invoke(EVENT)["body"]
        assert other["model"]["version"] == self.second == self.state(self.manifest())
        self._answers = {self.first: stack.manifest.smoke.predictions, self.second: other["predictions"]}
        for one, two in zip(*self._answers.values(), strict=True):
            assert one["hypotheses"][0]["text"] != two["hypotheses"][0]["text"]

    def publish(self, folder: Path) -> str:
        """Publish a model, point the channel to it, and return its version."""
        publish(folder, self.stack.client, MODEL_BUCKET)
        return describe(folder).version

    def point(self, version: str) -> None:
        """Move the channel to a version."""
        client = self.stack.client
        before = channels.read(client, MODEL_BUCKET, "en-es", "dev")
        channels.move(client, MODEL_BUCKET, "en-es", "dev", version, before=before, by="a test")

    def get(self, key: str) -> bytes:
        """Return an object below the model's name."""
        found = self.stack.client.get_object(Bucket=MODEL_BUCKET, Key=f"models/en-es/{key}")
        return found["Body"].read()

    def put(self, key: str, data: bytes) -> None:
        """Write an object below the model's name."""
        self.stack.client.put_object(Bucket=MODEL_BUCKET, Key=f"models/en-es/{key}", Body=data)

    def manifest(self) -> dict[str, Any]:
        """Return the second version's manifest."""
        return json.loads(self.get(f"versions/{self.second}/manifest.json"))

    def state(self, manifest: dict[str, Any]) -> str:
        """Publish the second version's files under another manifest, and point the channel there.

        The version is right for the manifest, also where no function would accept it.
        """
        content = {key: manifest[key] for key in ("engine", "precision", "libraries", "files")}
        content["files"] = sorted(content["files"], key=lambda file: file["name"])
        version = hashlib.sha256(msgspec.json.encode(content, order="sorted")).hexdigest()
        for file, original in zip(manifest["files"], self.manifest()["files"], strict=False):
            with contextlib.suppress(ClientError):  # S3 itself refuses some names
                data = self.get(f"versions/{self.second}/{original['name']}")
                self.put(f"versions/{version}/{file['name']}", data)
        self.put(f"versions/{version}/manifest.json", json.dumps(manifest).encode())
        self.point(version)
        return version

    def function(self, **env: str) -> Emulator:
        """Return a function that looks at the channel at every invocation, unless told otherwise."""
        timeout = int(env.pop("timeout", 60))
        return self.stack.function(env={"MODEL_REFRESH_SECONDS": "0", **env}, timeout=timeout)

    def served(self, response: Any, like: str = "") -> str:
        """Return the version that a response names, all of its items compared with its own, or another's."""
        assert response["statusCode"] == 200, response
        version = response["body"]["model"]["version"]
        expected = self._answers[like or version]
        for number, prediction in enumerate(response["body"]["predictions"]):
            [right] = expected[number % len(expected)]["hypotheses"]
            [found] = prediction["hypotheses"]
            assert found == right | {"score": pytest.approx(right["score"], abs=1e-4)}, version
        return version

    @contextlib.contextmanager
    def logged(self) -> Iterator[list[dict[str, Any]]]:
        """Fill a list with the JSON lines that functions print within the block."""
        lines: list[dict[str, Any]] = []
        start = self._log.stat().st_size
        yield lines
        with self._log.open("rb") as file:
            file.seek(start)
            lines += [json.loads(line) for line in file if line.startswith(b"{")]


def metrics(lines: list[dict[str, Any]]) -> set[str]:
    """Return the names of the metrics among log lines."""
    return {
        metric["Name"]
        for line in lines
        if "_aws" in line
        for block in line["_aws"]["CloudWatchMetrics"]
        for metric in block["Metrics"]
    }

"""Let OpenNMT-py 3.5.1 run as it is, on today's torch and a CPU, without packages that nothing here uses."""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from types import ModuleType
from typing import Any
from unittest.mock import patch

import torch

# `onmt.transforms` imports every file beside it, and these four need spacy, rapidfuzz, pyahocorasick or
# fasttext. An empty module under each name is found first: the files never run, their options do not exist.
UNUSED_TRANSFORMS = ("clean", "fuzzymatch", "inlinetags", "terminology")


def prepare() -> None:
    """Make `import onmt` work and its checkpoints load; call it before the first import of onmt."""
    for name in UNUSED_TRANSFORMS:
        sys.modules.setdefault(f"onmt.transforms.{name}", ModuleType(f"onmt.transforms.{name}"))
    # OpenNMT-py loads with torch's default, `weights_only`; options are the one class beside tensors.
    torch.serialization.add_safe_globals([argparse.Namespace])
    warnings.filterwarnings("ignore", category=FutureWarning, module="onmt")


def train(arguments: list[str], bfloat16: bool = True) -> None:
    """Run OpenNMT-py's training in this process.

    Args:
        arguments: the command line `onmt_train` would get.
        bfloat16: multiply matrices in bfloat16, a third faster on a CPU that has it; weights stay float32.

    """
    prepare()
    from onmt.bin.train import train as onmt_train
    from onmt.opts import train_opts

    options = parse_options(train_opts, arguments)
    with fast_cpu(bfloat16):
        onmt_train(options)


def translate(arguments: list[str]) -> None:
    """Run OpenNMT-py's translation in this process, with the command line `onmt_translate` would get."""
    prepare()
    from onmt.bin.translate import translate as onmt_translate
    from onmt.opts import translate_opts

    onmt_translate(parse_options(translate_opts, arguments))


def parse_options(add_options: Any, arguments: list[str]) -> argparse.Namespace:
    """Read a command line with OpenNMT-py's own parser."""
    from onmt.utils.parse import ArgumentParser

    parser = ArgumentParser()
    add_options(parser)
    options: argparse.Namespace = parser.parse_args(arguments)
    return options


@contextmanager
def fast_cpu(bfloat16: bool) -> Iterator[None]:
    """Train with fused Adam and, if asked, bfloat16: OpenNMT-py offers both on a GPU only."""

    def autocast(enabled: bool = False) -> torch.autocast:  # noqa: ARG001 - OpenNMT-py passes it
        return torch.autocast("cpu", dtype=torch.bfloat16, enabled=bfloat16)

    with (
        patch("torch.optim.Adam", partial(torch.optim.Adam, fused=True)),
        patch("torch.cuda.amp.autocast", autocast),
    ):
        yield

"""Converts the shipped model for the smoke prediction; run by the builder, with torch at hand.

CTranslate2 knows the attention of ``scaled-dot-flash``, but not by this name.
"""

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

import torch
from ctranslate2.converters import OpenNMTPyConverter

MODEL = Path(__file__).resolve().parents[3] / "models" / "en-es"


def main() -> None:
    """Write the converted model into the folder that the command names."""
    with torch.serialization.safe_globals([argparse.Namespace]):
        checkpoint = torch.load(MODEL / "en-es.pt", map_location="cpu", weights_only=True)
    checkpoint["opt"].self_attn_type = "scaled-dot"
    with tempfile.TemporaryDirectory() as folder:
        renamed = Path(folder) / "model.pt"
        torch.save(checkpoint, renamed)
        with torch.serialization.safe_globals([argparse.Namespace]):
            OpenNMTPyConverter(str(renamed)).convert(sys.argv[1], quantization="float32", force=True)
    shutil.copy(MODEL / "enes.model", sys.argv[1])


if __name__ == "__main__":
    main()

"""OpenNMT-py's own translate command, and a clock around its translating.

Run: ``python onmt_command.py`` with the arguments of ``onmt_translate``. The command runs as it is.
The last line that it prints holds, as JSON, the seconds that ``InferenceEnginePY.infer_file`` took, and the
process's peak memory in bytes. That method reads a file, batches it, translates it and writes another. What
comes before, imports and the model's loading, does not count.

It runs from a copy without four transforms: importing ``onmt.transforms`` imports them all, and these need
packages that only prepare training data.
"""

import json
import os
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

UNUSED_TRANSFORMS = ("terminology.py", "inlinetags.py", "fuzzymatch.py", "clean.py")


def copy_package(folder: Path) -> None:
    """Link OpenNMT-py's modules, but those transforms, into a folder that it can be imported from."""
    spec = find_spec("onmt")
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError("OpenNMT-py is not installed; run: make")
    original = Path(spec.submodule_search_locations[0])
    for path in sorted(original.rglob("*.py")):
        relative = path.relative_to(original)
        if relative.parts[0] == "transforms" and relative.name in UNUSED_TRANSFORMS:
            continue
        link = folder / "onmt" / relative
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(path)


def translate(folder: Path, model: Path, source: Path, batch_size: int, batch_type: str) -> dict[str, Any]:
    """Have a fresh process translate a file of tokenised sentences, beam 5, on one thread.

    Returns the ``seconds`` of translating, and ``peak``, bytes of memory. ``folder`` holds the copied
    package, and takes the output; ``batch_type`` is sents or tokens.
    """
    command: list[str | Path] = [
        sys.executable, "-W", "ignore", __file__, "-model", model, "-src", source,
        "-output", folder / "output.txt", "-beam_size", "5", "-n_best", "1",
        "-batch_size", str(batch_size), "-batch_type", batch_type, "-gpu", "-1",
    ]  # fmt: skip
    # The command loads checkpoints as torch did before 2.6.
    environment = os.environ | {
        "PYTHONPATH": str(folder),
        "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1",
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    """Run the command, and print what its translating took."""
    import torch
    from onmt.bin.translate import main as command
    from onmt.inference_engine import InferenceEnginePY

    torch.set_num_threads(1)
    infer_file = InferenceEnginePY.infer_file
    seconds = []

    def measure(engine: Any) -> Any:
        start = time.perf_counter()
        try:
            return infer_file(engine)
        finally:
            seconds.append(time.perf_counter() - start)

    InferenceEnginePY.infer_file = measure
    command()
    (line,) = (
        line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")
    )
    print(json.dumps({"seconds": sum(seconds), "peak": int(line.split()[1]) * 1024}))


if __name__ == "__main__":
    main()

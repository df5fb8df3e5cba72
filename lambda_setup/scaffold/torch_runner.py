"""A module of torch with its weights in safetensors: what it answers to its example.

Run as ``python torch_runner.py DIR TARGET`` in an environment with torch; ``DIR`` holds what
``export.export_module`` names. Writes ``weights.safetensors`` and ``settings.json`` into TARGET, and to
standard output JSON: ``data`` of the example, its ``predictions``, ``arrays``, the outputs that are arrays in
an answer, and ``libraries``; or ``reason`` alone.
"""

import json
import re
import shutil
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

RESERVED = {"index", "error", "s3"}
"""Names that outputs cannot have: of an item's number, of what failed, and of where a result is."""
SHORT = 64
"""As in the function's predictor."""


def list_types(value: Any) -> set[type]:
    """Return the types of the values in nested lists."""
    return set().union(*map(list_types, value)) if isinstance(value, list) else {type(value)}


def find_kind(value: Any) -> str:
    """Return torch's type of an example's numbers."""
    types = list_types(value)
    if types == {bool}:
        return "bool"
    if types and types <= {int, float}:
        return "float32" if float in types else "int64"
    got = ", ".join(sorted(one.__name__ for one in types)) or "empty lists"
    raise ValueError(f"example.json has values of type {got}; expected numbers, or lists of them")


def name_outputs(found: Any) -> dict[str, Any]:
    """Return a module's outputs by name, as the function's predictor does."""
    if isinstance(found, dict):
        return found
    many = found if isinstance(found, tuple | list) else [found]
    return {f"output_{number}" if number else "output": one for number, one in enumerate(many)}


def check_output(name: str, value: Any) -> None:
    """Refuse an output that has no way into a record; ValueError names it."""
    if not isinstance(value, torch.Tensor) or value.dim() == 0 or len(value) != 1:
        raise ValueError(f"its output {name} does not have the items as its first dimension")
    if not re.fullmatch(r"\w+", name) or name in RESERVED:
        raise ValueError(
            f"its output {name!r} needs another name: of letters, digits and _, and none of "
            f"{', '.join(sorted(RESERVED))}"
        )
    if value.is_floating_point() and not value.isfinite().all():
        raise ValueError(f"its output {name} of example.json is not finite")


def copy_weights(network: Any, loaded: dict[str, torch.Tensor], weights: Path, path: Path) -> None:
    """Write the weights as they are, or in the module's own types where they were saved in others.

    The function lays them into the module without a copy, and it computes in the types that they have.
    """
    types = {name: value.dtype for name, value in network.state_dict().items()}
    if all(value.dtype == types[name] for name, value in loaded.items()):
        shutil.copyfile(weights, path)
    else:
        save_file({name: value.to(types[name]) for name, value in loaded.items()}, path)


def run(folder: Path, target: Path) -> dict[str, Any]:
    """Answer the example, and return what the module says; ValueError for a module that has no way."""
    sys.path.insert(0, str(folder))
    from network import Network  # type: ignore[import-not-found]  # of the folder

    config = folder / "config.json"
    arguments = json.loads(config.read_text(encoding="utf-8")) if config.is_file() else {}
    data = json.loads((folder / "example.json").read_text(encoding="utf-8"))["data"]
    [weights] = folder.glob("*.safetensors")
    network = Network(**arguments).eval()
    loaded = load_file(weights)
    network.load_state_dict(loaded)
    inputs = {name: find_kind([item[name] for item in data]) for name in data[0]}
    predictions, arrays = [], set()
    for index, item in enumerate(data):
        feed = {name: torch.tensor([item[name]], dtype=getattr(torch, kind)) for name, kind in inputs.items()}
        with torch.inference_mode():
            outputs = name_outputs(network(**feed))
        for name, value in outputs.items():
            check_output(name, value)
            if value[0].dim() > 1 or value[0].numel() > SHORT:
                arrays.add(name)
        shown = {
            name: value[0].byte() if name in arrays and value.dtype == torch.bool else value[0]
            for name, value in outputs.items()
        }
        predictions.append({"index": index, **{name: value.tolist() for name, value in shown.items()}})
    copy_weights(network, loaded, weights, target / "weights.safetensors")
    dimensions = {name: torch.tensor(data[0][name]).dim() for name in inputs}
    settings = {
        "arguments": arguments,
        "inputs": {name: (kind, dimensions[name]) for name, kind in inputs.items()},
    }
    (target / "settings.json").write_text(json.dumps(settings, indent=1) + "\n", encoding="utf-8")
    libraries = {"torch": version("torch").partition("+")[0]}
    return {"data": data, "predictions": predictions, "arrays": sorted(arrays), "libraries": libraries}


def main(folder: Path, target: Path) -> int:
    """Answer the example; return 0, also if the module cannot."""
    try:
        result = run(folder, target)
    except ModuleNotFoundError as error:
        result = {"reason": f"{error}; it may import torch, numpy, and what lies beside network.py"}
    except Exception as error:  # noqa: BLE001 - the module's own code runs
        result = {"reason": f"{type(error).__name__}: {' '.join(str(error).split())}"}
    print(json.dumps(result), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))

"""Posts about the same by hand, beside the examples: the part of docs/examples.md that has numbers.

The figures of posts are their own, and stand here. Braces name rows, whose values are ours.
"""

import re
from collections.abc import Mapping

PART = """\
| | a post of that kind | here |
|---|---|---|
| **spaCy** | strips an installed spaCy of its languages, and shares the layer with everybody | \
[examples/spacy_function](../examples/spacy_function/README.md) |
| size of the layer | 400 MB, cut to 110 MB | {layer.size.spacy}, and the model in S3 |
| cold start | 1, [rebuilt by us](../bench/baselines/usual_spacy.py) | {cold_start.spacy} times as fast |
| by hand, for every version | 5 steps: install, delete folders while it still imports, zip, upload, share | \
3 commands: `sam build`, `sam deploy`, `lambda_setup model publish`; to share the layer 2: `layer build`, \
`layer publish` |
| **fastai** | comments imports out in fastai's sources, and has torch in a layer beside it | \
[examples/fastai_function](../examples/fastai_function/README.md) |
| size without torch | 970 MB, cut to 102 MB | {layer.size.fastai_own} |
| cold start | 1, [rebuilt by us](../bench/baselines/usual_fastai.py) | {cold_start.fastai} times as fast |
| by hand, for every version | 5 steps: install, edit every file whose import fails, delete what is imported \
no longer, zip, upload both layers | the same 3 commands; the edits are \
[patches](../layer/recipes/fastai/recipe.toml), and a build stops where one no longer fits |
| **Keras** | fetches the architecture as JSON and the weights, 18 million parameters, from S3 | \
[examples/keras_function](../examples/keras_function/README.md) |
| size of the layer | not told | {layer.size.onnxruntime} with ONNX Runtime; with Keras {layer.size.keras}, \
unpacked |
| cold start, 18 million parameters | 1, [rebuilt by us](../bench/baselines/usual_keras.py) | \
{cold_start.onnxruntime_wide} times as fast with ONNX Runtime, {cold_start.keras_wide} with Keras |
| cold start, the shipped network | 1, the same | {cold_start.onnxruntime} times as fast with ONNX Runtime, \
{cold_start.keras} with Keras |
| by hand, when versions differ | 4 steps: write the network again in code, load the weights into it, save \
both, upload both | the function says which version saved the model, and which one it has; with ONNX Runtime \
it has no Keras to differ |
"""

_ROW = re.compile(r"\{([a-z_.]+)\}")


def list_rows() -> list[str]:
    """Return the names of the rows in the part."""
    return _ROW.findall(PART)


def fill_part(values: Mapping[str, str]) -> str:
    """Return the part with the values of rows by their names; a missing one reads "(not measured)"."""
    return _ROW.sub(lambda match: values.get(match[1], "(not measured)"), PART)

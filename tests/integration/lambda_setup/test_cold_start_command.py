"""``cold-start`` with a real function, its layers, a real S3, and scripts beside it."""

import re

import pytest

from lambda_setup.__main__ import main

pytestmark = pytest.mark.check


def read_table(printed: str) -> dict[str, list[str]]:
    """Return the numbers of the table by the beginnings of its lines."""
    rows = (re.split(r"  +", line.strip()) for line in printed.splitlines())
    return {row[0]: row[1:] for row in rows}


def test_function_beside_the_usual_recipe(tmp_path, capsys):
    """Every phase has its milliseconds on both sides, and the picture is drawn."""
    assert main(["cold-start", "keras", "--repetitions", "1", "--out", str(tmp_path / "new" / "t.svg")]) == 0
    printed = capsys.readouterr().out
    rows = read_table(printed)
    for side in (0, 1):
        phases = [int(row[side].replace(",", "")) for row in list(rows.values())[1:7]]
        whole = int(rows["all"][side].replace(",", ""))
        assert abs(sum(phases) - whole) <= len(phases)
        assert all(phase > 0 for phase in phases[:3])
    assert re.search(
        r"keras answers after [\d,]+ ms, plain script after [\d,]+: \d\.\d\d of its time", printed
    )
    assert re.search(r"beside its imports the model comes from S3, 0\.0 MB: \d+ ms", printed)
    assert (tmp_path / "new" / "t.svg").read_text().startswith("<svg ")


def test_function_beside_a_script(tmp_path, capsys):
    """It has the layers, and the model in both places; what it does at its top is one phase."""
    script = tmp_path / "mine.py"
    script.write_text(
        "import os, boto3, numpy, onnxruntime\n"
        "[graph] = [name for name in os.listdir(os.environ['MODEL_FOLDER']) if name.endswith('.onnx')]\n"
        "key = os.environ['MODEL_PREFIX'] + '/' + graph\n"
        "body = boto3.client('s3').get_object(Bucket=os.environ['MODEL_BUCKET'], Key=key)['Body'].read()\n"
        "assert body == open(os.path.join(os.environ['MODEL_FOLDER'], graph), 'rb').read()\n"
        "def lambda_handler(event, context):\n"
        "    return len(event['data'])\n"
    )
    assert main(["cold-start", "keras", "--repetitions", "1", "--script", str(script)]) == 0
    rows = read_table(capsys.readouterr().out)
    assert len(rows["load the model; what the script does at its top"]) == 2
    script.write_text("import nothing")
    assert main(["cold-start", "keras", "--repetitions", "1", "--script", str(script)]) == 2
    assert "No module named 'nothing'" in capsys.readouterr().err

"""The pictures that explain show what is so: modules that there are, starts and pages that were recorded."""

import json
import re
from pathlib import Path
from xml.etree import ElementTree as ET

import msgspec
import pytest
from support.project import ROOT

from lambda_inference import _errors
from lambda_inference._errors import Fault
from lambda_setup.deployment.cold_start.measure import Comparison, Measured, Start
from tools.pages import diagrams


@pytest.mark.parametrize("step", diagrams.STEPS)
def test_a_request_goes_through_modules_that_there_are(step: diagrams.Step) -> None:
    """Each step is a module's, and an error on the way has a status of the library's."""
    assert (ROOT / "layer" / "python" / "lambda_inference" / f"{step.module}.py").is_file()
    statuses = {
        one.status for one in vars(_errors).values() if isinstance(one, type) and issubclass(one, Fault)
    }
    assert {int(status) for status in re.findall(r"^\d{3}", step.aside)} <= statuses


def test_the_way_begins_and_ends_with_the_caller() -> None:
    """And each step starts where the one before left the function, or the caller."""
    assert (diagrams.STEPS[0].start, diagrams.STEPS[-1].end) == ("caller", "caller")
    assert {step.start for step in diagrams.STEPS[1:]} == {"function"}


def test_the_queues_are_those_of_the_template() -> None:
    """And the numbers of tries; asynchronous invocations have Lambda's default."""
    template = (ROOT / "template.yaml").read_text(encoding="utf-8")
    assert {f"\n  {name}:" in template for name in diagrams.PLACES if name.endswith("Queue")} == {True}
    assert re.search(r"maxReceiveCount: 5\b", template)
    assert ("RequestQueue", "FailureQueue", "received five times") in diagrams.WAYS
    assert "QueueBatchSize" in template
    assert {place for way in diagrams.WAYS for place in way[:2]} == set(diagrams.PLACES)


@pytest.mark.parametrize("draw", [diagrams.draw_request, diagrams.draw_queues, diagrams.draw_code])
def test_pictures_are_xml_with_a_title(draw) -> None:
    """On white ground, so that a dark page can show them."""
    picture = ET.fromstring(draw())  # noqa: S314 - our own
    assert picture.find("{*}title").text
    assert picture.find("{*}rect").get("fill") == "#ffffff"


def test_recorded_starts_are_drawn(tmp_path: Path) -> None:
    """With what they say; without a record there is neither picture nor part."""
    ends = {"interpreter": 0.1, "package": 0.2, "imports": 0.5, "model": 0.6, "load": 0.7, "answer": 0.8}
    starts = [Start(ends, {"model": (0.2, 0.6)})] * 3
    path = tmp_path / "starts.json"
    assert diagrams.show_cold_start(path) == ("", "")
    found = Comparison(Measured("mine", starts), Measured("plain script", starts), 5_000_000, 0)
    path.write_bytes(msgspec.json.encode(found))
    part, picture = diagrams.show_cold_start(path)
    assert "medians of 3 starts" in part
    assert "](images/cold_start.svg)" in part
    assert "- mine answers after 800 ms, plain script after 800: 1.00 of its time" in part
    assert ET.fromstring(picture).find("{*}title").text == "Cold starts: mine and plain script"  # noqa: S314


def test_every_page_of_code_has_its_place(tmp_path: Path) -> None:
    """A cell is so many pages; what is more than half hot is darker, and cells in a row are one square."""
    record = tmp_path / "hot.json"
    record.write_text(json.dumps({"lib.so": {"sha256": "", "pages": "0+8 9+1 40+16 63+1"}}))
    picture = ET.fromstring(diagrams.draw_code(record, "lib.so", columns=2, block=16))  # noqa: S314
    everything, some, most = (path.get("d") for path in picture.iter("{http://www.w3.org/2000/svg}path"))
    assert everything == "M12 44h10v5h-10zM12 49h10v5h-10z"
    assert most == "M12 44h5v5h-5zM17 49h5v5h-5z"  # 9 of 16 pages
    assert some == "M12 49h5v5h-5z"  # 8 of 16
    assert "0 of 0 MB" in picture.find("{*}title").text

"""Coverage by room."""

from support.project import ROOT

from tools.trust.rooms import ROOMS, sum_rooms


def test_a_rooms_files_are_summed():
    """At any depth; a room without files has no line."""
    files = {"layer/builder/a.py": (10, 5), "layer/builder/slim/b.py": (10, 10), "lambda_setup/x.py": (1, 0)}
    assert sum_rooms(files) == [("layer/builder", 20, 15)]


def test_every_room_is_there():
    """A room that is renamed would be left out silently."""
    assert [room for room in ROOMS if not (ROOT / room).is_dir()] == []

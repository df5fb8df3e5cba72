"""What is audited: every lock, by names and versions that a database knows."""

from tools.trust.audit import list_locks, read_pins


def test_pins_of_both_kinds_of_locks():
    """With hashes on lines of their own, or beside; a local part of a version goes."""
    text = (
        "# a==1 is a comment\ntorch==2.13.0+cpu --hash=sha256:0  # torch-2.13.0.whl\n"
        "six==1.17.0 ; python_version < '4' \\\n    --hash=sha256:1\n"
    )
    assert read_pins(text) == ["six==1.17.0", "torch==2.13.0"]


def test_every_lock_has_pins():
    """That of ``make``, and one of each layer."""
    locks = list_locks()
    assert locks[0].name == "requirements.lock"
    assert len(locks) > 20
    assert all(read_pins(lock.read_text()) for lock in locks)

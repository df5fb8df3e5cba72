"""Files that several processes may write at the same time."""

import multiprocessing
from pathlib import Path

import pytest

from layer.builder.tree import lock_exclusive, write_atomic


class TestWriteAtomic:
    """A file is replaced as a whole."""

    @pytest.mark.parametrize(("content", "expected"), [("é\n", "é\n".encode()), (b"\0", b"\0")])
    def test_content(self, content: str | bytes, expected: bytes, tmp_path: Path) -> None:
        """Text is written as UTF-8, bytes as they are, folders are created, and nothing else is left."""
        path = tmp_path / "new" / "file"
        write_atomic(path, content)

        assert path.read_bytes() == expected
        assert list(path.parent.iterdir()) == [path]

    def test_failure(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A write that fails leaves the old content, and no partial file."""
        path = tmp_path / "file"
        path.write_text("old")

        def fail(*_: object) -> None:
            raise OSError("no space left")

        monkeypatch.setattr(Path, "replace", fail)
        with pytest.raises(OSError, match="no space left"):
            write_atomic(path, "new")
        assert path.read_text() == "old"
        assert list(tmp_path.iterdir()) == [path]


class TestLockExclusive:
    """One holder at a time."""

    @pytest.mark.parametrize("name", ["folder", "file"])
    def test_refused(self, name: str, tmp_path: Path) -> None:
        """Whoever does not wait is refused while another holds the lock, and gets it afterwards."""
        (tmp_path / "folder").mkdir()
        (tmp_path / "file").touch()
        again = lock_exclusive(tmp_path / name, wait=False)
        with lock_exclusive(tmp_path / name), pytest.raises(BlockingIOError), again:
            pass
        with lock_exclusive(tmp_path / name, wait=False):
            pass

    def test_released_by_death(self, tmp_path: Path) -> None:
        """A process that is killed does not keep its lock."""
        context = multiprocessing.get_context("fork")
        holds = context.Event()

        def hold() -> None:
            with lock_exclusive(tmp_path):
                holds.set()
                context.Event().wait()

        process = context.Process(target=hold)
        process.start()
        assert holds.wait(60)
        process.kill()
        with lock_exclusive(tmp_path):
            process.join()

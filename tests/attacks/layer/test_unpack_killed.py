"""Attacks on a nested layer: processes killed at any instant, and more than one at once.

The README in the folder above says what each attack is, and what the answer must be.
"""

import random
import shutil
import signal
import threading
import time
from dataclasses import replace

import pytest
from support.unpacking import INSTANTS, SEED, end, go, names, stopped

from lambda_inference import _unpack


class TestKilled:
    """A process ends at any instant; the next one finds nothing wrong."""

    @pytest.mark.check
    def test_at_random_instants(self, nested, temporary):
        """Spread over the whole time, a kill leaves no half tree and nothing that the next one keeps."""
        dice = random.Random(SEED)  # noqa: S311
        times = []
        for _ in range(3):
            process = nested.start(temporary)
            start = time.perf_counter()
            go(process)
            process.stdout.read()
            times.append(time.perf_counter() - start)
            assert process.wait() == 0
            shutil.rmtree(nested.final(temporary))

        struck = 0
        for number in range(INSTANTS):
            instant = dice.uniform(0, sorted(times)[1])
            if number % 2:  # wherever the clock says, which may be too late
                process = nested.start(temporary)
                go(process)
                time.sleep(instant)
                process.kill()
            else:
                process = nested.start(temporary, "any", dice.randrange(1, 130))
                go(process)
            struck += end(process) == ""
            try:
                nested.check_after_kill(temporary)
            except AssertionError as error:
                error.add_note(f"seed {SEED}, kill {number}, after {instant:.6f} of {times} s")
                raise
            shutil.rmtree(nested.final(temporary))
        assert struck >= INSTANTS // 2

    @pytest.mark.parametrize(
        ("event", "number"),
        [
            ("os.mkdir", 1),  # before anything is there
            ("fcntl.flock", 1),  # an empty folder that nobody has locked
            ("os.mkdir", 2),  # locked
            ("os.mkdir", 9),
            ("open", 3),  # the archive and its folder are the first two
            ("open", 40),
            ("open", 110),
            ("os.rename", 1),  # everything is there, under the other name
        ],
    )
    def test_at_every_kind_of_step(self, nested, temporary, event, number):
        """Whatever it was about to do, the next one begins anew."""
        process = nested.start(temporary, event, number)
        go(process)
        assert end(process) == ""
        assert process.returncode == -signal.SIGKILL
        assert not nested.final(temporary).exists()
        nested.check_after_kill(temporary)

    def test_again_and_again(self, nested, temporary):
        """Every attempt is killed a little later than the one before; the last one is whole."""
        for number in (30, 60, 90, 120):
            process = nested.start(temporary, "any", number)
            go(process)
            assert end(process) == ""
            assert names(temporary) == [nested.partial(temporary).name]
        nested.check_after_kill(temporary)


class TestAtOnce:
    """Of several processes one unpacks, and the others use what it made."""

    @pytest.mark.parametrize("count", [2, 4])
    def test_one_unpacks(self, nested, temporary, count):
        """They start together; exactly one makes the tree."""
        processes = [nested.start(temporary) for _ in range(count)]
        go(*processes)
        assert sorted(map(end, processes)) == ["made", *["reused"] * (count - 1)]
        nested.check(temporary)

    @pytest.mark.parametrize("count", [2, 4])
    def test_one_is_killed(self, nested, temporary, count):
        """Whoever of them is killed in the midst, the others end well."""
        victim = nested.start(temporary, "any", 60)  # of its own steps, if it is the one that unpacks
        others = [nested.start(temporary) for _ in range(count - 1)]
        go(victim, *others)
        assert sorted(map(end, others)) == ["made", *["reused"] * (count - 2)]
        assert end(victim) in {"", "reused"}
        nested.check(temporary)

    @pytest.mark.parametrize("count", [1, 3])
    def test_waiting_ones_take_over(self, nested, temporary, count):
        """Of those that wait for a process that is killed one unpacks, over what that left."""
        first = nested.start(temporary, "open", 50, "SIGSTOP")
        go(first)
        stopped(first)
        others = [nested.start(temporary) for _ in range(count)]
        go(*others)
        for process in others:
            assert process.stdout.readline() == "lock\n"
        first.kill()
        assert sorted(map(end, others)) == ["made", *["reused"] * (count - 1)]
        assert end(first) == ""
        nested.check(temporary)

    def test_a_waiting_one_uses_what_is_made(self, nested, temporary):
        """Who waits for a process that goes on does not unpack a second time."""
        first = nested.start(temporary, "open", 50, "SIGSTOP")
        go(first)
        stopped(first)
        second = nested.start(temporary)
        go(second)
        assert second.stdout.readline() == "lock\n"
        first.send_signal(signal.SIGCONT)
        assert end(first) == "made"
        assert end(second) == "reused"
        nested.check(temporary)

    def test_all_cores_are_used(self, nested, temporary, monkeypatch):
        """No frame is begun before there is a thread at work for each core."""
        together = threading.Barrier(len(nested.frames) - 1, timeout=60)
        load = _unpack._Work._load
        monkeypatch.setattr(_unpack, "_count_cores", lambda: together.parties)
        monkeypatch.setattr(_unpack._Work, "_load", lambda *given: (together.wait(), load(*given)))
        nested.unpack(temporary)
        nested.check(temporary)

    def test_a_slow_one_finds_it_done(self, nested, temporary):
        """Another one begins and ends after a look that found nothing: its tree is used."""
        slow = nested.start(temporary, "os.mkdir", 1, "SIGSTOP")
        go(slow)
        stopped(slow)
        fast = nested.start(temporary)
        go(fast)
        assert end(fast) == "made"
        slow.send_signal(signal.SIGCONT)
        assert end(slow) == "reused"
        nested.check(temporary)

    def test_a_waiting_one_survives_a_failure(self, nested, temporary, tmp_path):
        """Who waits for a process that fails tries for itself."""
        damaged = tmp_path / "damaged.tar.zst"
        whole = bytearray(nested.archive.read_bytes())
        whole[nested.frames[2] + 100] ^= 1
        damaged.write_bytes(whole)
        first = replace(nested, archive=damaged).start(temporary, "os.mkdir", 5, "SIGSTOP")
        go(first)
        stopped(first)
        second = nested.start(temporary)
        go(second)
        assert second.stdout.readline() == "lock\n"
        first.send_signal(signal.SIGCONT)
        assert end(second) == "made"
        assert end(first) == ""
        nested.check(temporary)

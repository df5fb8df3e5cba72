"""Hold a command to Lambda's terms by mounts and limits, and become it; ``verify.terms`` starts this.

It runs in the builder's Python, inside the command's namespaces: an emulator cannot mount anything.
"""

import ctypes
import fcntl
import json
import os
import resource
import socket
import stat
import struct
import sys
from collections.abc import Iterable
from typing import Any

_READ_ONLY, _NO_SETUID, _NO_DEVICES, _BIND, _RECURSIVE = 1, 2, 4, 4096, 16384
_MOUNT_SETATTR, _HERE, _WITH_MOUNTS_BELOW = 442, -100, 0x8000
"""The number of mount_setattr(2), which Linux 5.12 brought, and two of its arguments."""

_SET_FLAGS, _UP, _RUNNING = 0x8914, 0x1, 0x40
"""SIOCSIFFLAGS and two flags of netdevice(7)."""

_DEVICES = ("null", "zero", "full", "random", "urandom")


def main() -> None:
    """Read the plan, JSON, from the first argument, and become the command that the others are."""
    plan, command = json.loads(sys.argv[1]), sys.argv[2:]
    if plan["loopback"]:
        start_loopback()
    if plan["mounts"]:
        mount_all(plan)
    if sys.platform == "linux":
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[os.getpid() % len(cores)]})  # builds side by side take different ones
        # Not of addresses: emulators and libraries reserve more of them than they use.
        most = resource.getrlimit(resource.RLIMIT_DATA)[1]
        limit = min(plan["memory"], most) if most != resource.RLIM_INFINITY else plan["memory"]
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    os.chdir(plan["cwd"])
    os.execvpe(command[0], command, plan["environment"])  # noqa: S606


def start_loopback() -> None:
    """Have 127.0.0.1 in this network namespace, as Lambda has it: where nothing else can be reached."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, _SET_FLAGS, struct.pack("16sh14x", b"lo", _UP | _RUNNING))


def mount_all(plan: dict[str, Any]) -> None:
    """Make everything read-only, /tmp new and writable, /dev without shared memory, some files unreadable."""
    make_read_only("/", _WITH_MOUNTS_BELOW)
    cover("/tmp", f"mode=1777,size={plan['temporary']}", plan["paths"])  # noqa: S108
    cover("/dev", "mode=755", [*(f"/dev/{name}" for name in _DEVICES), *plan["paths"]])
    for name, target in (("fd", ""), ("stdin", "/0"), ("stdout", "/1"), ("stderr", "/2")):
        os.symlink(f"/proc/self/fd{target}", f"/dev/{name}")  # noqa: PTH211
    make_read_only("/dev", 0)
    # Even root cannot open a socket's file.
    os.mknod("/tmp/.unreadable", stat.S_IFSOCK)  # noqa: S108
    for path in plan["unreadable"]:
        if os.path.exists(path):  # noqa: PTH110
            mount("/tmp/.unreadable", path, "", _BIND)  # noqa: S108
    os.unlink("/tmp/.unreadable")  # noqa: PTH108, S108


def make_read_only(path: str, flags: int) -> None:
    """Make the mount at a path read-only; those below it too, with that flag."""
    attributes = (ctypes.c_uint64 * 4)(_READ_ONLY)
    here, size = ctypes.c_long(_HERE), ctypes.c_long(ctypes.sizeof(attributes))
    call(
        [ctypes.c_long(_MOUNT_SETATTR), here, os.fsencode(path), ctypes.c_long(flags), attributes, size],
        "syscall",
        path,
    )


def cover(folder: str, options: str, paths: Iterable[str]) -> None:
    """Mount an empty folder in memory over a folder; of the paths, those inside stay as they are."""
    inside = sorted({path for path in paths if path.startswith(folder + os.sep) and os.path.exists(path)})  # noqa: PTH110
    descriptors = {path: os.open(path, os.O_PATH) for path in inside}
    mount("tmpfs", folder, "tmpfs", _NO_SETUID | _NO_DEVICES, options)
    for place, descriptor in descriptors.items():
        path = os.path.realpath(place)  # a link in a folder that is there again may lead to one that is not
        is_folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        os.makedirs(path if is_folder else os.path.dirname(path), exist_ok=True)  # noqa: PTH103, PTH120
        if not os.path.exists(path):  # noqa: PTH110
            os.mknod(path)
        mount(f"/proc/self/fd/{descriptor}", path, "", _BIND | _RECURSIVE)
        os.close(descriptor)


def mount(source: str, target: str, kind: str, flags: int, options: str = "") -> None:
    """Mount a file system, or another path, at a path; the arguments are the system call's."""
    arguments = [os.fsencode(source), os.fsencode(target), kind.encode(), ctypes.c_ulong(flags)]
    call([*arguments, options.encode()], "mount", target)


def call(arguments: list[Any], function: str, path: str) -> None:
    """Call a function of the C library; its failure is an OSError."""
    if getattr(ctypes.CDLL(None, use_errno=True), function)(*arguments):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), path)


if __name__ == "__main__":
    main()

"""An object's bytes from S3 into memory by the fastest means there are, without a check of what came.

Each reader takes a store and a key, and a size that it is told; what is connected to is the same server.
Memory is mapped, not zeroed first, and shared by the threads of a reader.
"""

import http.client
import mmap
import socket
import threading
from collections.abc import Callable
from datetime import timedelta
from urllib.parse import SplitResult, urlsplit

import obstore
from obstore.store import S3Store

MIB = 1024 * 1024
Range = Callable[[memoryview, int], None]


def http_whole(store: S3Store, key: str, size: int) -> memoryview:
    """Read by one request of Python's own client."""
    return _read_ranges(_http(_sign(store, key)), size, size, 1)


def http_halves(store: S3Store, key: str, size: int) -> memoryview:
    """Read by two requests of Python's own client, side by side."""
    return _read_ranges(_http(_sign(store, key)), size, -(-size // 2), 2)


def sockets_whole(store: S3Store, key: str, size: int) -> memoryview:
    """Read from a bare socket."""
    return _read_ranges(_socket(_sign(store, key)), size, size, 1)


def sockets_halves(store: S3Store, key: str, size: int) -> memoryview:
    """Read from two bare sockets, side by side."""
    return _read_ranges(_socket(_sign(store, key)), size, -(-size // 2), 2)


def obstore_8_by_2(store: S3Store, key: str, size: int) -> memoryview:
    """Read ranges of 8 MiB by obstore and two threads."""
    return _read_ranges(_obstore(store, key), size, 8 * MIB, 2)


def obstore_16_by_2(store: S3Store, key: str, size: int) -> memoryview:
    """Read ranges of 16 MiB by obstore and two threads."""
    return _read_ranges(_obstore(store, key), size, 16 * MIB, 2)


def obstore_16_by_4(store: S3Store, key: str, size: int) -> memoryview:
    """Read ranges of 16 MiB by obstore and four threads."""
    return _read_ranges(_obstore(store, key), size, 16 * MIB, 4)


READERS: dict[str, Callable[[S3Store, str, int], memoryview]] = {
    "http.client, one request": http_whole,
    "http.client, two requests": http_halves,
    "a bare socket": sockets_whole,
    "two bare sockets": sockets_halves,
    "obstore, 8 MiB by 2 threads": obstore_8_by_2,
    "obstore, 16 MiB by 2 threads": obstore_16_by_2,
    "obstore, 16 MiB by 4 threads": obstore_16_by_4,
}


def _read_ranges(read: Range, size: int, length: int, threads: int) -> memoryview:
    """Fill a buffer by ranges of a length, each taken by the next thread that is free."""
    buffer = memoryview(mmap.mmap(-1, size))
    starts = iter(range(0, size, length))
    lock = threading.Lock()

    def work() -> None:
        while True:
            with lock:
                start = next(starts, None)
            if start is None:
                return
            read(buffer[start : start + length], start)

    workers = [threading.Thread(target=work) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return buffer


def _sign(store: S3Store, key: str) -> SplitResult:
    return urlsplit(obstore.sign(store, "GET", key, timedelta(hours=1)))


def _range_header(view: memoryview, start: int) -> str:
    return f"bytes={start}-{start + len(view) - 1}"


def _obstore(store: S3Store, key: str) -> Range:
    def read(view: memoryview, start: int) -> None:
        view[:] = memoryview(obstore.get_range(store, key, start=start, length=len(view)))

    return read


def _http(url: SplitResult) -> Range:
    def read(view: memoryview, start: int) -> None:
        connection = http.client.HTTPConnection(url.netloc)
        connection.request("GET", f"{url.path}?{url.query}", headers={"Range": _range_header(view, start)})
        answer = connection.getresponse()
        while view:
            view = view[answer.readinto(view) :]
        connection.close()

    return read


def _socket(url: SplitResult) -> Range:
    def read(view: memoryview, start: int) -> None:
        with socket.create_connection((url.hostname or "", url.port or 80)) as connection:
            connection.sendall(
                f"GET {url.path}?{url.query} HTTP/1.1\r\nHost: {url.netloc}\r\n"
                f"Range: {_range_header(view, start)}\r\n\r\n".encode()
            )
            received = b""
            while b"\r\n\r\n" not in received:
                received += connection.recv(4096)
            first = received.partition(b"\r\n\r\n")[2]
            view[: len(first)] = first
            view = view[len(first) :]
            while view:
                view = view[connection.recv_into(view, 0, socket.MSG_WAITALL) :]

    return read

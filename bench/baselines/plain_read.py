"""An object's bytes from S3 into memory by the fastest means there are, without a check of what came.

Each reader takes a store and a key, and a size that it is told; what is connected to is the same server.
Memory is mapped, not zeroed first, and shared by the threads of a reader.
"""

import http.client
import mmap
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from urllib.parse import SplitResult, urlsplit

import obstore
from obstore.store import S3Store

MIB = 1024 * 1024
Range = Callable[[memoryview, int], None]
Reader = Callable[[S3Store, str, int], memoryview]


def make_reader(connect: Callable[[S3Store, str], Range], threads: int, length: int = 0) -> Reader:
    """Return a reader by threads, each of which takes the next range of a length, or one equal part."""

    def read(store: S3Store, key: str, size: int) -> memoryview:
        buffer = memoryview(mmap.mmap(-1, size))
        step = length or -(-size // threads)
        read_range = connect(store, key)
        with ThreadPoolExecutor(threads) as pool:
            list(
                pool.map(lambda start: read_range(buffer[start : start + step], start), range(0, size, step))
            )
        return buffer

    return read


def _sign(store: S3Store, key: str) -> SplitResult:
    return urlsplit(obstore.sign(store, "GET", key, timedelta(hours=1)))


def _range_header(view: memoryview, start: int) -> str:
    return f"bytes={start}-{start + len(view) - 1}"


def _obstore(store: S3Store, key: str) -> Range:
    def read(view: memoryview, start: int) -> None:
        view[:] = memoryview(obstore.get_range(store, key, start=start, length=len(view)))

    return read


def _http(store: S3Store, key: str) -> Range:
    url = _sign(store, key)

    def read(view: memoryview, start: int) -> None:
        connection = http.client.HTTPConnection(url.netloc)
        connection.request("GET", f"{url.path}?{url.query}", headers={"Range": _range_header(view, start)})
        answer = connection.getresponse()
        while view:
            view = view[answer.readinto(view) :]
        connection.close()

    return read


def _socket(store: S3Store, key: str) -> Range:
    url = _sign(store, key)

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


READERS: dict[str, Reader] = {
    "http.client, one request": make_reader(_http, 1),
    "http.client, two requests": make_reader(_http, 2),
    "a bare socket": make_reader(_socket, 1),
    "two bare sockets": make_reader(_socket, 2),
    "obstore, 8 MiB by 2 threads": make_reader(_obstore, 2, 8 * MIB),
    "obstore, 16 MiB by 2 threads": make_reader(_obstore, 2, 16 * MIB),
    "obstore, 16 MiB by 4 threads": make_reader(_obstore, 4, 16 * MIB),
}

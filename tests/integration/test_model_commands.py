"""The operator's commands on a model bucket: list, show, verify, promote, rollback, prune."""

import json
import shutil
import subprocess
import sys
import threading

import boto3
import pytest
from conftest import MODEL, ROOT
from moto.server import ThreadedMotoServer

from lambda_setup import channels, models
from lambda_setup.local import S3Server
from lambda_setup.manage import ModelBucket

BUCKET = "operated"
WHO = "arn:aws:sts::123456789012:user/moto"


@pytest.fixture(scope="module")
def server():
    """A real S3 server with an empty bucket."""
    with S3Server() as running:
        running.client().create_bucket(Bucket=BUCKET)
        yield running


@pytest.fixture(scope="module")
def account():
    """What says who is asking."""
    moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    moto.start()
    yield "http://{}:{}".format(*moto.get_host_and_port())
    moto.stop()


@pytest.fixture
def bucket(server):
    """The bucket, empty."""
    client = server.client()
    for one in client.list_objects_v2(Bucket=BUCKET).get("Contents", []):
        client.delete_object(Bucket=BUCKET, Key=one["Key"])
    return ModelBucket(client, BUCKET)


@pytest.fixture
def command(server, account, monkeypatch):
    """Run a command of ``model`` on the bucket, and return how it ended."""
    environment = server.environment() | {"AWS_ENDPOINT_URL_STS": account, "COLUMNS": "120"}
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    def run(*arguments: str) -> subprocess.CompletedProcess:
        call = [sys.executable, "-m", "lambda_setup", "model", *arguments, "--bucket", BUCKET]
        return subprocess.run(call, cwd=ROOT, capture_output=True, text=True, check=False)

    return run


def made(folder, number, *, smoke=True, text=None):
    """Return a folder with the shipped model as its own version of a library would have saved it."""
    folder = folder / f"en-es-{number}"
    folder.mkdir()
    for name in ("en-es.pt", "enes.model"):
        (folder / name).symlink_to(MODEL / name)
    stated = (MODEL / "model.toml").read_text().replace('torch = "2.13.0"', f'torch = "2.13.{number}"')
    if not smoke:
        stated = stated.partition("[smoke")[0]
    if text:
        stated = stated.replace("Se ha cambiado la tabla.", text)
    (folder / "model.toml").write_text(stated)
    return folder


def published(bucket, *folders):
    """Publish models to dev one after the other, and return their versions."""
    for folder in folders:
        models.publish(folder, bucket.client, BUCKET, by="somebody")
    return [models.describe(folder).version for folder in folders]


class TestLook:
    """What is there."""

    def test_list_and_show(self, bucket, command, tmp_path):
        """Every model with its channels, every version, every move."""
        first, second = published(bucket, made(tmp_path, 1), made(tmp_path, 2))
        listed = command("list", "--json")
        shown = command("show", "en-es", "--json")

        assert json.loads(listed.stdout) == [
            {"name": "en-es", "channels": {"dev": second}, "versions": 2,
             "bytes": sum(one.bytes for one in bucket.versions("en-es"))}
        ]  # fmt: skip
        what = json.loads(shown.stdout)
        assert {one["version"] for one in what["versions"]} == {first, second}
        assert what["versions"][0]["manifest"]["engine"] == "opennmt"
        moves = what["channels"]["dev"]["history"]
        assert [(step["from"], step["to"], step["by"]) for step in moves] == [
            (None, first, "somebody"), (first, second, "somebody")
        ]  # fmt: skip
        for done, text in ((command("list"), "en-es"), (command("show", "en-es"), "somebody")):
            assert done.returncode == 0, done.stderr
            assert text in done.stdout
            assert second[:12] in done.stdout

    def test_nothing(self, bucket, command):
        """An empty bucket is no error, and a model that is not there is one."""
        del bucket
        assert (command("list").returncode, command("list", "--json").stdout) == (0, "[]\n")
        done = command("show", "nobody")
        assert done.returncode == 2
        assert done.stderr == "error: there is no model nobody in s3://operated; see: model list\n"


class TestVerify:
    """Every byte is read."""

    def test_whole(self, bucket, command, tmp_path):
        """What was published is whole, by its channel and by its first characters."""
        [version] = published(bucket, made(tmp_path, 1))
        for name in ("dev", version[:8]):
            done = command("verify", "en-es", name)
            assert (done.returncode, done.stdout) == (0, f"{version[:12]} is whole\n"), done.stderr

    @pytest.mark.parametrize("fault", ["flipped", "short", "long", "gone", "no manifest"])
    def test_damaged(self, bucket, command, tmp_path, fault):
        """Any damage is found, named, and an exit code of 1."""
        [version] = published(bucket, made(tmp_path, 1))
        key = f"models/en-es/versions/{version}/enes.model"
        data = bytearray((MODEL / "enes.model").read_bytes())
        if fault == "flipped":
            data[1000] ^= 1
        changed = {"short": data[:-1], "long": data + b"x"}.get(fault, data)
        bucket.client.put_object(Bucket=BUCKET, Key=key, Body=bytes(changed))
        if fault == "gone":
            bucket.client.delete_object(Bucket=BUCKET, Key=key)
        if fault == "no manifest":
            key = f"models/en-es/versions/{version}/manifest.json"
            bucket.client.delete_object(Bucket=BUCKET, Key=key)

        done = command("verify", "en-es", "dev", "--json")
        assert done.returncode == 1
        told = {"flipped": "damaged in the part", "short": "bytes, not", "long": "bytes, not",
                "gone": "enes.model is missing", "no manifest": "manifest.json is missing"}  # fmt: skip
        assert told[fault] in " ".join(json.loads(done.stdout)["faults"])


class TestRepair:
    """Published once more, a version gets back what it lacks."""

    @pytest.mark.parametrize("lost", ["en-es.pt", "enes.model", "manifest.json"])
    def test_lost(self, bucket, tmp_path, lost):
        """Only what is missing is uploaded, and the version is whole again."""
        folder = made(tmp_path, 1)
        [version] = published(bucket, folder)
        prefix = f"models/en-es/versions/{version}"
        bucket.client.delete_object(Bucket=BUCKET, Key=f"{prefix}/{lost}")
        sent = []
        assert models.publish(folder, bucket.client, BUCKET, progress=sent.append)

        assert sum(sent) == (0 if lost == "manifest.json" else (folder / lost).stat().st_size)
        assert bucket.verify("en-es", bucket.version("en-es", version), lambda _: None) == []
        assert not models.publish(folder, bucket.client, BUCKET)


class TestPromote:
    """From dev to prod, tried."""

    def test_promoted(self, bucket, command, tmp_path):
        """The candidate answers as it was published to, and prod moves; who did it is in the history."""
        [version] = published(bucket, made(tmp_path, 1))
        planned = command("promote", "en-es", "--dry-run")
        assert (planned.returncode, bucket.pointers("en-es").keys()) == (0, {"dev"}), planned.stderr

        done = command("promote", "en-es")
        assert done.returncode == 0, done.stderr
        pointer = bucket.pointers("en-es")["prod"]
        assert (pointer.version, pointer.history[-1]["by"]) == (version, WHO)
        assert "already" in command("promote", "en-es").stdout

    def test_other_answer(self, bucket, command, tmp_path):
        """One that answers otherwise stays where it is, and is told where it differs."""
        published(bucket, made(tmp_path, 1, text="Otra cosa."))
        done = command("promote", "en-es")

        assert done.returncode == 1
        assert "prod stays at nothing" in done.stderr
        assert "answer[1].hypotheses[0].text: Se ha cambiado la tabla., not Otra cosa." in done.stderr
        assert bucket.pointers("en-es").keys() == {"dev"}

    def test_damaged(self, bucket, command, tmp_path):
        """One that does not load stays where it is."""
        [version] = published(bucket, made(tmp_path, 1, smoke=False))
        key = f"models/en-es/versions/{version}/en-es.pt"
        bucket.client.put_object(Bucket=BUCKET, Key=key, Body=b"damaged")
        done = command("promote", "en-es")

        assert done.returncode == 1
        assert "it answers" in done.stderr
        assert bucket.pointers("en-es").keys() == {"dev"}

    def test_two_at_once(self, bucket, tmp_path):
        """Of two who move a channel at the same time, one wins and the other is told."""
        one, two = published(bucket, made(tmp_path, 1), made(tmp_path, 2))
        before = channels.read(bucket.client, BUCKET, "en-es", "dev")
        start, outcomes = threading.Barrier(2), []

        def move(version):
            client = boto3.Session().client(
                "s3", endpoint_url=bucket.client.meta.endpoint_url, region_name="us-east-1",
                aws_access_key_id=bucket.client._request_signer._credentials.access_key,
                aws_secret_access_key=bucket.client._request_signer._credentials.secret_key,
            )  # fmt: skip
            start.wait()
            try:
                channels.move(client, BUCKET, "en-es", "dev", version, before=before, by="one")
                outcomes.append(version)
            except client.exceptions.ClientError as error:
                outcomes.append(error.response["Error"]["Code"])

        threads = [threading.Thread(target=move, args=(version,)) for version in (one, two)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert outcomes.count("PreconditionFailed") == 1
        after = channels.read(bucket.client, BUCKET, "en-es", "dev")
        assert after.version in outcomes
        assert len(after.history) == len(before.history) + 1


class TestRollback:
    """One step back."""

    def test_back(self, bucket, command, tmp_path):
        """A channel goes where it was; a second time it goes forth again."""
        first, second = published(bucket, made(tmp_path, 1), made(tmp_path, 2))
        assert command("rollback", "en-es", "--channel", "dev", "--dry-run").returncode == 0
        for expected in (first, second):
            done = command("rollback", "en-es", "--channel", "dev")
            assert done.returncode == 0, done.stderr
            assert bucket.pointers("en-es")["dev"].version == expected

    def test_nowhere(self, bucket, command, tmp_path):
        """A channel that has not moved, or whose former version is gone, stays."""
        first, _ = published(bucket, made(tmp_path, 1), made(tmp_path, 2))
        assert "has not moved yet" in command("rollback", "en-es").stderr
        bucket.delete(bucket.version("en-es", first))
        done = command("rollback", "en-es", "--channel", "dev")
        assert done.returncode == 2
        assert f"version {first[:12]} is not whole any more" in done.stderr


class TestPrune:
    """Old versions go."""

    def test_kept(self, bucket, command, tmp_path):
        """The newest stay, what a channel points to, and what it would go back to; halves go."""
        folders = [made(tmp_path, number) for number in range(5)]
        versions = published(bucket, *folders)
        half = f"models/en-es/versions/{'0' * 64}/en-es.pt"
        bucket.client.put_object(Bucket=BUCKET, Key=half, Body=b"half")
        planned = command("prune", "en-es", "--keep", "1", "--dry-run", "--json")
        assert len(bucket.versions("en-es")) == 6

        done = command("prune", "en-es", "--keep", "1", "--json")
        assert json.loads(done.stdout) == json.loads(planned.stdout)
        left = {one.version for one in bucket.versions("en-es")}
        assert {versions[4], versions[3]} <= left
        assert left < set(versions)
        assert len(left) <= 3  # times are in seconds, so the newest may be another than the last
        shutil.rmtree(folders[0])

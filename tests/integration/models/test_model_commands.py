"""The operator's commands on a model bucket: publish, list, show, verify, promote, rollback, prune."""

import getpass
import json
import os
import shutil
import subprocess
import sys
import threading

import boto3
import pytest
from support.applications import create_bucket
from support.events import case
from support.project import MODEL, ROOT
from support.proxy import Gate, Proxy

from lambda_setup.__main__ import main
from lambda_setup.deployment.local import MODEL_BUCKET, S3Server
from lambda_setup.deployment.local.application import ACCESS_KEY, RESULT_BUCKET, SECRET_KEY
from lambda_setup.deployment.local.process import free_ports
from lambda_setup.models import channels, loading
from lambda_setup.models.bucket import ModelBucket
from lambda_setup.models.describe import describe
from lambda_setup.models.upload import publish, upload

BUCKET = "operated"
WHO = "arn:aws:sts::123456789012:user/moto"


@pytest.fixture(scope="module")
def server(stack):
    """Return a real S3 server with an empty bucket."""
    create_bucket(stack, BUCKET)
    return stack.s3


@pytest.fixture
def bucket(server):
    """Return the bucket, empty."""
    client = server.client()
    for one in client.list_objects_v2(Bucket=BUCKET).get("Contents", []):
        client.delete_object(Bucket=BUCKET, Key=one["Key"])
    return ModelBucket(client, BUCKET)


@pytest.fixture
def command(server, moto, monkeypatch, capsys):
    """Run a command of ``model`` on the bucket, in this process, and return how it ended."""
    environment = server.environment() | {"AWS_ENDPOINT_URL_STS": moto, "COLUMNS": "120"}
    monkeypatch.setattr(loading, "check", lambda *_: None)  # test_own_models.py has what it does
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    def run(*arguments: str) -> subprocess.CompletedProcess:
        call = ["model", *arguments, "--bucket", BUCKET]
        capsys.readouterr()
        try:
            code = main(call)
        except SystemExit as end:  # argparse's
            code = end.code
        return subprocess.CompletedProcess(call, code, *capsys.readouterr())

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
        publish(folder, bucket.client, BUCKET, by="somebody")
    return [describe(folder).version for folder in folders]


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
        assert done.stderr.startswith(
            "error: s3://operated has no model nobody; see: "
            "python -m lambda_setup model list --bucket operated"
        )


class TestVerify:
    """Every byte is read."""

    def test_whole(self, bucket, command, tmp_path):
        """What was published is whole, by its channel and by its first characters."""
        [version] = published(bucket, made(tmp_path, 1))
        for name in ("dev", version[:8]):
            done = command("verify", "en-es", name)
            assert (done.returncode, done.stdout) == (0, f"{version[:12]} is complete and undamaged\n"), (
                done.stderr
            )

    @pytest.mark.sample(3)
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
        assert "publish it again" in done.stderr


class TestPublish:
    """A new version, whole or not at all."""

    @pytest.fixture
    def folder(self, tmp_path):
        """Return a model that no engine loads: a file of twelve parts, and one of a part."""
        (tmp_path / "weights.dat").write_bytes(b"weights " * (12 << 20))
        (tmp_path / "words.txt").write_text("cat\ndog\n")
        (tmp_path / "model.toml").write_text(
            'name = "a"\nengine = "none"\nprecision = "float32"\nfiles = ["weights.dat", "words.txt"]\n'
            "[libraries]\n"
        )
        return tmp_path

    def test_once(self, bucket, command, folder):
        """The first time all is uploaded, the second time nothing, and the channel stays as it is."""
        first = command("publish", str(folder), "--name", "other", "--json")
        assert first.returncode == 0, first.stderr
        what = json.loads(first.stdout)
        assert (what["name"], what["channel"], what["uploaded"]) == ("other", "dev", True)
        assert what["version"] == describe(folder).version
        before = bucket.client.list_objects_v2(Bucket=BUCKET)["Contents"]

        second = command("publish", str(folder), "--name", "other", "--json")
        assert json.loads(second.stdout) == what | {"uploaded": False}
        assert bucket.client.list_objects_v2(Bucket=BUCKET)["Contents"] == before
        assert {"put", "other"} <= set(command("publish", str(folder), "--name", "other", "--dry-run").stdout
                                       .replace("/", " ").split())  # fmt: skip

    def test_killed(self, bucket, server, folder):
        """Killed in the midst of a file it leaves no version, and the next time makes it whole."""
        call = [sys.executable, "-m", "lambda_setup", "model", "publish", str(folder), "--bucket", BUCKET]
        gate = Gate()
        with Proxy(server.endpoint) as proxy, proxy.failing(gate, on="partNumber"):
            environment = os.environ | server.environment() | {"AWS_ENDPOINT_URL_S3": proxy.endpoint}
            silence = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
            with subprocess.Popen(call, cwd=ROOT, env=environment, **silence) as process:
                assert gate.reached.wait(120)
                process.kill()
            gate.opened.set()
        assert not bucket.pointers("a")
        assert not any(one.manifest for one in bucket.versions("a"))

        assert publish(folder, bucket.client, BUCKET)
        assert bucket.verify("a", bucket.channel_version("a", "dev"), lambda _: None) == []

    @pytest.mark.sample(5)
    @pytest.mark.parametrize("lost", ["weights.dat", "words.txt", "manifest.json"])
    @pytest.mark.parametrize("how", ["gone", "damaged"])
    def test_repaired(self, bucket, folder, lost, how):
        """Published once more, a version gets back what it lacks or has wrong, and nothing else is sent."""
        manifest = describe(folder)
        publish(folder, bucket.client, BUCKET)
        key = f"models/a/versions/{manifest.version}/{lost}"
        damaged = bytearray(bucket.client.get_object(Bucket=BUCKET, Key=key)["Body"].read())
        damaged[1] ^= 1
        bucket.client.delete_object(Bucket=BUCKET, Key=key)
        if how == "damaged":
            bucket.client.put_object(Bucket=BUCKET, Key=key, Body=bytes(damaged))
        sent = []

        assert upload(folder, manifest, bucket.client, BUCKET, progress=sent.append)
        assert sum(sent) == (0 if lost == "manifest.json" else (folder / lost).stat().st_size)
        assert bucket.verify("a", bucket.version("a", manifest.version), lambda _: None) == []
        assert not publish(folder, bucket.client, BUCKET)

    @pytest.mark.parametrize(
        ("arguments", "told"),
        [
            (["--name", "No Name"], "invalid model name 'No Name'"),
            (["--quantization", "int8"], "give --engine, too"),
            (["--engine", "ctranslate2"], "--engine needs --name: give"),
            (["--engine", "ctranslate2", "--name", "b"], "is made for none"),
        ],
    )
    def test_refused(self, bucket, command, folder, arguments, told):
        """What cannot be published as asked is told in a line, and nothing is uploaded."""
        done = command("publish", str(folder), *arguments)
        assert done.returncode == 2
        assert told in done.stderr.splitlines()[-1]
        assert "Traceback" not in done.stderr
        assert "Contents" not in bucket.client.list_objects_v2(Bucket=BUCKET)


class TestConverted:
    """A model for another engine."""

    @pytest.mark.check
    @pytest.mark.parametrize("quantization", ["float32", "int8"])
    def test_ctranslate2(self, bucket, command, quantization, tmp_path):
        """It is published as that engine's, the same version each time, and translates."""
        name = f"en-es-ct2-{quantization}"
        for uploaded in (True, False):
            done = command("publish", str(MODEL), "--name", name, "--engine", "ctranslate2",
                           "--quantization", quantization, "--json")  # fmt: skip
            assert done.returncode == 0, done.stderr
            assert json.loads(done.stdout)["uploaded"] is uploaded
        version = bucket.channel_version(name, "dev")
        manifest = version.manifest
        original = describe(MODEL)
        smoke = original.smoke if quantization == "float32" else None
        # What is in half precision is stored so; single is what is computed in.
        precision = {"float32": "float16"}.get(quantization, quantization)
        assert (manifest.engine, manifest.precision, manifest.smoke) == ("ctranslate2", precision, smoke)
        assert manifest.libraries.items() > original.libraries.items()
        assert original.version in manifest.card
        assert bucket.verify(name, version, lambda _: None) == []

        for key in version.keys:
            bucket.client.download_file(BUCKET, key, str(tmp_path / key.rpartition("/")[2]))
        first = original.smoke.predictions[0]
        assert _translated(tmp_path, first["source"]) == first["hypotheses"][0]["text"]

        done = command("promote", name, "--json")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["moved"] is True

    def test_eight_bits(self, bucket, command):
        """OpenNMT-py's own engine makes them of the same file: only the manifest says so."""
        done = command("publish", str(MODEL), "--name", "en-es-int8", "--engine", "opennmt",
                       "--quantization", "int8", "--json")  # fmt: skip
        assert done.returncode == 0, done.stderr
        manifest = bucket.channel_version("en-es-int8", "dev").manifest
        original = describe(MODEL)
        assert (manifest.engine, manifest.precision, manifest.files) == ("opennmt", "int8", original.files)
        assert manifest.version != original.version


def _translated(folder, sentence):
    from ctranslate2 import Translator
    from sentencepiece import SentencePieceProcessor

    pieces = SentencePieceProcessor(model_file=str(folder / "enes.model"))
    [found] = Translator(str(folder)).translate_batch([pieces.encode(sentence, out_type=str)], beam_size=5)
    return pieces.decode(found.hypotheses[0])


class TestPromote:
    """From dev to prod, tried."""

    def test_promoted(self, bucket, command, tmp_path):
        """The candidate answers as it was published to, and prod moves; who did it is in the history."""
        [version] = published(bucket, made(tmp_path, 1))
        planned = command("promote", "en-es", "--dry-run")
        assert (planned.returncode, bucket.pointers("en-es").keys()) == (0, {"dev"}), planned.stderr

        done = command("promote", "en-es", "--json")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout) == {
            "name": "en-es", "channel": "prod", "from": None, "to": version, "moved": True, "faults": []
        }  # fmt: skip
        pointer = bucket.pointers("en-es")["prod"]
        assert (pointer.version, pointer.history[-1]["by"]) == (version, WHO)
        assert "already" in command("promote", "en-es").stdout

    @pytest.mark.check
    def test_other_answer(self, bucket, command, tmp_path):
        """One that answers otherwise stays where it is, and is told where it differs."""
        published(bucket, made(tmp_path, 1, text="Otra cosa."))
        done = command("promote", "en-es")

        assert done.returncode == 1
        assert "prod stays at nothing" in done.stderr
        assert "answer[1].hypotheses[0].text: Se ha cambiado la tabla., not Otra cosa." in done.stderr
        assert bucket.pointers("en-es").keys() == {"dev"}

    @pytest.mark.check
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
        for before, expected in ((second, first), (first, second)):
            done = command("rollback", "en-es", "--channel", "dev", "--json")
            assert done.returncode == 0, done.stderr
            assert json.loads(done.stdout) == {
                "name": "en-es", "channel": "dev", "from": before, "to": expected, "moved": True
            }  # fmt: skip
            assert bucket.pointers("en-es")["dev"].version == expected

    def test_nowhere(self, bucket, command, tmp_path):
        """A channel that has not moved, or whose former version is gone, stays."""
        first, _ = published(bucket, made(tmp_path, 1), made(tmp_path, 2))
        assert "has not moved yet" in command("rollback", "en-es").stderr
        bucket.delete(bucket.version("en-es", first))
        done = command("rollback", "en-es", "--channel", "dev")
        assert done.returncode == 2
        assert f"version {first[:12]} is missing or incomplete" in done.stderr


class TestPrune:
    """Old versions go."""

    def test_kept(self, bucket, command, tmp_path):
        """The newest stay, what a channel points to, and what it would go back to; and a new half does."""
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
        assert left < {*versions, "0" * 64}
        assert len(left) <= 4  # times are in seconds, so the newest may be another than the last
        shutil.rmtree(folders[0])


@pytest.fixture(scope="module")
def served():
    """Yield what ``make s3`` serves, at another port and still empty."""
    with S3Server(access_key=ACCESS_KEY, secret_key=SECRET_KEY) as running:
        for name in (MODEL_BUCKET, RESULT_BUCKET):
            running.client().create_bucket(Bucket=name)
        yield running


class TestLocal:
    """The store that ``make s3`` serves, without an account."""

    @pytest.fixture
    def alone(self, served, tmp_path):
        """Run a command as somebody who has no account."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        environment |= {"HOME": str(tmp_path), "AWS_EC2_METADATA_DISABLED": "true", "COLUMNS": "120"}

        def run(*arguments, endpoint=served.endpoint):
            done = subprocess.run(
                [sys.executable, "-m", "lambda_setup", *arguments, "--local"],
                cwd=ROOT, env=environment | {"AWS_ENDPOINT_URL_S3": endpoint},
                capture_output=True, text=True, check=False,
            )  # fmt: skip
            return done.returncode, done.stdout, done.stderr

        return run

    @pytest.mark.check
    def test_every_command(self, served, alone, tmp_path):
        """All of them work on it, and the history says that somebody of this machine did it."""
        first, second = (made(tmp_path, number) for number in (1, 2))
        versions = [describe(folder).version for folder in (first, second)]
        assert alone("model", "publish", str(first))[0] == 0
        assert alone("model", "promote", "en-es")[0] == 0
        assert alone("model", "publish", str(second), "--channel", "prod")[0] == 0
        for command in (["list"], ["show", "en-es"], ["verify", "en-es", "prod"], ["rollback", "en-es"],
                        ["prune", "en-es", "--keep", "1"]):  # fmt: skip
            assert alone("model", *command)[0] == 0
        moves = ModelBucket(served.client(), MODEL_BUCKET).pointers("en-es")["prod"].history
        assert [move["to"] for move in moves] == [*versions, versions[0]]
        assert {move["by"] for move in moves} == {f"local:{getpass.getuser()}"}

        event = str(case("valid/own_id").path)
        code, said, errors = alone("invoke", "--event", event, "--channel", "prod", "--out", str(tmp_path))
        assert code == 0, errors
        body = json.loads(said)["body"]
        assert body["model"] == {"name": "en-es", "version": versions[0]}
        assert (tmp_path / body["s3_key"]).exists()
        assert served.client().head_object(Bucket=RESULT_BUCKET, Key=body["s3_key"])

    def test_nobody_serves(self, alone):
        """Where nothing listens, the command to run is told."""
        [port] = free_ports(1)
        for command in (["model", "list"], ["invoke", "--event", str(case("event").path)]):
            code, _, errors = alone(*command, endpoint=f"http://127.0.0.1:{port}")
            assert (code, errors) == (
                2, f"error: nothing serves S3 at http://127.0.0.1:{port}; run `make s3` in another terminal\n"
            )  # fmt: skip

    @pytest.mark.parametrize("option", [["--name", "en-es"], ["--channel", "prod"]])
    def test_only_there(self, option):
        """Name and channel choose among the models of the local store, and go with it alone."""
        call = [sys.executable, "-m", "lambda_setup", "invoke", "--event", str(case("event").path), *option]
        done = subprocess.run(call, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 2
        assert done.stderr.splitlines()[-1].endswith("give --local, too")

    def test_no_such_model(self, alone):
        """A model that is not there is told by name."""
        code, _, errors = alone("invoke", "--event", str(case("event").path), "--name", "nobody")
        assert code == 2
        assert errors.startswith(
            "error: there is no channel dev of nobody in s3://models; put a model there: "
        )

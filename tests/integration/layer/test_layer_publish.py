"""``layer publish`` against moto's server, which is asked the way AWS is."""

import json
import os
import re
import shutil
import subprocess
import sys
import urllib.request
import zipfile
from dataclasses import replace

import boto3
import pytest
from support.project import ROOT

from layer.builder import tree
from layer.builder.cli import main
from layer.builder.pack.plan import LIMIT
from layer.builder.publish import plan as plans
from layer.builder.publish.package import Package, pack
from layer.builder.report import facts as report

REGIONS = ("eu-west-1", "us-east-1")
NAME = "mine-python313-arm64"
FILES = {"python/six.py": b"six", "python/torch/lib/libtorch.so": b"\x7fELF" * 5000, "python/empty.py": b""}


def told(folder, **changes):
    """Return the report of a built layer."""
    size = sum(len(content) for content in FILES.values())
    found = report.Report(
        recipe="mine", engine="opennmt", target="python3.13-arm64", runtime="python3.13",
        architecture="arm64", strategy="direct", reason="it is small", digest="ab" * 32,
        layer_sha256=tree.folder_sha256(folder), proof=report.Proof("proven", "it was run"),
        trace=report.Trace("a run"), compiled="nothing was",
        budget=report.Budget(LIMIT, size, 0, size), archive=None, files=(), removed=(),
        stripped=report.Stripped(0, 0, 0, ()), checks=(), wheels=(),
    )  # fmt: skip
    return replace(found, **changes)


@pytest.fixture
def out(tmp_path):
    """Return what the builder left: a layer's folder and its report."""
    folder = tmp_path / "out"
    for name, content in FILES.items():
        (folder / "layer" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "layer" / name).write_bytes(content)
    report.write(told(folder / "layer"), folder)
    return folder


@pytest.fixture
def aws(moto, monkeypatch):
    """Return an account with nothing but a bucket in each region; the environment leads boto3 to it."""
    urllib.request.urlopen(urllib.request.Request(f"{moto}/moto-api/reset", method="POST"))  # noqa: S310
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ENDPOINT_URL", moto)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "any")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "any")
    for region in REGIONS:
        where = {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}
        client("s3", region).create_bucket(Bucket=f"layers-{region}", **where)
    return moto


def client(service, region):
    """Return a client of the account."""
    return boto3.Session().client(service, region_name=region)


def run(out, *arguments, regions=REGIONS, bucket="layers-{region}"):
    """Run the command as ``python -m layer`` does."""
    named = [option for region in regions for option in ("--region", region)]
    return main(["publish", str(out), *named, "--bucket", bucket, *arguments])


def policy(region):
    """Return what the first version allows to whom."""
    aws = client("lambda", region)
    try:
        found = aws.get_layer_version_policy(LayerName=NAME, VersionNumber=1)["Policy"]
    except aws.exceptions.ResourceNotFoundException:
        return []
    return [(one["Sid"], one["Action"], one["Principal"]) for one in json.loads(found)["Statement"]]


def state():
    """Return all objects and all layer versions of the account."""
    found = []
    for region in REGIONS:
        contents = client("s3", region).list_objects_v2(Bucket=f"layers-{region}").get("Contents", [])
        versions = client("lambda", region).list_layer_versions(LayerName=NAME)["LayerVersions"]
        found.append(([(one["Key"], one["LastModified"]) for one in contents], versions))
    return found


@pytest.mark.usefixtures("aws")
def test_two_regions(out, capsys):
    """Both regions have the layer, from a bucket of their own, with what it is for."""
    assert run(out, "--json") == 0
    said = capsys.readouterr()
    arns = json.loads(said.out)
    assert arns == {region: f"arn:aws:lambda:{region}:123456789012:layer:{NAME}:1" for region in REGIONS}
    for region in REGIONS:
        version = client("lambda", region).get_layer_version(LayerName=NAME, VersionNumber=1)
        assert version["CompatibleRuntimes"] == ["python3.13"]
        assert version["CompatibleArchitectures"] == ["arm64"]
        assert version["Description"] == "mine for python3.13 on arm64, tree abababababababab"
        assert f"{region}: publishing" in said.err
        assert f"{region}: {arns[region]}" in said.err


@pytest.mark.usefixtures("aws")
def test_zip(out, tmp_path):
    """What was uploaded has the files, readable by every user, and its hash as its name."""
    (out / "layer" / "python" / "six.py").chmod(0o700)
    (out / "layer" / "python" / "empty.py").chmod(0o600)
    run(out, regions=["eu-west-1"])
    s3 = client("s3", "eu-west-1")
    [found] = s3.list_objects_v2(Bucket="layers-eu-west-1")["Contents"]
    s3.download_file("layers-eu-west-1", found["Key"], str(tmp_path / "got.zip"))
    with zipfile.ZipFile(tmp_path / "got.zip") as got:
        assert {entry: got.read(entry) for entry in got.namelist()} == FILES
        modes = {entry.filename: oct(entry.external_attr >> 16) for entry in got.infolist()}
    assert modes["python/six.py"] == "0o100755"
    assert modes["python/empty.py"] == "0o100644"
    packed = pack(out / "layer", tmp_path / "again.zip")
    assert found["Key"] == f"layers/{NAME}/{packed.sha256}.zip"


def test_same_files_same_zip(out, tmp_path):
    """Neither dates nor the order on the disk matter."""
    copy = tmp_path / "copy"
    for name in sorted(FILES, reverse=True):
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(out / "layer" / name, copy / name)
        os.utime(copy / name, (0, 10**9))
    mine = pack(out / "layer", tmp_path / "mine.zip")
    assert pack(copy, tmp_path / "copy.zip").sha256 == mine.sha256


@pytest.mark.usefixtures("aws")
@pytest.mark.parametrize("public", [False, True])
def test_public(out, capsys, public):
    """A layer is everybody's only if that was spelled."""
    assert run(out, *(["--public"] if public else [])) == 0
    assert f"us-east-1  arn:aws:lambda:us-east-1:123456789012:layer:{NAME}:1" in capsys.readouterr().out
    for region in REGIONS:
        assert policy(region) == ([("public", "lambda:GetLayerVersion", "*")] if public else [])


@pytest.mark.usefixtures("aws")
def test_again(out, capsys):
    """A second publication is a new version of the same upload."""
    run(out)
    before = state()
    capsys.readouterr()
    assert run(out, "--json") == 0
    said = capsys.readouterr()
    assert {arn.rpartition(":")[2] for arn in json.loads(said.out).values()} == {"2"}
    assert "eu-west-1: the zip is there already" in said.err
    assert "uploading" not in said.err
    assert [objects for objects, _ in state()] == [objects for objects, _ in before]


@pytest.mark.usefixtures("aws")
def test_dry_run(out, tmp_path, monkeypatch, capsys):
    """A dry run prints every call, and none is made; it needs neither AWS nor credentials."""
    before = state()
    with monkeypatch.context() as offline:
        offline.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
        offline.delenv("AWS_ACCESS_KEY_ID")
        offline.delenv("AWS_SECRET_ACCESS_KEY")
        assert run(out, "--dry-run", "--public") == 0
    assert state() == before
    printed = [line for line in capsys.readouterr().out.splitlines() if not line.startswith("·")]
    packed = pack(out / "layer", tmp_path / "layer.zip")
    calls = plans.plan(told(out / "layer"), packed, [*REGIONS], "layers-{region}", NAME, public=True)
    assert len(calls) == 12
    expected = "\n".join(map(str, calls))
    assert re.sub(r"Filename='[^']*'", "", "\n".join(printed)) == re.sub(r"Filename='[^']*'", "", expected)


def test_plan(out):
    """What a dry run shows is what runs: the calls with all their arguments."""
    packed = Package(out / "any.zip", "cd" * 32, 5)
    [bucket, there, upload, version, known, public] = plans.plan(
        told(out / "layer"), packed, ["eu-west-1"], "layers-{region}", "mine", public=True
    )
    place = {"Bucket": "layers-eu-west-1", "Key": f"layers/mine/{'cd' * 32}.zip"}
    assert bucket.arguments == {"Bucket": "layers-eu-west-1"}
    assert there.arguments == place
    assert upload.arguments == {"Filename": str(out / "any.zip"), **place}
    assert version.arguments == {
        "LayerName": "mine",
        "Description": "mine for python3.13 on arm64, tree abababababababab",
        "Content": {"S3Bucket": place["Bucket"], "S3Key": place["Key"]},
        "CompatibleRuntimes": ["python3.13"],
        "CompatibleArchitectures": ["arm64"],
    }
    assert known.arguments == {"LayerName": "mine", "VersionNumber": plans.VERSION}
    assert str(public) == (
        "boto3.client('lambda', region_name='eu-west-1').add_layer_version_permission(LayerName='mine', "
        "VersionNumber=<Version>, StatementId='public', Action='lambda:GetLayerVersion', Principal='*')"
    )


def test_an_error_says_how_far_it_came(out):
    """Whether there is a new version already decides whether the same command may be given again."""
    calls = plans.plan(told(out / "layer"), Package(out, "cd" * 32, 5), ["eu-west-1"], "b", "n", public=True)
    subjects = [one.subject(plans.Progress("")) for one in calls]
    assert subjects[0] == "s3://b"
    assert subjects[-1] == "add_layer_version_permission"
    progress = plans.Progress("")
    progress.version = {"LayerVersionArn": "arn:x:1"}
    assert calls[-1].subject(progress) == "arn:x:1 was published, and then: add_layer_version_permission"


def test_a_description_is_never_too_long(out):
    """Lambda takes 256 characters, and the hash of the tree is among them."""
    long = told(out / "layer", recipe="m" * 300, proof=report.Proof("unproven", "nothing runs it"))
    calls = plans.plan(long, Package(out, "cd" * 32, 5), ["eu-west-1"], "b", "n", public=False)
    [text] = [call.arguments["Description"] for call in calls if "Description" in call.arguments]
    assert len(text) <= 256
    assert text.endswith(", tree abababababababab, UNPROVEN")


@pytest.mark.usefixtures("aws")
def test_one_region_fails(out, capsys):
    """The others are published all the same, and the command says which was not."""
    client("s3", "us-east-1").delete_bucket(Bucket="layers-us-east-1")
    assert run(out) == 1
    said = capsys.readouterr()
    assert f"eu-west-1  arn:aws:lambda:eu-west-1:123456789012:layer:{NAME}:1" in said.out
    assert "us-east-1  FAILED" in said.out
    assert said.err == (
        "error: us-east-1: the bucket layers-us-east-1 does not exist; make it: "
        "aws s3 mb s3://layers-us-east-1 --region us-east-1\n"
    )


@pytest.mark.usefixtures("aws")
def test_a_bucket_of_another_region(out, capsys):
    """Lambda would not take its zip, so nothing is uploaded."""
    before = state()
    assert run(out, regions=["us-east-1"], bucket="layers-eu-west-1") == 1
    assert "layers-eu-west-1 is in eu-west-1; Lambda takes" in capsys.readouterr().err
    assert state() == before


@pytest.mark.usefixtures("aws")
def test_not_what_was_zipped(out, tmp_path, capsys):
    """Somebody else's object under the zip's name is found out before the layer is made public."""
    packed = pack(out / "layer", tmp_path / "layer.zip")
    s3, key = client("s3", "eu-west-1"), f"layers/{NAME}/{packed.sha256}.zip"
    s3.put_object(Bucket="layers-eu-west-1", Key=key, Body=b"PK other")
    assert run(out, "--public", regions=["eu-west-1"]) == 1
    assert "S3 had other bytes than were zipped" in capsys.readouterr().err
    assert policy("eu-west-1") == []


@pytest.mark.usefixtures("aws")
def test_profile(out, tmp_path, monkeypatch, capsys):
    """Credentials are those of the profile that is given; one that is not there is named."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    config = tmp_path / "config"
    config.write_text("[profile mine]\naws_access_key_id = any\naws_secret_access_key = any\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    assert run(out, "--profile", "mine") == 0
    assert run(out, "--profile", "mine", bucket="none-{region}") == 1
    assert "aws s3 mb s3://none-us-east-1 --region us-east-1 --profile mine" in capsys.readouterr().err
    assert run(out, "--profile", "nobody") == 2
    assert "nobody" in capsys.readouterr().err


@pytest.mark.usefixtures("aws")
def test_no_credentials(out, tmp_path, monkeypatch, capsys):
    """Somebody new to AWS is told what to run."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    assert run(out) == 1
    assert "s3://layers-eu-west-1: no AWS credentials; run `aws configure`" in capsys.readouterr().err


class TestRefused:
    """What is refused before anything is asked of AWS."""

    @pytest.fixture(autouse=True)
    def nothing_happens(self, aws):
        """Whatever is refused leaves the account as it was."""
        assert aws
        before = state()
        yield
        assert state() == before

    @pytest.fixture
    def refuse(self, out, capsys):
        """Run the command, which must exit with 2, and match the error's one line."""

        def check(message, *arguments, **options):
            assert run(out, *arguments, **options) == 2
            assert re.search(message, capsys.readouterr().err)

        return check

    def test_unproven(self, out, refuse):
        """An unproven layer says how it is proven."""
        report.write(told(out / "layer", proof=report.Proof("unproven", "nothing here runs it")), out)
        how = r"unproven \(nothing here runs it\)\. .*qemu-user.*--allow-unproven"
        refuse(how)

    def test_changed(self, out, refuse):
        """A folder that is not what was built is not published."""
        (out / "layer" / "python" / "six.py").write_bytes(b"SIX")
        refuse("was changed since")

    def test_added(self, out, refuse):
        """A file that the builder did not make is found out, too."""
        (out / "layer" / "python" / "more.py").touch()
        refuse("was changed since")

    def test_a_link(self, out, refuse):
        """A link would become a copy of what it leads to."""
        (out / "layer" / "python" / "elsewhere").symlink_to(out / "report.json")
        refuse("elsewhere is a link")

    def test_no_report(self, out, refuse):
        """A folder that nobody built is not published."""
        (out / "report.json").unlink()
        refuse(r"there is no .*report\.json; build the layer")

    def test_host(self, out, refuse):
        """A layer for whoever built it is not one for Lambda."""
        report.write(told(out / "layer", target="host"), out)
        refuse("for the machine that built it")

    def test_too_big(self, out, refuse):
        """What Lambda would refuse is refused before it is zipped."""
        with (out / "layer" / "python" / "big.so").open("wb") as big:
            big.truncate(LIMIT)
        report.write(told(out / "layer"), out)
        refuse("262,164,003 bytes, and Lambda takes 262,144,000")

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"regions": ["eu-wset-1"]}, "no region 'eu-wset-1'; did you mean eu-west-1"),
            ({"regions": ["Frankfurt"]}, "no region 'Frankfurt'"),
            ({"bucket": "layers"}, r"cannot serve 2 regions.*--bucket 'layers-\{region\}'"),
            ({"bucket": "Layers_{region}"}, "invalid bucket name 'Layers_eu-west-1'"),
        ],
    )
    def test_arguments(self, refuse, options, message):
        """A mistake in what was asked for is told with the way out."""
        refuse(message, **options)

    def test_name(self, refuse):
        """A name that Lambda does not take is told before anything is zipped."""
        refuse("invalid layer name 'my layer'", "--name", "my layer")


@pytest.mark.usefixtures("aws")
def test_unproven_allowed(out):
    """Spelled out, an unproven layer is published, and says so where it is listed."""
    report.write(told(out / "layer", proof=report.Proof("unproven", "nothing here runs it")), out)
    assert run(out, "--allow-unproven", "--name", "other") == 0
    version = client("lambda", "eu-west-1").get_layer_version(LayerName="other", VersionNumber=1)
    assert version["Description"].endswith(", UNPROVEN")


def test_standard_library_alone():
    """The builder runs where nothing but Python is; boto3 is imported when something is published."""
    code = (
        "import sys; import layer.builder.cli, layer.builder.publish.plan, layer.builder.publish.execute; "
        "print([name for name in ('boto3', 'botocore') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"

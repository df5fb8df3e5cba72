"""Models as folders describe them, and versions as their contents make them."""

import json

import pytest
from support.project import MODEL

from lambda_inference._models import PART_SIZE
from lambda_setup.errors import CommandError
from lambda_setup.models.describe import describe

TOML = 'name = "a"\nengine = "opennmt"\nprecision = "float16"\nfiles = ["w.pt"]\n[libraries]\ntorch = "2"\n'


@pytest.fixture
def folder(tmp_path):
    """Return a model of two parts and a byte."""
    (tmp_path / "model.toml").write_text(TOML)
    (tmp_path / "w.pt").write_bytes(bytes(2 * PART_SIZE + 1))
    return tmp_path


def test_a_file_is_described_part_by_part(folder):
    """Every part has a hash, the last one of what is left."""
    [file] = describe(folder).files
    assert (file.name, file.size, len(file.parts)) == ("w.pt", 2 * PART_SIZE + 1, 3)
    assert file.parts[0] == file.parts[1] != file.parts[2]


def test_the_version_is_of_what_makes_the_answers(folder):
    """Another byte, engine, precision or library is another version; another name or date is not."""
    version = describe(folder).version
    (folder / "model.toml").write_text(TOML.replace('"a"', '"b"'))
    assert describe(folder).version == version
    for change in (("opennmt", "other"), ("float16", "int8"), ('torch = "2"', 'torch = "3"')):
        (folder / "model.toml").write_text(TOML.replace(*change))
        assert describe(folder).version != version
    (folder / "model.toml").write_text(TOML)
    (folder / "w.pt").write_bytes(bytes(2 * PART_SIZE) + b"1")
    assert describe(folder).version != version


def test_a_checkpoint_and_a_tokenizer_are_a_model(tmp_path):
    """A folder without a description is taken for what its files look like, and named as it is."""
    folder = tmp_path / "My Model"
    folder.mkdir()
    for name in ("x.pt", "x.model", "README.md"):
        (folder / name).write_bytes(b"1")
    manifest = describe(folder)
    assert (manifest.name, manifest.engine) == ("my-model", "opennmt")
    assert [file.name for file in manifest.files] == ["x.pt", "x.model"]


@pytest.mark.parametrize("names", [[], ["x.model"]])
def test_what_is_no_model_is_told(tmp_path, names):
    """A folder with too few files is refused by name."""
    for name in names:
        (tmp_path / name).write_bytes(b"1")
    with pytest.raises(FileNotFoundError, match=r"model\.toml"):
        describe(tmp_path)


def test_two_checkpoints_are_two_models(tmp_path):
    """Both are named, and what to do."""
    for name in ("x.pt", "y.pt", "x.model"):
        (tmp_path / name).write_bytes(b"1")
    with pytest.raises(CommandError, match=r"2 checkpoints, x\.pt, y\.pt, .* a folder of its own"):
        describe(tmp_path)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[decoding]\nalpha =", r"model\.toml is not TOML: .*; correct it there"),
        ("[decodng]\nalpha = 1", "has decodng, which nothing reads; did you mean decoding"),
        ("decoding = 3", r"model\.toml: Expected `object`, got `int`"),
    ],
)
def test_a_description_that_cannot_be_meant_is_told(tmp_path, text, told):
    """With its file, and what is wrong there."""
    (tmp_path / "x.pt").write_bytes(b"1")
    (tmp_path / "model.toml").write_text(text)
    with pytest.raises(CommandError, match=told):
        describe(tmp_path)


def test_half_a_download_is_no_model(tmp_path):
    """While a download is under way, what is there already is not taken for the whole."""
    for name in ("x.pt", "x.model", ".model.toml.partial"):
        (tmp_path / name).write_bytes(b"1")
    with pytest.raises(FileNotFoundError, match="incomplete download"):
        describe(tmp_path)


def test_an_incomplete_description_is_told(folder):
    """What model.toml lacks is named."""
    (folder / "model.toml").write_text('name = "a"\nengine = "opennmt"\n')
    with pytest.raises(CommandError, match="lacks files, libraries, precision"):
        describe(folder)


def test_a_name_and_a_card_may_stand_alone(folder):
    """The files say the rest."""
    (folder / "model.toml").write_text('name = "a"\ncard = "Small."\n')
    manifest = describe(folder)
    assert (manifest.name, manifest.card, manifest.engine) == ("a", "Small.", "opennmt")


@pytest.mark.parametrize(
    ("name", "told"),
    [("manifest.json", "invalid file name"), ("../w.pt", "invalid file name"),
     ("a/w.pt", "invalid file name"), ("", "invalid file name"),
     ("W.pt", "a file is named twice"), ("w.pt", "a file is named twice")],
)  # fmt: skip
def test_names_that_lead_elsewhere_are_refused(folder, name, told):
    """A file has a plain name of its own."""
    (folder / "model.toml").write_text(TOML.replace('["w.pt"]', f'["w.pt", "{name}"]'))
    with pytest.raises(CommandError, match=told):
        describe(folder)


@pytest.mark.parametrize("name", ["", "-a", "A", "a_b", "a" * 32, "a/b", "a\n"])
def test_a_name_that_the_template_refuses_is_refused(folder, name):
    """What a function cannot be told is no name."""
    (folder / "model.toml").write_text(TOML.replace('"a"', json.dumps(name)))
    with pytest.raises(CommandError, match="invalid model name"):
        describe(folder)


def test_the_card_is_told(folder):
    """What model.toml says of the model in a sentence stands in its manifest, and makes no other version."""
    version = describe(folder).version
    (folder / "model.toml").write_text('card = "Small."\n' + TOML)
    assert (describe(folder).card, describe(folder).version) == ("Small.", version)


TABLE = '[tokenizer]\nkind = "regex"\npattern = "."\n'


def test_the_shipped_model_keeps_its_version():
    """A model without tables has the version that it had before there were any."""
    assert describe(MODEL).version == "db55d59a61256846bc07afa7230309f775a3faeac4cfa1c0545e1e8fdfea1a24"


def test_tables_make_the_version_and_are_required(folder):
    """A table decides the answers; a function that does not know it has to refuse the model."""
    version = describe(folder).version
    (folder / "model.toml").write_text(TOML + TABLE)
    manifest = describe(folder)
    assert manifest.tokenizer == {"kind": "regex", "pattern": "."}
    assert manifest.requires == ["tokenizer"]
    assert manifest.version != version


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ('name = "a"', 'name = ["a"]'),
        ('engine = "opennmt"', "engine = []"),
        ('files = ["w.pt"]', "files = 5"),
        ('files = ["w.pt"]', "files = [5]"),
        ('torch = "2"', "torch = 2"),
        ("[libraries]", "card = 1\n[libraries]"),
        ("[libraries]", "smoke = []\n[libraries]"),
    ],
)
def test_an_entry_of_another_type_is_told(folder, right, wrong):
    """It is refused where it stands, and not published for a function to refuse."""
    (folder / "model.toml").write_text(TOML.replace(right, wrong))
    with pytest.raises(CommandError, match=r"model\.toml: Expected"):
        describe(folder)


def test_a_table_alone_is_enough(tmp_path):
    """What else the manifest needs, the files say."""
    (tmp_path / "x.pt").write_bytes(b"1")
    (tmp_path / "model.toml").write_text(TABLE)
    manifest = describe(tmp_path)
    assert (manifest.engine, manifest.tokenizer["kind"]) == ("opennmt", "regex")


def test_a_table_that_is_none_is_told(folder):
    """With the file's name."""
    (folder / "model.toml").write_text('tokenizer = "space"\n' + TOML)
    with pytest.raises(CommandError, match=r"model\.toml: Expected `object`"):
        describe(folder)


def test_a_checkpoint_alone_is_a_model(tmp_path):
    """Without a tokenizer its tokens are separated by spaces; safetensors and codes belong to it."""
    for name in ("x.pt", "x.00.safetensors", "bpe.codes", "README.md"):
        (tmp_path / name).write_bytes(b"1")
    assert [file.name for file in describe(tmp_path).files] == ["x.pt", "x.00.safetensors", "bpe.codes"]


@pytest.mark.parametrize(
    ("table", "files"),
    [
        ('kind = "bpe"\nsource = "en.txt"\ntarget = "es.txt"', ["en.txt", "es.txt"]),
        ('kind = "pyonmttok"\nsource = "en.txt"', ["en.txt"]),
        ('kind = "tokenizers"', ["tokenizer.json"]),
        ('kind = "space"', []),
        ("source = [1]", []),
    ],
)
def test_files_that_a_table_names_belong_to_the_model(tmp_path, table, files):
    """Whatever they are called, they need not be listed."""
    for name in ("x.pt", "en.txt", "es.txt", "tokenizer.json"):
        (tmp_path / name).write_bytes(b"1")
    (tmp_path / "model.toml").write_text(f"[tokenizer]\n{table}\n")
    assert [file.name for file in describe(tmp_path).files] == ["x.pt", *files]


def test_a_model_of_ctranslate2_is_refused(tmp_path):
    """With the way to one that can be compared."""
    for name in ("model.bin", "config.json"):
        (tmp_path / name).write_bytes(b"1")
    with pytest.raises(CommandError, match="--engine ctranslate2"):
        describe(tmp_path)


def test_a_file_that_is_missing_is_named_with_its_line(folder):
    """The message says which line of which file to correct."""
    (folder / "w.pt").unlink()
    with pytest.raises(CommandError, match=r"`files` in .*model\.toml names w\.pt.* correct the line"):
        describe(folder)

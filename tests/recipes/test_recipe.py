"""The recipe of the bundled model on toy captions: corpus, lexicon, examples, channel, training, card."""

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
    LabelSetSettings,
)
from otoscribe.model.caption_model import ModelSettings
from otoscribe.model.decoder import DecoderSettings
from otoscribe.model.encoders.yamnet_voice import YamnetVoiceSettings
from otoscribe.model.words.random import RandomSettings
from otoscribe.text.vocabulary import Vocabulary
from otoscribe.train.history import Epoch, read_log
from otoscribe.train.run import load_run
from otoscribe.train.settings import DataSettings, ExperimentSettings, TrainingSettings
from otoscribe.train.trainer import Experiment, RuntimeSettings, train
from recipes.bundled import calibrate, card, corpus, examples, lexicon
from recipes.bundled import channel as channel_stage
from recipes.bundled import label_noise as noise_stage
from recipes.bundled.__main__ import TRAINING
from recipes.bundled.channel import Channel
from recipes.bundled.corpus import Clip, Pair
from recipes.bundled.examples import Example
from recipes.bundled.label_noise import LabelNoise
from recipes.bundled.label_sets import fit_sets
from recipes.bundled.learn import LabelBatch, LabelledCaptions, fingerprint
from recipes.bundled.lexicon import Lexicon

DOG, RAIN, SIREN = 5, 6, 7
NAMES = {DOG: "dog barks", RAIN: "rain falls", SIREN: "siren wails"}


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
            [
                ["audiocap_id", "youtube_id", "audioset_mids"],
                ["1", f"{name}1", "/m/dog /m/rain"],
                ["3", "seen", "/m/rain"],
            ],
        )
    write_csv(
        captions / "clotho_captions_development.csv",
        [
            ["file_name", *caption_columns],
            ["one.wav", "Rain", "Rain falls", "", "", ""],
            ["seen.wav", "Hidden", "", "", "", ""],
            ["also seen.wav", "Hidden", "", "", "", ""],
        ],
    )
    write_csv(
        tmp_path / "pairs" / "pairs.csv",
        [
            ["file_name", "clip_id", "corpus", *caption_columns],
            ["audiocaps/x.flac", "seen", "audiocaps", "Hidden", "", "", "", ""],
            ["clotho/y.flac", "seen.wav", "clotho", "Hidden", "Hidden too", "", "", ""],
            ["clotho/z.flac", "also seen", "clotho", "Hidden", "", "", "", ""],
            ["audiocaps/t.flac", "test", "audiocaps", "Of the test split", "", "", "", ""],
            ["musiccaps/m.flac", "m1", "musiccaps", "Calm music", "", "", "", ""],
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
    first, second, *others = corpus.pairs(data)
    assert (first.path, first.corpus) == (data / "pairs" / "audiocaps" / "x.flac", "audiocaps")
    assert second.captions == ("Hidden", "Hidden too")
    assert [pair.corpus for pair in others] == ["clotho", "audiocaps", "musiccaps"]
    assert list(corpus.class_names(data)) == ["/m/dog", "/m/rain"]


def test_only_recordings_that_raters_labelled_calibrate(data: Path, lexis: Lexicon) -> None:
    classes = {"/m/dog": DOG, "/m/rain": RAIN}
    assert calibrate.labels(data, corpus.pairs(data), classes, lexis) == {0: (RAIN,)}


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


MODEL = ModelSettings(
    encoder=YamnetVoiceSettings(overlap=0.5, weights="formula"),
    adapter=LabelSetSettings(d_model=16, heads=2, head_dim=8, ff=16, sets=3),
    words=RandomSettings(width=16, spread=0.25),
    decoder=DecoderSettings(d_model=16, heads=2, head_dim=8, ff=16, blocks=1, tied=True),
)


@pytest.fixture(scope="module")
def noise() -> LabelNoise:
    """Return a noise that knows the toy examples' label sets."""
    adapter = LabelSet(MODEL.adapter, MODEL.feature_width)
    fit_sets(adapter, toy_examples())
    return LabelNoise(adapter, Channel(np.eye(CLASSES, dtype=np.float32)))


def test_a_clean_example_is_heard_as_it_is(noise: LabelNoise) -> None:
    given = [example((DOG, RAIN), "a dog"), example((SIREN,), "a siren", style=1)]
    labels, strengths, times, styles = noise(given, clean=1.0, seed=0)
    assert labels.shape == strengths.shape == times.shape
    assert [set(row) - {NOTHING} for row in labels.tolist()] == [{DOG, RAIN}, {SIREN}]
    assert styles.tolist() == [0, 1]
    assert bool((strengths[labels < CLASSES] > 0).all())
    assert bool((strengths[labels >= CLASSES] == 0).all())
    for one, other in zip(noise(given, clean=0.0, seed=1), noise(given, clean=0.0, seed=1), strict=True):
        assert torch.equal(one, other)


def test_told_times_and_voices_reach_the_places_of_their_labels(noise: LabelNoise) -> None:
    told = Example(0, "a dog then rain", (DOG, RAIN), {}, (MALE_VOICE,), {DOG: EARLIER, RAIN: LATER}, 0)
    labels, strengths, times, _ = noise([told] * 400, clean=1.0, seed=0)
    assert labels.shape[1] <= PLACES + 2
    ordered = (times[:, 0] == EARLIER) & (times[:, 1] == LATER)
    untold = times[:, 0] == ANY_TIME
    assert float(ordered.float().mean()) == pytest.approx(noise_stage.TOLD_TIME, abs=0.1)
    assert float((ordered | untold).float().mean()) > 0.9
    voices = labels[:, 2]
    assert float((voices == MALE_VOICE).float().mean()) == pytest.approx(noise_stage.TOLD_VOICE, abs=0.08)
    assert float((voices == FEMALE_VOICE).float().mean()) == pytest.approx(noise_stage.WRONG_VOICE, abs=0.04)
    assert bool((strengths[:, 2] == 0).all())


def toy_captions(noise: LabelNoise, *more: Example) -> LabelledCaptions:
    toy = [*toy_examples(), *more]
    return LabelledCaptions(toy, Vocabulary.from_captions(e.caption for e in toy), noise)


def captions_of(batches: list[LabelBatch]) -> list[list[tuple[int, ...]]]:
    """Read the targets of every batch back."""
    return [
        [tuple(row[row != 0].tolist()) for rows in batch.groups for row in rows.targets] for batch in batches
    ]


def test_batches_cover_every_caption_once_an_epoch_and_mix_no_corpora(noise: LabelNoise) -> None:
    source = toy_captions(noise, example((DOG,), "a " * 31), example((DOG,), "!"))
    assert source.pairs == len(toy_examples())  # without the one that is too long, and the empty one
    first, second = (list(source.training_batches(4, seed=3, epoch=epoch)) for epoch in (1, 2))
    expected = sorted((*words, 2) for words in source.ids)
    for epoch in (first, second):
        found = captions_of(epoch)
        assert sorted(words for batch in found for words in batch) == expected
        assert all(len(set(batch.labels[3].tolist())) == 1 for batch in epoch)
        lengths = [[len(words) for words in batch] for batch in found]
        assert np.mean([max(found) - min(found) for found in lengths]) < 1
        assert sum(batch.pairs for batch in epoch) == source.pairs
    assert captions_of(first) != captions_of(second)
    held_out = captions_of(list(source.validation_batches(4)))
    assert sorted(words for batch in held_out for words in batch) == expected


def same(one: list[LabelBatch], other: list[LabelBatch]) -> bool:
    return all(
        torch.equal(first, second)
        for a, b in zip(one, other, strict=True)
        for first, second in zip(
            (*a.labels, a.groups[0].tokens), (*b.labels, b.groups[0].tokens), strict=True
        )
    )


def test_the_same_seed_and_epoch_draw_the_same(noise: LabelNoise) -> None:
    source = toy_captions(noise)

    def drawn(seed: int, epoch: int) -> list[LabelBatch]:
        return list(source.training_batches(1, seed, epoch))

    assert same(drawn(3, 1), drawn(3, 1))
    assert same(list(source.validation_batches(5)), list(source.validation_batches(5)))
    heard = [
        {row: batch.labels[1].tolist() for batch in drawn(seed, epoch) for row in captions_of([batch])[0]}
        for seed, epoch in ((3, 1), (3, 2), (4, 1))
    ]
    assert heard[0] != heard[1]
    assert heard[0] != heard[2]


def test_the_fingerprint_sees_captions_labels_and_the_channel(noise: LabelNoise) -> None:
    source = toy_captions(noise)
    similarity = np.eye(CLASSES, dtype=np.float32)
    similarity[DOG, RAIN] = similarity[RAIN, DOG] = 0.5
    others = [
        toy_captions(noise, example((DOG,), "a dog")),
        toy_captions(noise, example((RAIN,), "a dog")),
        toy_captions(LabelNoise(noise.adapter, Channel(similarity))),
    ]
    assert len({fingerprint(one) for one in (source, *others)}) == 4
    assert fingerprint(source, others[0]) != fingerprint(others[0], source)
    assert fingerprint(source) == fingerprint(toy_captions(noise))


def test_a_quarter_is_trained_on_as_labelled_and_nothing_is_validated_so(
    noise: LabelNoise, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[float] = []
    heard = LabelNoise.__call__

    def noted(self: LabelNoise, examples: list[Example], clean: float, seed: int) -> object:
        asked.append(clean)
        return heard(self, examples, clean, seed)

    monkeypatch.setattr(LabelNoise, "__call__", noted)
    source = toy_captions(noise)
    list(source.training_batches(27, seed=0, epoch=1))
    assert asked == [0.25, 0.25]
    list(source.validation_batches(27))
    assert asked == [0.25, 0.25, 0.0, 0.0]


def test_the_adapters_sets_and_priors_are_those_of_the_labelled_clips() -> None:
    adapter = LabelSet(LabelSetSettings(sets=2), MODEL.feature_width)
    labelled = [example((DOG, RAIN), "x"), example((DOG,), "x"), example((DOG,), "x"), example((), "x")]
    fit_sets(adapter, [*labelled, example((SIREN,), "x", style=1)])
    sets = [tuple(label for label in row if label != NOTHING) for row in adapter.members.tolist()]
    assert dict(zip(sets, adapter.log_counts.exp().tolist(), strict=True)) == pytest.approx(
        {(DOG, RAIN): 1.0, (DOG,): 2.0}
    )
    assert float(adapter.class_prior[DOG]) == pytest.approx(3 / 4, abs=1e-4)
    assert float(adapter.class_prior[SIREN]) == pytest.approx(0.0, abs=1e-4)


def toy_run(runs: Path, noise: LabelNoise, report: Callable[[Epoch], None] = lambda epoch: None) -> Path:
    source = toy_captions(noise)
    vocabulary = Vocabulary.from_captions(e.caption for e in source.examples)
    numbers = {"batch_pairs": 4, "maximum_epochs": 3, "warmup_steps": 5, "learning_rate": 0.02}
    settings = ExperimentSettings(
        data=DataSettings(fingerprint=fingerprint(source)),
        model=MODEL,
        training=TRAINING.model_copy(update=numbers),
    )
    experiment = Experiment(settings, vocabulary, source, source)
    return train(experiment, runs, RuntimeSettings(threads=1), report)


@pytest.mark.slow
def test_the_recipe_trains_by_the_trainer_and_goes_on_to_identical_weights(
    noise: LabelNoise, tmp_path: Path
) -> None:
    def kill(epoch: Epoch) -> None:
        if epoch.epoch == 2:
            raise KeyboardInterrupt

    whole = toy_run(tmp_path / "whole", noise)
    with pytest.raises(KeyboardInterrupt):
        toy_run(tmp_path / "killed", noise, kill)
    resumed = toy_run(tmp_path / "killed", noise)
    for name in ("model.safetensors", "log.csv", "done"):
        assert (resumed / name).read_bytes() == (whole / name).read_bytes()
    first, *_, last = read_log(whole / "log.csv")
    assert last.validation_loss < 0.7 * first.validation_loss
    settings = load_run(whole)[2]
    # What a run says of its training is how it was trained.
    assert (settings.training.schedule, settings.training.beta2) == ("cosine", 0.98)


def test_the_card_states_the_figures_of_its_run(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text(
        "epoch,steps,training_loss,validation_loss\n1,540,3.0,2.5\n2,1080,2.0,2.25\n3,1620,1.5,2.75\n"
    )
    recordings = [
        Pair(tmp_path, "id", corpus, ("a",)) for corpus in ("audiocaps", "clotho", "audiocaps", "musiccaps")
    ]
    text = card.text(
        training=[example((DOG,), "a")] * 1234 + [example((DOG,), "a", style=1)] * 56,
        held_out=[example((DOG,), "a")] * 5,
        recordings=recordings,
        labelled=2,
        settings=ExperimentSettings(model=MODEL, training=TrainingSettings(learning_rate=0.0125)),
        log=tmp_path / "log.csv",
        table="| the table |",
    )
    assert "@" not in text
    for words in (
        "Of all 3 sets of labels",
        "trained together for 1,080 steps",
        "of\n3 epochs the one numbered 2 was kept",
        "2.250 nats a\nword",
        '"learning_rate": 0.0125',
        "training split, 1,234 (Kim",
        "development split, 56 (Drossos",
        "fitted on 2 recordings of the 4 below",
        "on 4 recordings (2 of AudioCaps, 1 of Clotho, 1 of MusicCaps;",
        "captions of 1 other clips",
        "| the table |",
    ):
        assert words in text

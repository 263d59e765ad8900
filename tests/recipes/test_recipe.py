"""The recipe of the bundled model on toy captions: corpus, lexicon, scenes, channel, training, card."""

import csv
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import numpy as np
import pytest
import torch

from otoscribe.model.adapters.evidence import CLASSES, LIMIT, SPEECH, EvidenceMemory, EvidenceSettings
from otoscribe.model.caption_model import ModelSettings
from otoscribe.model.decoder import DecoderSettings
from otoscribe.model.encoders.yamnet_voice import YamnetVoiceSettings
from otoscribe.model.words.random import RandomSettings
from otoscribe.text.phrase_book import phrase_book
from otoscribe.text.vocabulary import Vocabulary, words_of
from otoscribe.train.history import Epoch, read_log
from otoscribe.train.run import load_run
from otoscribe.train.settings import DataSettings, ExperimentSettings, TrainingSettings
from otoscribe.train.trainer import Experiment, RuntimeSettings, train
from recipes.bundled import card, confidence, corpus, evaluate, examples, invention, lexicon, naming
from recipes.bundled.__main__ import TRAINING
from recipes.bundled.channel import MOST, SILENCE, Channel
from recipes.bundled.composed import Composer, sayings
from recipes.bundled.corpus import Clip, Pair
from recipes.bundled.examples import (
    BRIEF,
    DETAILED,
    EARLIER,
    FEMALE_VOICE,
    LATER,
    MALE_VOICE,
    Example,
)
from recipes.bundled.learn import Mix, SceneBatch, Scenes, fingerprint
from recipes.bundled.lexicon import Lexicon
from recipes.bundled.measure import Measured, buffers_of, measure
from recipes.bundled.relations import MUSIC, Relations, families
from recipes.bundled.scene import Scene
from recipes.bundled.written import KNOWN_VOICE, WRONG_VOICE, scene_of

DOG, RAIN, SIREN = 69, 283, 390
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
            ["file_name", "clip_id", "corpus", "split", *caption_columns],
            ["audiocaps/x.flac", "seen", "audiocaps", "val", "Hidden", "", "", "", ""],
            ["clotho/y.flac", "seen.wav", "clotho", "validation", "Hidden", "Hidden too", "", "", ""],
            ["clotho/z.flac", "also seen", "clotho", "development", "Hidden", "", "", "", ""],
            ["audiocaps/t.flac", "test", "audiocaps", "test", "Of the test split", "", "", "", ""],
            ["musiccaps/m.flac", "m1", "musiccaps", "unknown", "Calm music", "", "", "", ""],
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


def test_a_recording_has_one_part_and_that_of_its_source(data: Path) -> None:
    parts = [pair.part for pair in corpus.pairs(data)]
    assert parts[2] == "train"
    assert parts == [pair.part for pair in corpus.pairs(data)]
    # A name with and without its ending is the same recording.
    assert parts[0] == parts[1] == corpus.half("seen")
    halves = [corpus.half(str(number)) for number in range(400)]
    assert 160 < halves.count("choose") < 240
    assert set(halves) == {"choose", "report"}


def test_clips_that_were_cut_from_one_recording_stay_together(tmp_path: Path) -> None:
    rows = [["file_name", "label", "freesound_id"]]
    rows += [[f"{number}-{cut}.ogg", "Rain", str(number)] for number in range(50) for cut in "AB"]
    for name in ("esc10", "urbansound8k"):
        write_csv(tmp_path / "audio" / name / "labels.csv", rows)
    sounds = corpus.esc10(tmp_path)
    assert all(one.part == other.part for one, other in zip(sounds[::2], sounds[1::2], strict=True))
    assert {sound.part for sound in sounds} == {"choose", "report"}
    assert {sound.part for sound in corpus.urbansound8k(tmp_path)} == {"report"}


def test_labels_of_recordings_are_those_ticked_and_those_spoken_of(data: Path, lexis: Lexicon) -> None:
    classes = {"/m/dog": DOG, "/m/rain": RAIN}
    pairs = [
        Pair(data, "seen", "audiocaps", "choose", ("a dog barks", "a dog barks", "a siren wails")),
        Pair(data, "other", "audiocaps", "choose", ("a dog barks",)),
    ]
    ticked = corpus.ticked(data)
    both = examples.labels_of(pairs, ticked, classes, lexis)
    assert both == {0: (frozenset({DOG, RAIN, SIREN}), frozenset({DOG}))}
    assert examples.labels_of(pairs, ticked, classes, None) == {0: (frozenset({RAIN}), frozenset({RAIN}))}


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


def test_what_a_caption_speaks_of_does_not_hang_on_the_order_of_its_words_in_a_set(
    lexis: Lexicon, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python draws another order in each process, and what a run is known by follows from these numbers."""
    caption = "a dog barks and a rain falls and a siren wails"
    grams = sorted(lexicon._grams(caption))
    found = []
    for order in (grams, grams[::-1], grams[5:] + grams[:5]):
        monkeypatch.setattr(lexicon, "_grams", lambda text, order=order: order)
        found.append(lexis.probabilities(caption).tobytes())
    assert len(set(found)) == 1


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
    first, second, third = examples.make(clips, classes, lexis, DETAILED)
    assert (first.clip, first.labels, first.voices) == (0, (DOG, SIREN), (MALE_VOICE,))
    assert (second.clip, second.labels, second.caption) == (0, (DOG,), "a dog barks")
    assert (third.clip, third.labels, third.voices) == (1, (RAIN,), (FEMALE_VOICE,))
    assert third.probabilities[RAIN] > 0.9
    assert {example.style for example in (first, second, third)} == {DETAILED}
    assert not first.ordered


def relations() -> Relations:
    """Return relations in which a bark implies a dog, and all rain comes with thunder's class 281."""
    given = np.eye(CLASSES)
    given[DOG + 1, DOG] = 0.9
    given[RAIN, 281] = 0.4
    return Relations(given, np.full(CLASSES, 1000.0))


def measured() -> Measured:
    alike = torch.eye(CLASSES)
    alike[DOG, DOG + 1] = 0.8
    return Measured(
        background=torch.full((CLASSES,), -7.0),
        high=torch.full((CLASSES,), -6.0),
        alike=alike,
        correlation=torch.eye(CLASSES),
        spoken=torch.tensor([-0.6, 1.7]),
        unspoken=torch.tensor([-2.2, 1.7]),
    )


def scene(*labels: int, **changes: object) -> Scene:
    return Scene(**{"labels": labels, "spoken": frozenset(labels), "caption": "a", "style": BRIEF, **changes})


def test_what_was_planted_is_measured() -> None:
    generator = torch.Generator().manual_seed(0)
    clips, labelled = [], {}
    for index in range(60):
        logits = -8.0 + 0.3 * torch.randn(12, CLASSES, generator=generator)
        # A dog raises a bark half as far.
        if index % 3 == 0:
            logits[:, DOG], logits[:, DOG + 1] = 1.0, -3.5
            labelled[index] = (frozenset({DOG}), frozenset({DOG}))
        elif index % 3 == 1:
            logits[:, RAIN] = -2.0
            labelled[index] = (frozenset({RAIN}), frozenset[int]())
        clips.append(torch.cat([logits, torch.zeros(12, 3)], dim=1))
    directions = torch.randn(CLASSES, 64, generator=generator)
    directions[DOG + 1] = directions[DOG] + 0.5 * directions[DOG + 1]
    given = np.eye(CLASSES)
    given[DOG, DOG + 1] = 0.7
    found = measure(clips, labelled, directions, given)
    assert float(found.background[DOG]) == pytest.approx(-7.9, abs=0.3)
    assert float(found.high[DOG]) > float(found.background[DOG]) + 5.0
    assert float(found.alike[DOG, DOG + 1]) > 0.3
    assert float(found.alike[DOG, RAIN]) < 0.1
    assert float(found.spoken[0]) == pytest.approx(1.0, abs=0.1)
    assert float(found.unspoken[0]) == pytest.approx(-2.0, abs=0.1)
    assert float(found.correlation[DOG, DOG + 1]) > 0.9


def test_where_no_caption_leaves_a_label_out_all_labels_are_alike() -> None:
    generator = torch.Generator().manual_seed(0)
    clips = [
        torch.cat([torch.randn(5, CLASSES, generator=generator) - 7.0, torch.zeros(5, 3)], dim=1)
        for _ in range(8)
    ]
    both = frozenset({DOG, RAIN})
    directions = torch.randn(CLASSES, 8, generator=generator)
    found = measure(clips, {0: (both, both), 3: (both, both)}, directions, np.eye(CLASSES))
    assert torch.equal(found.spoken, found.unspoken)
    assert torch.isfinite(found.spoken).all()


def test_measures_are_read_as_they_were_written(tmp_path: Path) -> None:
    measured().save(tmp_path / "measured.safetensors")
    read = Measured.load(tmp_path / "measured.safetensors")
    assert torch.equal(read.alike, measured().alike)
    assert torch.equal(read.spoken, measured().spoken)


def test_the_adapters_explanations_are_those_measured_and_those_of_labels_in_steps_of_8_bits() -> None:
    explains = buffers_of(measured(), relations().given)["explains"]
    assert float(explains[DOG, DOG + 1]) == pytest.approx(0.8, abs=0.005)
    assert float(explains[DOG + 1, DOG]) == pytest.approx(0.9, abs=0.005)
    assert torch.equal((explains * 127).round() / 127, explains)


def test_families_are_what_implies_what_but_half_of_all_clips_have_speech() -> None:
    given = relations().given
    given[DOG, SPEECH] = given[DOG, MUSIC] = 0.55
    related = families(Relations(given, np.ones(CLASSES)), np.eye(CLASSES))
    assert related[DOG, DOG + 1]
    assert related[DOG + 1, DOG]
    assert not related[DOG, SPEECH]
    assert not related[DOG, MUSIC]
    assert not related[RAIN, 281]


def test_labels_are_heard_and_raise_what_is_like_them() -> None:
    evidence = Channel(measured())([scene(DOG)] * 400, seed=0)
    strength = evidence.strength
    assert strength.shape == (400, CLASSES)
    assert float(strength[:, DOG].mean()) == pytest.approx(-0.6, abs=0.3)
    like, unlike = strength[:, DOG + 1].mean(), strength[:, 450].mean()
    assert float(like) == pytest.approx(-7.0 + 0.8 * 6.4, abs=0.6)
    assert float(unlike) == pytest.approx(-7.0, abs=0.3)
    for part in (evidence.centre, evidence.duration):
        assert float(part.min()) >= 0.0
        assert float(part.max()) <= 1.0
    again = Channel(measured())([scene(DOG)] * 400, seed=0)
    assert all(torch.equal(one, other) for one, other in zip(evidence, again, strict=True))


def test_what_a_caption_leaves_out_is_weaker_and_given_strengths_are_kept() -> None:
    channel = Channel(measured())
    spoken = channel([scene(DOG)] * 300, seed=1).strength[:, DOG]
    silent = channel([scene(DOG, spoken=frozenset())] * 300, seed=1).strength[:, DOG]
    assert float(spoken.mean() - silent.mean()) > 1.0
    given = channel([scene(DOG, RAIN, strengths={RAIN: 1.25})] * 20, seed=1).strength[:, RAIN]
    assert float(given.min()) == float(given.max()) == pytest.approx(1.25, abs=0.2)


def test_what_comes_first_is_heard_first() -> None:
    ordered = [scene(DOG, RAIN, times={DOG: EARLIER, RAIN: LATER}, strengths={DOG: 0.5, RAIN: 0.5})] * 300
    evidence = Channel(measured())(ordered, seed=0)
    first = evidence.centre[:, DOG] < evidence.centre[:, RAIN]
    assert float(first.float().mean()) == 1.0
    plain = Channel(measured())([scene(DOG, RAIN, strengths={DOG: 0.5, RAIN: 0.5})] * 300, seed=0)
    assert 0.3 < float((plain.centre[:, DOG] < plain.centre[:, RAIN]).float().mean()) < 0.7


def test_a_scene_without_labels_shows_background_only() -> None:
    strength = Channel(measured())([scene()] * 50, seed=0).strength
    assert float(strength.mean()) == pytest.approx(-7.0, abs=0.3)


def test_silence_alone_is_long_and_loud_and_nothing_else_is() -> None:
    evidence = Channel(measured())([scene(SILENCE)] * 50, seed=0)
    assert float(evidence.strength[:, SILENCE].min()) >= 1.0
    assert float(evidence.duration[:, SILENCE].min()) >= 0.85
    others = evidence.strength.index_fill(1, torch.tensor([SILENCE]), -LIMIT)
    assert float(others.max()) <= -5.0


def test_mens_voices_are_low_and_womens_high() -> None:
    channel = Channel(measured())
    shares = [
        channel([scene(SPEECH, voices=(voice,))] * 300, seed=0).voices.sum(0)
        for voice in (MALE_VOICE, FEMALE_VOICE)
    ]
    male, female = (float(low / (low + high)) for low, high, _ in shares)
    assert male > 0.45
    assert female < 0.25


def example(labels: tuple[int, ...], caption: str, style: int = BRIEF, **changes: object) -> Example:
    known = {"clip": 0, "caption": caption, "labels": labels, "probabilities": dict.fromkeys(labels, 1.0)}
    return Example(**{**known, "voices": (), "times": {}, "ordered": False, "style": style, **changes})


def test_a_scene_has_an_examples_labels_and_what_its_caption_speaks_of() -> None:
    told = example((DOG, RAIN), "a dog", probabilities={DOG: 0.9, RAIN: 0.2}, times={DOG: EARLIER})
    drawn = scene_of(told, Random(0))
    assert drawn.labels == (DOG, RAIN)
    assert drawn.spoken == {DOG}
    assert drawn.times == {DOG: EARLIER}
    assert len(scene_of(example(tuple(range(20)), "a"), Random(0)).labels) == MOST


def test_labels_that_nobody_ticked_are_drawn_by_their_probability() -> None:
    told = example((), "a dog", style=DETAILED, probabilities={DOG: 0.7})
    draw = Random(0)
    share = np.mean([scene_of(told, draw).labels == (DOG,) for _ in range(500)])
    assert share == pytest.approx(0.7, abs=0.08)


def test_voices_are_known_unknown_or_wrong_by_chance() -> None:
    told = example((SPEECH,), "a man", voices=(MALE_VOICE,))
    draw = Random(0)
    voices = [scene_of(told, draw).voices for _ in range(1000)]
    assert voices.count((MALE_VOICE,)) / 1000 == pytest.approx(KNOWN_VOICE, abs=0.05)
    assert voices.count((FEMALE_VOICE,)) / 1000 == pytest.approx(WRONG_VOICE, abs=0.03)
    assert () in voices


@pytest.fixture(scope="module")
def composed() -> list[Scene]:
    composer, draw = Composer(relations(), measured(), []), Random(0)
    return [composer.draw(draw) for _ in range(2000)]


def test_composed_captions_speak_of_their_sounds_in_words_of_the_book(composed: list[Scene]) -> None:
    known = {word for text in sayings() for word in words_of(text)}
    book = phrase_book()
    for drawn in composed:
        assert set(words_of(drawn.caption)) <= known
        assert drawn.spoken <= set(drawn.labels)
        assert len(drawn.labels) <= MOST
        if len(drawn.labels) == len(drawn.spoken) == 1 and drawn.labels != (SPEECH,):
            (label,) = drawn.labels
            own = (label, *relations().implied_by(label))
            assert any(drawn.caption in book[sound].captions for sound in own)


def test_every_class_is_composed_of_and_no_caption_names_one_family_twice(composed: list[Scene]) -> None:
    related = families(relations(), measured().alike.numpy())
    for drawn in composed:
        labels = sorted(drawn.spoken)
        assert related[np.ix_(labels, labels)].sum() == len(labels)
    assert len({label for drawn in composed for label in drawn.labels}) > 480


def test_an_order_that_a_composed_caption_tells_is_to_be_heard(composed: list[Scene]) -> None:
    for drawn in composed:
        tells = any(f" {word} " in drawn.caption for word in ("then", "followed by"))
        assert bool(drawn.times) is tells
    first = next(drawn for drawn in composed if drawn.times)
    assert sorted(first.times.values()) == [EARLIER, LATER]


def test_speech_is_a_mans_or_a_womans_with_that_voice(composed: list[Scene]) -> None:
    for drawn in composed:
        words = set(words_of(drawn.caption))
        if words & {"man", "woman"}:
            assert drawn.voices == ((MALE_VOICE,) if "man" in words else (FEMALE_VOICE,))


def test_what_people_wrote_of_needs_fewer_composed_captions() -> None:
    written = [example((DOG,), "a dog")] * 600
    plain, helped = (Composer(relations(), measured(), part).weight for part in ([], written))
    shares = [weight[DOG] - weight[DOG - 1] for weight in (plain, helped)]
    assert shares[1] < 0.5 * shares[0]


def toy_examples() -> list[Example]:
    return [
        example((label,), f"{start} {name}{end}", style)
        for label, name in NAMES.items()
        for start in ("a", "the", "some loud")
        for end in ("", " nearby", " far away")
        for style in (BRIEF, DETAILED)
    ]


MODEL = ModelSettings(
    encoder=YamnetVoiceSettings(overlap=0.5, weights="formula"),
    adapter=EvidenceSettings(d_model=16, heads=2, head_dim=8, ff=16),
    words=RandomSettings(width=16, spread=0.25),
    decoder=DecoderSettings(d_model=16, heads=2, head_dim=8, ff=16, blocks=1, tied=True),
)
VOCABULARY = Vocabulary.from_captions([*(e.caption for e in toy_examples()), *sayings()])


MIX = Mix(27, 9, 20)


def toy_scenes(*more: Example, mix: Mix = MIX, high: float = -6.0) -> Scenes:
    numbers = measured()
    numbers.high.fill_(high)
    composer = Composer(relations(), numbers, [])
    buffers = buffers_of(numbers, relations().given)
    return Scenes([*toy_examples(), *more], composer, mix, VOCABULARY, Channel(numbers), buffers)


def captions_of(batches: list[SceneBatch]) -> list[list[str]]:
    """Read the captions of every batch back, in the order of its scenes."""
    return [[text for _, text in sorted(texts_of(batch))] for batch in batches]


def texts_of(batch: SceneBatch) -> Iterator[tuple[int, str]]:
    """Yield every scene's number with its caption."""
    for scene, tokens in zip(batch.rows.clip_of_row, batch.rows.tokens.tolist(), strict=True):
        yield scene, VOCABULARY.decode(tokens)


def test_an_epoch_has_so_many_captions_of_each_kind_and_all_of_them_in_turn() -> None:
    source = toy_scenes()
    first, second, third = (list(source.training_batches(8, seed=3, epoch=epoch)) for epoch in (1, 2, 3))
    written = {e.caption for e in toy_examples()}
    detailed = []
    for epoch in (first, second, third):
        assert sum(batch.pairs for batch in epoch) == source.pairs == 56
        texts = [text for batch in captions_of(epoch) for text in batch]
        assert sum(text in written for text in texts) >= 36
        lengths = [[len(text.split()) for text in batch] for batch in captions_of(epoch)]
        assert np.mean([max(found) - min(found) for found in lengths]) < 4
        rows = zip((s for b in epoch for s in b.styles.tolist()), texts, strict=True)
        detailed += [text for style, text in rows if style == DETAILED and text in written]
    assert captions_of(first) != captions_of(second)
    # Three epochs of nine are all 27 of them.
    assert set(detailed) == written


def test_captions_that_cannot_be_learned_are_left_out() -> None:
    plain = toy_scenes()
    more = toy_scenes(
        example((DOG,), "a " * 31),
        example((DOG,), "!"),
        example((DOG,), "a dog barks followed by barks", ordered=True),
    )
    assert len(more.examples) == len(plain.examples) == len(toy_examples())
    times = {DOG: EARLIER, RAIN: LATER}
    told = example((DOG, RAIN), "a dog barks then rain falls", ordered=True, times=times)
    assert len(toy_scenes(told).examples) == len(plain.examples) + 1


def same(one: list[SceneBatch], other: list[SceneBatch]) -> bool:
    return all(
        torch.equal(first, second)
        for a, b in zip(one, other, strict=True)
        for first, second in zip((*a.evidence, a.rows.tokens), (*b.evidence, b.rows.tokens), strict=True)
    )


def test_the_same_seed_and_epoch_draw_the_same() -> None:
    source = toy_scenes()

    def drawn(seed: int, epoch: int) -> list[SceneBatch]:
        return list(source.training_batches(8, seed, epoch))

    assert same(drawn(3, 1), drawn(3, 1))
    assert same(list(source.validation_batches(5)), list(source.validation_batches(5)))
    assert captions_of(drawn(3, 1)) != captions_of(drawn(4, 1))
    held_out = [text for batch in captions_of(list(source.validation_batches(5))) for text in batch]
    assert sorted(held_out) == sorted(e.caption for e in toy_examples())


def test_where_people_wrote_nothing_composed_captions_validate() -> None:
    composer = Composer(relations(), measured(), [])
    buffers = buffers_of(measured(), relations().given)
    source = Scenes([], composer, Mix(0, 0, 30), VOCABULARY, Channel(measured()), buffers)
    assert sum(batch.pairs for batch in source.validation_batches(8)) == 30
    assert sum(batch.pairs for batch in source.training_batches(8, seed=0, epoch=1)) == 30


def test_the_fingerprint_sees_captions_mix_and_measures() -> None:
    source = toy_scenes()
    others = [
        toy_scenes(example((DOG,), "a dog")),
        toy_scenes(example((RAIN,), "a dog")),
        toy_scenes(mix=Mix(27, 9, 21)),
        toy_scenes(high=-5.0),
    ]
    assert len({fingerprint(one) for one in (source, *others)}) == 5
    assert fingerprint(source, others[0]) != fingerprint(others[0], source)
    assert fingerprint(source) == fingerprint(toy_scenes())


def toy_run(runs: Path, report: Callable[[Epoch], None] = lambda epoch: None) -> Path:
    source = toy_scenes()
    numbers = {"batch_pairs": 8, "maximum_epochs": 4, "warmup_steps": 5, "learning_rate": 0.02}
    settings = ExperimentSettings(
        data=DataSettings(fingerprint=fingerprint(source)),
        model=MODEL,
        training=TRAINING.model_copy(update=numbers),
    )
    experiment = Experiment(settings, VOCABULARY, source, source)
    return train(experiment, runs, RuntimeSettings(threads=1), report)


@pytest.mark.slow
def test_the_recipe_trains_by_the_trainer_and_goes_on_to_identical_weights(tmp_path: Path) -> None:
    def kill(epoch: Epoch) -> None:
        if epoch.epoch == 2:
            raise KeyboardInterrupt

    whole = toy_run(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        toy_run(tmp_path / "killed", kill)
    resumed = toy_run(tmp_path / "killed")
    for name in ("model.safetensors", "log.csv", "done"):
        assert (resumed / name).read_bytes() == (whole / name).read_bytes()
    first, *_, last = read_log(whole / "log.csv")
    assert last.validation_loss < 0.8 * first.validation_loss
    model, _, settings = load_run(whole)
    # What a run says of its training is how it was trained.
    assert (settings.training.schedule, settings.training.beta2) == ("cosine", 0.98)
    # What was measured goes with the weights.
    assert isinstance(model.adapter, EvidenceMemory)
    assert torch.equal(model.adapter.background, measured().background)


@pytest.mark.parametrize(
    ("kind", "caption", "named"),
    [
        ("Rooster", "a chicken clucks", True),
        ("Rooster", "a dog barks", False),
        ("Dog bark", "dogs are barking", True),
        ("street_music", "someone plays a guitar", True),
        ("Sea waves", "a car passes", False),
    ],
)
def test_a_kind_is_named_by_its_own_or_its_relatives_words(kind: str, caption: str, named: bool) -> None:
    assert naming.shares_named([kind], [caption]) == {kind: float(named)}


def test_kinds_count_alike_however_many_recordings_they_have() -> None:
    kinds = ["Rain", "Rain", "Rain", "Rooster"]
    captions = ["rain falls", "rain falls", "rain falls", "a dog barks"]
    assert naming.mean_named(kinds, captions) == 0.5


def test_a_sound_is_invented_if_neither_it_nor_a_relative_is_heard(lexis: Lexicon) -> None:
    strength = torch.full((4, CLASSES), -7.0)
    strength[1, DOG] = -1.0  # clear
    strength[2, DOG] = -2.4  # faint, but far above its background
    strength[3, DOG + 1] = -1.0  # a bark is heard, and implies a dog
    found = invention.invented(["a dog barks"] * 4, strength, lexis, relations(), measured())
    assert found == [True, False, False, False]
    quiet = invention.invented(["zither"], strength[:1], lexis, relations(), measured())
    assert quiet == [False]


def test_a_class_is_named_by_its_own_and_its_relatives_phrases() -> None:
    related = np.eye(CLASSES, dtype=bool)
    related[DOG + 1, DOG] = True
    names = evaluate.names_of(related)
    assert "dog" in names[DOG + 1]
    assert "rain" in names[RAIN]
    assert "rain" not in names[DOG + 1]
    assert not {"a", "the", "someone"} & names[RAIN]


def test_confidence_recovers_what_was_planted() -> None:
    random = np.random.default_rng(0)
    signs = np.concatenate([np.ones((20_000, 1)), random.standard_normal((20_000, 5))], axis=1)
    planted = np.array([1.0, 2.0, 0.5, 0.0, -1.0, -0.5])
    true = random.random(20_000) < 1.0 / (1.0 + np.exp(-signs @ planted))
    assert confidence.regression(signs, true.astype(float)) == pytest.approx(planted, abs=0.1)


def test_reliability_compares_what_was_told_with_what_was() -> None:
    told = [chance for chance in (0.1, 0.3, 0.5, 0.7, 0.9) for _ in range(20)]
    was = [place < named for named in (2, 6, 10, 14, 8) for place in range(20)]
    text = confidence.reliability(told, was)
    assert "| 0.30 to 0.30 | 20 | 0.30 | 0.30 |" in text
    assert "| 0.90 to 0.90 | 20 | 0.90 | 0.40 |" in text
    assert text.endswith("Expected calibration error: 0.100.")
    perfect = confidence.reliability([1.0] * 10, [True] * 10)
    assert perfect.endswith("Expected calibration error: 0.000.")


@pytest.mark.parametrize("free", [False, True])
def test_the_card_states_terms_and_figures_of_its_run(tmp_path: Path, free: bool) -> None:
    (tmp_path / "log.csv").write_text(
        "epoch,steps,training_loss,validation_loss\n1,540,3.0,2.5\n2,1080,2.0,2.25\n3,1620,1.5,2.75\n"
    )
    text = card.text(
        free,
        training=[example((DOG,), "a")] * 1234 + [example((DOG,), "a", style=DETAILED)] * 56,
        held_out=[example((DOG,), "a")] * 5,
        settings=ExperimentSettings(model=MODEL, training=TrainingSettings(learning_rate=0.0125)),
        log=tmp_path / "log.csv",
        table="| the table |",
        reliability="| the diagram |",
    )
    assert "@" not in text
    for words in (
        "1,080 steps of cross-entropy; of 3 epochs number 2 was kept",
        "held-out captions, 2.250 nats a word",
        '"learning_rate": 0.0125',
        "captions of 1 clips of AudioCaps' validation split",
        "| the table |",
        "| the diagram |",
    ):
        assert words in text
    theirs = ("training split, 1,234 (Kim", "development split, 56 (Drossos", "non-commercial use only")
    assert all((words in text) is not free for words in theirs)
    assert ("may be used for any purpose" in text) is free

import io
import json
import math
import shutil
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

import otoscribe
from otoscribe.bundle.bundle import EncodedClip
from otoscribe.errors import AudioError, BundleError, UsageError
from otoscribe.listen import captioner as module
from otoscribe.listen.captioner import Captioner
from otoscribe.listen.results import Caption, Failure
from otoscribe.listen.support import unsupported
from otoscribe.search.options import Search
from otoscribe.search.rules import Never
from otoscribe.text.phrase_book import CLASSES, phrase_book
from support.threads import own_threads
from support.tiny_bundle import write_tiny_bundle


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_bundle(tmp_path_factory.mktemp("bundle") / "tiny")


@pytest.fixture(scope="module")
def captioner(tiny: Path) -> Captioner:
    return Captioner(tiny)


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("recordings")
    random = np.random.default_rng(3)
    paths = []
    for index, seconds in enumerate([0.3, 2.0, 0.9, 5.0, 1.0, 3.3, 0.1, 2.0]):
        time = np.arange(int(seconds * 8000)) / 8000
        sound = np.sin(time * 700 * (index + 1)) * 0.5 + random.normal(size=time.size) * 0.02
        paths.append(folder / f"{index}.wav")
        soundfile.write(paths[-1], sound, 8000, subtype="FLOAT")
    return paths


def same(one: Caption, other: Caption) -> bool:
    return (one.file, one.seconds) == (other.file, other.seconds) and all(
        a.caption == b.caption and math.isclose(a.log_probability, b.log_probability, abs_tol=1e-4)
        for a, b in zip(one.candidates, other.candidates, strict=True)
    )


def test_caption_and_its_scores_agree(captioner: Captioner, recordings: list[Path]) -> None:
    caption = captioner.caption(recordings[3], candidates=3)
    assert caption.file == str(recordings[3])
    assert caption.seconds == 5
    best = caption.candidates[0]
    assert (caption.caption, caption.log_probability, caption.confidence) == (
        best.caption,
        best.log_probability,
        best.confidence,
    )
    assert len({one.caption for one in caption.candidates}) == 3
    assert sorted(caption.candidates, key=lambda one: -one.log_probability) == list(caption.candidates)
    for one in caption.candidates:
        words = [word for word, _ in one.words]
        assert " ".join(words) == one.caption
        assert 0 < one.confidence <= 1
        assert one.confidence == pytest.approx(math.exp(one.log_probability / (len(words) + 1)))
        # What is left of the log-probability is the end's.
        assert one.log_probability <= sum(math.log(probability) for _, probability in one.words) + 1e-6
        assert all(0 < probability <= 1 for _, probability in one.words)


def test_different_sounds_are_captioned_differently(captioner: Captioner, recordings: list[Path]) -> None:
    assert len({captioner.caption(path).log_probability for path in recordings}) == len(recordings)


@settings(max_examples=15, deadline=None)
@given(data=st.data(), beam=st.integers(1, 5))
def test_a_batch_equals_each_alone_in_order(
    captioner: Captioner, recordings: list[Path], data: st.DataObject, beam: int
) -> None:
    chosen = data.draw(st.lists(st.sampled_from([*recordings, Path("missing.wav")]), max_size=12))
    together = list(captioner.caption_many(chosen, beam=beam))
    assert [result.file for result in together] == [str(path) for path in chosen]
    for path, result in zip(chosen, together, strict=True):
        if path == Path("missing.wav"):
            assert result == Failure("missing.wav", "missing.wav does not exist.")
        else:
            assert isinstance(result, Caption)
            assert same(result, captioner.caption(path, beam=beam))


@pytest.mark.parametrize(("clips", "seconds"), [(1, 600), (3, 600), (16, 6)])
def test_how_clips_are_grouped_changes_nothing(
    captioner: Captioner, recordings: list[Path], monkeypatch: pytest.MonkeyPatch, clips: int, seconds: int
) -> None:
    expected = list(captioner.caption_many(recordings))
    sizes = []
    decode = Captioner.decode

    def counted(self: Captioner, clips: list, settings: object) -> list[Caption]:
        sizes.append(len(clips))
        return decode(self, clips, settings)

    monkeypatch.setattr(Captioner, "decode", counted)
    monkeypatch.setattr(module, "TOGETHER", clips)
    monkeypatch.setattr(module, "_SECONDS", seconds)
    results = list(captioner.caption_many(recordings))
    assert all(same(one, other) for one, other in zip(results, expected, strict=True))
    assert len(sizes) > 2
    assert sum(sizes) == len(recordings)


@pytest.mark.parametrize(("threads", "taken"), [(1, 32), (3, 32 + 6 * 3 - 1)])
def test_results_come_before_later_recordings_are_read(
    tiny: Path, recordings: list[Path], threads: int, taken: int
) -> None:
    asked = []

    def paths() -> object:
        for _ in range(9):
            for path in recordings:
                asked.append(path)
                yield path

    results = Captioner(tiny, threads).caption_many(paths())
    assert asked == []
    next(results)
    assert len(asked) == taken
    results.close()
    assert len(asked) == taken
    assert not own_threads()


@pytest.mark.parametrize("threads", [1, 3])
def test_many_give_what_each_gives(
    tiny: Path, captioner: Captioner, recordings: list[Path], threads: int
) -> None:
    many = [*recordings, "missing.wav", None, *recordings[::-1], *recordings]
    results = list(Captioner(tiny, threads).caption_many(many, candidates=2))
    for recording, result in zip(many, results, strict=True):
        if recording in ("missing.wav", None):
            assert isinstance(result, Failure)
        else:
            assert same(result, captioner.caption(recording, candidates=2))


def test_what_is_open_may_be_closed_when_the_next_is_taken(
    tiny: Path, captioner: Captioner, recordings: list[Path]
) -> None:
    def opened() -> object:
        for path in recordings:
            with path.open("rb") as file:
                yield file

    def reused() -> object:
        content = bytearray()
        for path in recordings:
            content[:] = path.read_bytes()
            yield content

    expected = list(captioner.caption_many(recordings))
    for lazily in (opened(), reused()):
        results = list(Captioner(tiny, 3).caption_many(lazily))
        assert [result.caption for result in results] == [result.caption for result in expected]


def test_interrupted_it_leaves_no_threads(
    tiny: Path, recordings: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "search_captions", interrupted)
    with pytest.raises(KeyboardInterrupt) as raised:
        list(Captioner(tiny, 3).caption_many(recordings * 9))
    assert not own_threads()
    assert raised.tb is not None  # which still holds all that was at work


def test_long_recordings_are_listened_to_one_at_a_time(
    tiny: Path, recordings: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    captioner, alone = Captioner(tiny, 2), {}
    listen, two = module.Bundle.listen, threading.Barrier(2, timeout=30)

    def watched(self: module.Bundle, waveforms: list, style: str | None) -> list:
        seconds = len(waveforms[0]) / self.manifest.sample_rate
        alone[round(seconds)] = captioner._one_long.locked()
        if seconds < 4:
            two.wait()
        return listen(self, waveforms, style)

    monkeypatch.setattr(module, "_LONG_SECONDS", 4)
    monkeypatch.setattr(module.Bundle, "listen", watched)
    assert len(list(captioner.caption_many([*[recordings[1]] * 4, recordings[3]]))) == 5
    assert alone == {5: True, 2: False}


def test_waveform_and_file_give_the_same(captioner: Captioner, recordings: list[Path]) -> None:
    samples, rate = soundfile.read(recordings[1])
    caption = captioner.caption_waveform(samples, rate)
    assert caption.file is None
    assert caption.seconds == 2
    assert caption.candidates == captioner.caption(recordings[1]).candidates


def test_integers_and_lists_are_heard_like_numbers_in_range(captioner: Captioner) -> None:
    samples = np.sin(np.arange(8000) / 3).astype(np.float32) * 0.5
    expected = captioner.caption_waveform(samples, 8000)
    assert captioner.caption_waveform(samples.tolist(), 8000) == expected
    for kind, offset, half in (("int16", 0, 2**15), ("int32", 0, 2**31), ("uint8", 128, 128)):
        integers = np.round(samples.astype(np.float64) * half + offset).astype(kind)
        same_sound = ((integers.astype(np.float64) - offset) / half).astype(np.float32)
        assert captioner.caption_waveform(integers, 8000) == captioner.caption_waveform(same_sound, 8000)


def test_waveform_is_left_as_it_was(captioner: Captioner) -> None:
    loud = np.tile(np.float32([0.5, 0.1, -5]), 3000)
    captioner.caption_waveform(loud, 8000)
    assert (loud[2::3] == -5).all()


def test_one_wild_sample_leaves_the_rest_as_it_is(captioner: Captioner) -> None:
    samples = np.sin(np.arange(8000) / 3) * 0.5
    clipped = samples.copy()
    samples[4000], clipped[4000] = 1e9, 1.0
    heard = captioner.caption_waveform(samples, 8000)
    assert heard.notes == ("1 sample far beyond full scale was clipped",)
    assert replace(heard, notes=()) == captioner.caption_waveform(clipped, 8000)


def test_one_channel_of_an_array(captioner: Captioner) -> None:
    samples = np.random.default_rng(0).normal(size=(8000, 2)) * 0.1
    second = captioner.caption_waveform(samples, 8000, channel=2)
    assert second.channel == 2
    assert replace(second, channel=None) == captioner.caption_waveform(samples[:, 1], 8000)
    with pytest.raises(AudioError, match="there is no channel 3"):
        captioner.listen(samples, 8000, channel=3)


@pytest.mark.parametrize(
    ("waveform", "said"),
    [
        (np.zeros((2, 8000)), "turn it round"),
        (np.zeros((2, 3, 4)), "one recording at a time"),
        (np.zeros(0), "is empty"),
        (np.array([0, np.nan, np.inf]), "not finite"),
        (np.full(100, 3000.0), "divide them by the largest"),
        (np.array([0, 1j]), "complex128 cannot be heard"),
        (["a"], "cannot be heard"),
        (None, "object cannot be heard"),
        ([[1.0], [1.0, 2.0]], "differ in length"),
        (np.zeros(9, dtype=[("left", "f4")]), "cannot be heard"),
        (np.ma.masked_array([0.5, 0.1], [True, False]), "fill it first"),
    ],
)
def test_waveforms_that_cannot_be_heard(captioner: Captioner, waveform: object, said: str) -> None:
    with pytest.raises(AudioError, match=said):
        captioner.caption_waveform(waveform, 8000)


@pytest.mark.parametrize("rate", [0, -8000])
def test_impossible_rate(captioner: Captioner, rate: int) -> None:
    with pytest.raises(UsageError, match="sample rate"):
        captioner.caption_waveform(np.zeros(100), rate)


@pytest.mark.parametrize("options", [{"beam": 0}, {"candidates": 0}, {"beam": 2, "candidates": 3}])
def test_impossible_options_are_refused_at_the_call(captioner: Captioner, options: dict[str, int]) -> None:
    with pytest.raises(UsageError):
        captioner.caption_many([], **options)


def test_more_candidates_widen_the_default_beam(captioner: Captioner, recordings: list[Path]) -> None:
    assert len(captioner.caption(recordings[1], candidates=7).candidates) == 7


def test_the_models_own_search_is_used(tiny: Path, tmp_path: Path, recordings: list[Path]) -> None:
    folder = shutil.copytree(tiny, tmp_path / "terse")
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    manifest["search"] |= {"beam": 2, "maximum_words": 2, "minimum_words": 2}
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    terse = Captioner(folder)
    assert terse.own_search().beam == 2
    assert [len(terse.caption(path).candidates[0].words) for path in recordings] == [2] * len(recordings)


def test_numpy_numbers_are_numbers(captioner: Captioner, recordings: list[Path]) -> None:
    caption = captioner.caption(recordings[1], beam=np.int64(3), candidates=np.int32(2))
    assert caption == captioner.caption(recordings[1], beam=3, candidates=2)


def test_too_many_candidates_are_named(captioner: Captioner) -> None:
    with pytest.raises(UsageError, match="candidates must be a whole number from 1 to 1000"):
        captioner.caption_many([], candidates=1001)


def test_names_that_are_none(captioner: Captioner, recordings: list[Path]) -> None:
    for alone in ("a.wav", b"a.wav", Path("a.wav"), io.BytesIO()):
        with pytest.raises(UsageError, match="takes a list of recordings"):
            captioner.caption_many(alone)
    nothing, heard = captioner.caption_many([None, recordings[0].read_bytes()])
    message = "A recording is a path, bytes or a file opened in binary mode, not None."
    assert nothing == Failure("None", message)
    assert replace(heard, file=str(recordings[0])) == captioner.caption(recordings[0])
    with pytest.raises(UsageError, match="A recording is a path"):
        captioner.caption(None)


@pytest.mark.parametrize("error", [MemoryError(), BundleError("The model could not be run.")])
def test_what_cannot_be_decoded_fails_alone(
    captioner: Captioner, recordings: list[Path], monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    expected = list(captioner.caption_many(recordings))
    search = module.search_captions

    def limited(stepper: module.OnnxStepper, *settings: object) -> object:
        if stepper.start().memory_mask.shape[1] > 40:
            raise error
        return search(stepper, *settings)

    monkeypatch.setattr(module, "search_captions", limited)
    results = list(captioner.caption_many(recordings))
    for index, result in enumerate(results):
        if index == 3:
            assert isinstance(result, Failure)
            assert result.message.startswith(f"{recordings[3]} got no caption. The model ")
        else:
            assert same(result, expected[index])


@pytest.mark.parametrize(("beam", "clips"), [(4, 32), (64, 4), (1000, 1)])
def test_wide_beams_decode_fewer_clips_together(
    captioner: Captioner, recordings: list[Path], monkeypatch: pytest.MonkeyPatch, beam: int, clips: int
) -> None:
    sizes = []

    def counted(stepper: module.OnnxStepper, *_: object) -> list:
        sizes.append(stepper.clips)
        raise BundleError("Enough.")

    monkeypatch.setattr(module, "search_captions", counted)
    list(captioner.caption_many(recordings * 5, beam=beam))
    assert max(sizes) == clips


def test_listening_and_decoding_apart_give_what_captioning_gives(
    captioner: Captioner, recordings: list[Path]
) -> None:
    clips = [captioner.listen(*soundfile.read(path)) for path in recordings[:3]]
    together = captioner.decode(clips, captioner.own_search(beam=5, candidates=2))
    for path, caption in zip(recordings, together, strict=False):
        expected = captioner.caption(path, beam=5, candidates=2)
        assert same(replace(caption, file=expected.file), expected)
    # What was heard once may be decoded in many ways.
    (first,) = captioner.decode(clips[:1], captioner.own_search())
    (other,) = captioner.decode(clips[:1], captioner.own_search(), [Never((4, 5, 6))])
    said = {word for word, _ in other.candidates[0].words}
    assert first.caption != other.caption
    assert not said & {"a", "dog", "barks"}


def test_attention_says_when_each_word_was_heard(tmp_path: Path, captioner: Captioner) -> None:
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, 8000)
    clip = captioner.listen(samples, 8000)
    attention = captioner.attention(clip, "a dog barks")
    assert attention.shape == (3, 11)
    np.testing.assert_allclose(attention.sum(axis=1), 1, atol=1e-5)
    # Each place comes from its own frame and the next one by halves, the last one from half a frame.
    spread = Captioner(write_tiny_bundle(tmp_path / "spread", sources=True))
    moved = spread.attention(spread.listen(samples, 8000), "a dog barks")
    halves = attention / 2
    halves[:, 1:] += attention[:, :-1] / 2
    np.testing.assert_allclose(moved, halves, atol=1e-5)


def test_threads_change_nothing(tiny: Path, captioner: Captioner, recordings: list[Path]) -> None:
    assert same(Captioner(tiny, threads=1).caption(recordings[3]), captioner.caption(recordings[3]))


def test_without_a_model_inside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(module, "BUNDLED", tmp_path)
    with pytest.raises(BundleError, match="no model inside; name one"):
        Captioner()


def test_function_uses_the_model_inside_once(
    tiny: Path, recordings: list[Path], captioner: Captioner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BUNDLED", tiny)
    monkeypatch.setattr(otoscribe, "_default", None)
    assert same(otoscribe.caption(recordings[0]), captioner.caption(recordings[0]))
    monkeypatch.setattr(module, "BUNDLED", Path("gone"))
    assert len(otoscribe.caption(str(recordings[0]), candidates=2, beam=4).candidates) == 2


def test_public_names() -> None:
    assert otoscribe.Captioner is Captioner
    assert all(getattr(otoscribe, name) for name in otoscribe.__all__)
    with pytest.raises(AttributeError, match="no attribute 'capton'"):
        _ = otoscribe.capton


BLOCKED = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"torch", "h5py", "onnx", "scipy", "safetensors", "flatbuffers"}:
            raise ImportError(name + " is for learning only")
sys.meta_path.insert(0, Blocker())
import otoscribe
light = {"numpy", "onnxruntime", "soundfile", "soxr", "pydantic", "typer", "rich"} & set(sys.modules)
assert not light, f"import otoscribe loads {light}"
import otoscribe.cli.main
assert not {"numpy", "onnxruntime", "rich"} & set(sys.modules), "the command line loads more than it needs"
model, *files = sys.argv[1:]
sys.argv = ["otoscribe", "caption", "--model", model, *files]
otoscribe.cli.main.main()
"""


def test_listening_needs_nothing_of_the_learning_half(tiny: Path, recordings: list[Path]) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", BLOCKED, str(tiny), *map(str, recordings[:2])],
        capture_output=True,
        text=True,
    )
    assert (done.stderr, done.returncode) == ("", 0)
    assert done.stdout.count("confidence") == 2


def known(clip: EncodedClip, support: float, **salient: float) -> EncodedClip:
    """Return a clip of which all sounds are as much heard, and some should be named."""
    names = [sound.name for sound in phrase_book()]
    salience = np.zeros((3, CLASSES), np.float32)
    for row, (name, worth) in enumerate(salient.items()):
        salience[row, names.index(name)] = worth
    return replace(clip, support=np.full(CLASSES, support, np.float32), salience=salience)


def test_what_speaks_of_sounds_that_are_not_heard_stands_behind_the_rest(captioner: Captioner) -> None:
    clip = captioner.listen(np.sin(np.arange(16000) / 3.0), 8000)
    search = captioner.own_search(beam=8, candidates=8)
    (plain,) = captioner.decode([clip], search)
    (heard,) = captioner.decode([known(clip, 1.0)], search)
    assert heard.caption == plain.caption
    unheard = known(clip, -1.0)
    assert unheard.support is not None
    (found,) = captioner.decode([unheard], search)
    counts = [unsupported(one.caption.split(), unheard.support) for one in found.candidates]
    assert counts[0] <= min(counts) + 1
    assert [one.caption for one in found.candidates] != [one.caption for one in heard.candidates]
    # One candidate is the best of all that were found, not only of itself.
    (best,) = captioner.decode([unheard], captioner.own_search(beam=8))
    assert best.caption == found.caption


def test_what_stands_out_is_named(captioner: Captioner) -> None:
    clip = captioner.listen(np.sin(np.arange(16000) / 3.0), 8000)
    search = Search(beam=60, minimum_words=3, maximum_words=6, length_normalisation=1.0)
    (plain,) = captioner.decode([clip], search)
    (named,) = captioner.decode([known(clip, 1.0, Clock=20.0)], search)
    of_a_clock = {"clock", "ticks"}
    assert not of_a_clock & set(plain.caption.split())
    assert of_a_clock & set(named.caption.split())


def test_confidence_is_a_chance_where_the_model_knows_of_sounds(tmp_path: Path) -> None:
    folder = write_tiny_bundle(tmp_path / "tiny")
    words_only = Captioner(folder)
    clip = words_only.listen(np.sin(np.arange(16000) / 3.0), 8000)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["confidence"] = [0.3, 1.0, 0.5, 0.25, 0.0, -2.0]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    captioner = Captioner(folder)
    search = Search(beam=1, minimum_words=11, maximum_words=11)
    heard, unheard = (captioner.decode([known(clip, support)], search)[0] for support in (1.0, -1.0))
    tokens = len(heard.candidates[0].words) + 1
    log_odds = 0.3 + heard.log_probability / tokens
    assert heard.confidence == pytest.approx(1 / (1 + math.exp(-log_odds)))
    assert unheard.confidence < heard.confidence
    # Of a clip of which nothing is known, the words alone tell.
    (plain,) = captioner.decode([clip], search)
    assert plain.confidence == pytest.approx(math.exp(plain.log_probability / tokens))
    manifest["confidence"] = [1.0, 2.0]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(BundleError, match="not valid at 'confidence"):
        Captioner(folder)


def test_styles() -> None:
    captioner = Captioner(threads=1)
    siren = Path(__file__).resolve().parents[2] / "examples" / "siren.flac"
    brief, detailed = (captioner.caption(siren, style=style) for style in captioner.manifest.styles)
    assert brief == captioner.caption(siren)
    assert brief.caption != detailed.caption
    waveform, rate = soundfile.read(siren)
    for style, expected in (("brief", brief), ("detailed", detailed)):
        assert list(captioner.caption_many([siren], style=style)) == [expected]
        assert captioner.caption_waveform(waveform, rate, style=style).caption == expected.caption
    for call in (captioner.caption, lambda path, style: captioner.caption_many([path], style=style)):
        with pytest.raises(UsageError, match=r"no style named 'detail'. Did you mean 'detailed'"):
            call(siren, style="detail")


def test_a_model_with_one_way_of_writing(captioner: Captioner) -> None:
    with pytest.raises(UsageError, match="one way of writing only"):
        captioner.listen(np.zeros(8000), 8000, style="brief")

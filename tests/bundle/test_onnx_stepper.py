import numpy as np
import pytest

from otoscribe.bundle.bundle import Bundle, EncodedClip
from otoscribe.bundle.onnx_stepper import OnnxStepper, State, attention_to
from otoscribe.search.beam import search
from otoscribe.text.vocabulary import START
from support.tiny_bundle import SEARCH, write_tiny_bundle


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return Bundle.open(write_tiny_bundle(tmp_path_factory.mktemp("bundle") / "tiny"))


def listened(bundle: Bundle, seconds: list[float]) -> list[EncodedClip]:
    random = np.random.default_rng(7)
    waveforms = [random.uniform(-1, 1, int(length * 8000)).astype(np.float32) for length in seconds]
    return [bundle.listen([waveform])[0] for waveform in waveforms]


def replay(bundle: Bundle, clip: EncodedClip, tokens: list[int]) -> np.ndarray:
    stepper = OnnxStepper(bundle, [clip])
    state = stepper.start()
    history = np.array([[[START, *tokens]]])
    for time in range(1, history.shape[-1] + 1):
        log_probabilities, state = stepper.step(state, history[..., :time])
    return log_probabilities[0, 0]


def test_reordered_cache_equals_each_row_from_its_beginning(bundle: Bundle) -> None:
    clips = listened(bundle, [1.0, 3.0, 0.6])
    stepper = OnnxStepper(bundle, clips)
    state = stepper.start()
    _, state = stepper.step(state, np.full((3, 1, 1), START))
    state = stepper.reorder(state, np.array([[0, 0, 0], [1, 1, 1], [2, 2, 2]]))
    second = np.array([[4, 5, 6], [7, 8, 9], [10, 11, 12]])
    _, state = stepper.step(state, np.stack([np.full((3, 3), START), second], axis=-1))
    # Clip 1, the longest, is done; the others' rows change places and one is doubled.
    state = stepper.reorder(state, np.array([[2, 0], [7, 7]]))
    assert state.memory_mask.shape == (2, clips[0].places)
    history = np.array([[[START, 6, 13], [START, 4, 14]], [[START, 11, 4], [START, 11, 5]]])
    log_probabilities, _ = stepper.step(state, history)
    for line, clip in enumerate((clips[0], clips[2])):
        for row in range(2):
            expected = replay(bundle, clip, history[line, row, 1:].tolist())
            np.testing.assert_allclose(log_probabilities[line, row], expected, atol=1e-5)


def test_log_probabilities_are_a_distribution_that_hears_and_remembers(bundle: Bundle) -> None:
    one, other = listened(bundle, [1.0, 2.0])
    first = replay(bundle, one, [4, 5])
    assert np.exp(first).sum() == pytest.approx(1, abs=1e-5)
    assert np.abs(first - replay(bundle, other, [4, 5])).max() > 1e-3
    assert np.abs(first - replay(bundle, one, [6, 5])).max() > 1e-3


def test_attention_is_a_share_of_every_place_for_every_word(bundle: Bundle) -> None:
    (clip,) = listened(bundle, [1.0])
    attention = attention_to(bundle, clip, [4, 5, 6])
    assert attention.shape == (3, clip.places)
    np.testing.assert_allclose(attention.sum(axis=1), 1, atol=1e-5)
    # A word's own row was read before the word: it depends on those before it only.
    np.testing.assert_allclose(attention_to(bundle, clip, [4, 5, 7]), attention, atol=1e-6)
    assert np.abs(attention_to(bundle, clip, [4, 6, 6])[2] - attention[2]).max() > 1e-5
    assert attention_to(bundle, clip, []).shape == (0, clip.places)


def test_a_batch_is_searched_as_each_clip_alone(bundle: Bundle) -> None:
    clips = listened(bundle, [0.5, 4.0, 1.2, 9.0, 0.7, 2.0])
    together = search(OnnxStepper(bundle, clips), SEARCH)
    for clip, found in zip(clips, together, strict=True):
        (alone,) = search(OnnxStepper(bundle, [clip]), SEARCH)
        assert [one.tokens for one in found] == [one.tokens for one in alone]
        assert [one.log_probability for one in found] == pytest.approx(
            [one.log_probability for one in alone], abs=1e-5
        )


@pytest.mark.parametrize("beam", [1, 3])
def test_rows_that_stay_where_they_are_need_no_reordering(bundle: Bundle, beam: int) -> None:
    class Reordering(OnnxStepper):
        """Reorders before every step, and moves nothing."""

        def step(self, state: State, history: np.ndarray) -> tuple[np.ndarray, State]:
            rows = np.arange(history.shape[0] * history.shape[1]).reshape(history.shape[:2])
            return super().step(self.reorder(state, rows), history)

    clips = listened(bundle, [0.5, 4.0, 1.2])
    chosen = SEARCH.model_copy(update={"beam": beam})
    assert search(OnnxStepper(bundle, clips), chosen) == search(Reordering(bundle, clips), chosen)


def test_the_cache_before_any_word_is_laid_out_for_the_products(bundle: Bundle) -> None:
    clips = listened(bundle, [0.5, 1.0])
    cache = OnnxStepper(bundle, clips).start()
    for block in range(2):
        for row, clip in enumerate(clips):
            keys, values = cache.memory_keys[block][row], cache.memory_values[block][row]
            np.testing.assert_array_equal(keys[..., : clip.places], clip.keys[block].transpose(1, 2, 0))
            np.testing.assert_array_equal(values[:, : clip.places], clip.values[block].transpose(1, 0, 2))
    assert cache.memory_mask.sum(axis=1).tolist() == [clip.places for clip in clips]

import numpy as np
import pytest

from otoscribe.bundle.bundle import Bundle, Memory
from otoscribe.bundle.onnx_stepper import OnnxStepper
from otoscribe.search.beam import search
from otoscribe.text.vocabulary import START
from support.tiny_bundle import SEARCH, write_tiny_bundle


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return Bundle.open(write_tiny_bundle(tmp_path_factory.mktemp("bundle") / "tiny"))


def memories(bundle: Bundle, seconds: list[float]) -> list[Memory]:
    random = np.random.default_rng(7)
    return [bundle.listen(random.uniform(-1, 1, int(length * 8000)).astype(np.float32)) for length in seconds]


def replay(bundle: Bundle, memory: Memory, tokens: list[int]) -> np.ndarray:
    stepper = OnnxStepper(bundle, [memory])
    state = stepper.start()
    for token in [START, *tokens]:
        log_probabilities, state = stepper.step(state, np.array([[token]]))
    return log_probabilities[0, 0]


def test_reordered_cache_equals_each_row_from_its_beginning(bundle: Bundle) -> None:
    clips = memories(bundle, [1.0, 3.0, 0.6])
    stepper = OnnxStepper(bundle, clips)
    state = stepper.start()
    _, state = stepper.step(state, np.full((3, 1), START))
    state = stepper.reorder(state, np.array([[0, 0, 0], [1, 1, 1], [2, 2, 2]]))
    _, state = stepper.step(state, np.array([[4, 5, 6], [7, 8, 9], [10, 11, 12]]))
    # Clip 1, the longest, is done; the others' rows change places and one is doubled.
    state = stepper.reorder(state, np.array([[2, 0], [7, 7]]))
    assert state.memory_mask.shape == (2, clips[0].frames)
    log_probabilities, _ = stepper.step(state, np.array([[13, 14], [4, 5]]))
    expected = [[(0, [6, 13]), (0, [4, 14])], [(2, [11, 4]), (2, [11, 5])]]
    for line, rows in enumerate(expected):
        for row, (clip, tokens) in enumerate(rows):
            np.testing.assert_allclose(
                log_probabilities[line, row], replay(bundle, clips[clip], tokens), atol=1e-5
            )


def test_log_probabilities_are_a_distribution_that_hears_and_remembers(bundle: Bundle) -> None:
    one, other = memories(bundle, [1.0, 2.0])
    heard = replay(bundle, one, [4, 5])
    assert np.exp(heard).sum() == pytest.approx(1, abs=1e-5)
    assert np.abs(heard - replay(bundle, other, [4, 5])).max() > 1e-3
    assert np.abs(heard - replay(bundle, one, [6, 5])).max() > 1e-3


def test_a_batch_is_searched_as_each_clip_alone(bundle: Bundle) -> None:
    clips = memories(bundle, [0.5, 4.0, 1.2, 9.0, 0.7, 2.0])
    together = search(OnnxStepper(bundle, clips), SEARCH)
    for memory, found in zip(clips, together, strict=True):
        (alone,) = search(OnnxStepper(bundle, [memory]), SEARCH)
        assert [one.tokens for one in found] == [one.tokens for one in alone]
        assert [one.log_probability for one in found] == pytest.approx(
            [one.log_probability for one in alone], abs=1e-5
        )

"""Tied words enter sqrt(d_model) times as large as they leave (Vaswani et al., 2017, section 3.4)."""

import numpy as np
import torch
from torch import Tensor

from otoscribe.bundle.graphs import reordered
from otoscribe.model.decoder import Decoder, DecoderSettings
from support.packed import decoded
from support.torch_layers import scattered

WIDTH = 16


def decoders() -> tuple[Decoder, Decoder]:
    """Return a decoder with tied words, and one without that has the same blocks."""
    settings = DecoderSettings(d_model=WIDTH, heads=2, head_dim=8, blocks=2, ff=24)
    tied = scattered(Decoder(settings.model_copy(update={"tied": True}), WIDTH, WIDTH, 9)).eval()
    untied = Decoder(settings, WIDTH, WIDTH, 9).eval()
    untied.load_state_dict({**untied.state_dict(), **tied.state_dict()})
    return tied, untied


def test_whole_captions_enter_larger() -> None:
    tied, untied = decoders()
    words, memory = torch.randn(1, 5, WIDTH), torch.randn(1, 7, WIDTH)

    def hidden(decoder: Decoder, words: Tensor) -> Tensor:
        return decoded(decoder, words, memory, None, [0])

    torch.testing.assert_close(hidden(tied, words), hidden(untied, words * WIDTH**0.5))
    assert not torch.allclose(hidden(tied, words), hidden(untied, words))


def test_the_words_of_a_step_enter_larger() -> None:
    tied, untied = decoders()
    words, memory = torch.randn(2, 3, WIDTH), torch.randn(2, 7, WIDTH)

    def hidden(decoder: Decoder, words: Tensor) -> Tensor:
        cache = decoder.begin(*decoder.memory_cache(memory), None)
        found: Tensor = decoder.step(words, reordered(cache, np.array([[0] * 3, [1] * 3])))[0]
        return found

    torch.testing.assert_close(hidden(tied, words), hidden(untied, words * WIDTH**0.5))


def test_words_leave_as_they_are() -> None:
    tied, _ = decoders()
    hidden, vectors = torch.randn(4, WIDTH), torch.randn(9, WIDTH)
    torch.testing.assert_close(tied.logits(hidden, vectors), hidden @ vectors.T + tied.bias)

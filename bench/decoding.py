"""From what the adapter made of clips to captions of exactly 20 words and an end, greedy and by beam search.

Ours is step.onnx driven by the search of the listening half. Every way projects the memory to keys and values
within the time that is measured. The memories are those of clips of Clotho's lengths.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bench.compare import Peer, Result, Work, compare, cores
from bench.material import SHAPES, SHARP, bundle, features, model, settings, vocabulary
from bench.plain import captioned
from otoscribe.bundle.bundle import Bundle, EncodedClip
from otoscribe.bundle.onnx_stepper import OnnxStepper
from otoscribe.model.caption_model import CaptionModel
from otoscribe.search.beam import search
from otoscribe.search.options import Search
from otoscribe.text.vocabulary import END, PAD, START
from otoscribe.train.batches import pad

WORDS = 20
BEAMS = (1, 3)
BATCHES = (1, 32)
TARGET = 4.0


def results(threads: int, quick: bool) -> Iterator[Result]:
    """Measure every width, beam and batch."""
    torch.set_num_threads(threads)
    for width in SHAPES:
        chosen = settings(width)
        made = model(chosen, SHARP)
        bart = bart_like(made)
        with tempfile.TemporaryDirectory() as folder:
            opened = Bundle.open(bundle(Path(folder), chosen, Search()), threads)
            for beam in BEAMS:
                for clips in BATCHES:
                    work = Decoding(made, opened, bart, beam, clips)
                    setting = (
                        f"d_model {width}, {f'beam {beam}' if beam > 1 else 'greedy'}, "
                        f"{clips} clip{'s' if clips > 1 else ''}, {cores(threads)}"
                    )
                    yield from compare(
                        Work(
                            name=f"caption of {WORDS} words",
                            setting=setting,
                            ours=work.ours,
                            peers=[
                                Peer("Hugging Face generate, BART", work.generated, TARGET),
                                Peer("the same network, plain torch", work.plain, TARGET),
                            ],
                            check=work.check,
                            rounds=3 if quick else 15 if clips == 1 else 7,
                        )
                    )


class Decoding:
    """The ways to caption some clips.

    Args:
        made: our model.
        opened: the same, exported.
        bart: one of Hugging Face, of equal sizes.
        beam: hypotheses per clip.
        clips: how many are captioned at once.
    """

    def __init__(self, made: CaptionModel, opened: Bundle, bart: Any, beam: int, clips: int) -> None:
        self.model, self.bundle, self.bart, self.beam = made, opened, bart, beam
        padded, mask = pad(features(clips))
        self.mask = torch.ones(padded.shape[:2], dtype=torch.bool) if mask is None else mask
        with torch.inference_mode():
            self.memory = made.adapter(padded, mask).memory
        generator = torch.Generator().manual_seed(0)
        shape = (*self.memory.shape[:2], made.decoder.settings.d_model)
        self.wide_memory = torch.randn(shape, generator=generator)

    def ours(self, part: int = 0) -> list[list[int]]:
        """Caption as `otoscribe caption` does, and return words' ids."""
        with torch.inference_mode():  # as adapter.onnx does it
            keys, values = self.model.decoder.memory_cache(self.memory)
        clips = [
            EncodedClip(10.0, _real(keys[:, clip], real), _real(values[:, clip], real), None)
            for clip, real in enumerate(self.mask)
        ]
        chosen = Search(beam=self.beam, minimum_words=WORDS, maximum_words=WORDS)
        found = search(OnnxStepper(self.bundle, clips), chosen)
        return [list(hypotheses[0].tokens) for hypotheses in found]

    def plain(self, part: int = 0) -> list[list[int]]:
        """Caption with the same network as people write it."""
        return captioned(self.model, self.memory, self.mask, self.beam, WORDS)

    def generated(self, part: int = 0) -> Tensor:
        """Caption with a network of Hugging Face."""
        from transformers.modeling_outputs import BaseModelOutput

        tokens: Tensor = self.bart.generate(
            encoder_outputs=BaseModelOutput(last_hidden_state=self.wide_memory),
            attention_mask=self.mask.long(),
            num_beams=self.beam,
            do_sample=False,
            use_cache=True,
            min_new_tokens=WORDS + 1,
            max_new_tokens=WORDS + 1,
        )
        return tokens

    def check(self) -> None:
        """Require that ours and the same network agree in every word, and that BART writes as many."""
        ours, plain = self.ours(), self.plain()
        assert ours == plain, f"the captions differ: {ours} and {plain}"
        assert all(len(caption) == WORDS for caption in ours)
        tokens = self.generated()
        assert tokens.shape == (len(ours), WORDS + 2), f"BART wrote {tokens.shape[1] - 2} words"
        assert bool((tokens[:, -1] == END).all()), "BART did not end"


def bart_like(made: CaptionModel) -> Any:
    """Return Hugging Face's BART with a decoder of our sizes and random weights; its encoder is not used."""
    from transformers import BartConfig, BartForConditionalGeneration

    shape = made.decoder.settings
    config = BartConfig(
        vocab_size=len(vocabulary()),
        d_model=shape.d_model,
        encoder_layers=1,
        decoder_layers=shape.blocks,
        decoder_attention_heads=shape.heads,
        decoder_ffn_dim=shape.ff,
        max_position_embeddings=WORDS + 8,
        activation_function="relu",
        pad_token_id=PAD,
        bos_token_id=START,
        eos_token_id=END,
        decoder_start_token_id=START,
        forced_eos_token_id=END,
    )
    torch.manual_seed(0)
    bart: Any = BartForConditionalGeneration(config)
    return bart.eval()


def _real(places: Tensor, real: Tensor) -> Any:
    return places[:, real].numpy()

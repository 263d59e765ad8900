"""A training step of 256 pairs, from pairs of features and captions to new weights.

Real captions of Clotho, five a clip, and made features. One part is one step; a round is all 2,040 pairs
of 408 clips, so that everybody has done the same work whatever is in a batch. Making a batch is part of a
step.
"""

import copy
from collections.abc import Iterator

import torch
from torch import nn

from bench.captioners import BartCaptioner, Pair, TorchCaptioner, batches, collated
from bench.compare import Peer, Result, Work, compare, cores
from bench.material import SHAPES, captions, features, model, settings, vocabulary
from otoscribe.model.caption_model import CaptionModel
from otoscribe.train import trainer
from otoscribe.train.batches import Split
from otoscribe.train.settings import TrainingSettings

CLIPS = 408
"""One pool of the batches that training shuffles."""
PAIRS = 256
STEPS = 8
"""Of a round, for ours and for the peers."""
AS_USUAL, EQUAL = 4.0, 2.5
"""How many times faster a step is to be than a peer's in float32, and than one's at our precision."""
LOSS = 1e-4
"""Largest difference of two losses that are equal."""


def results(threads: int, quick: bool) -> Iterator[Result]:
    """Measure both widths at every precision that pays on this machine."""
    torch.set_num_threads(threads)
    for device in ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]:
        for width in SHAPES:
            for precision in precisions(device):
                yield from compare(work(width, torch.device(device), precision, threads, quick))


def precisions(device: str) -> list[str]:
    """Return float32, and bfloat16 where the processor multiplies matrices of it."""
    narrow = device == "cuda" or torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return ["float32", *(["bfloat16"] if narrow else [])]


def work(width: int, device: torch.device, precision: str, threads: int, quick: bool) -> Work:
    """Return the work of one width and precision."""
    made = model(settings(width)).to(device).train()
    words = [[vocabulary().encode(text) for text in clip] for clip in captions()[:CLIPS]]
    split = Split(features(CLIPS), words)
    pairs = [(split.features[clip], text) for clip, texts in enumerate(words) for text in texts]
    plain, bart = TorchCaptioner(made).to(device), BartCaptioner(made).to(device)
    peers = []
    for name, module in {"torch.nn.TransformerDecoder": plain, "Hugging Face BART decoder": bart}.items():
        peers.append(Peer(name, Stepping(module, pairs, "float32"), AS_USUAL))
        if precision != "float32":
            stepping = Stepping(copy.deepcopy(module), pairs, precision)
            peers.append(Peer(f"{name}, {precision}", stepping, EQUAL))
    return Work(
        name=f"{STEPS} training steps, {CLIPS * 5} pairs",
        setting=f"d_model {width}, {precision}, {device.type}, {cores(threads)}",
        ours=OurStepping(made, split, precision),
        peers=peers,
        check=lambda: check(made, plain, bart, split, device),
        rounds=1 if quick else 5 if width < 512 else 3,
        parts=STEPS,
    )


def check(
    made: CaptionModel, plain: TorchCaptioner, bart: BartCaptioner, split: Split, device: torch.device
) -> None:
    """Require that equal weights give equal losses of the same pairs, and that BART is as large."""
    clips = PAIRS // 5
    some = Split(split.features[:clips], split.captions[:clips])
    (batch,) = some.validation_batches(PAIRS)
    pairs = [(some.features[clip], text) for clip, texts in enumerate(some.captions) for text in texts]
    with torch.no_grad():
        ours = float(trainer._loss(made, batch.to(device))) / batch.targets
        theirs = float(plain(collated(pairs).to(device)))
    assert abs(ours - theirs) < LOSS, f"the same pairs have the losses {ours} and {theirs}"
    own, other = (sum(part.numel() for part in module.parameters()) for module in (made, bart))
    assert abs(other - own) < 0.01 * own, f"ours has {own} weights, BART {other}"


class OurStepping:
    """Training steps as the trainer makes them, one after the other."""

    def __init__(self, made: CaptionModel, split: Split, precision: str, pairs: int = PAIRS) -> None:
        self.model, self.split, self.pairs = made, split, pairs
        self.device = next(made.parameters()).device
        options = TrainingSettings()
        self.optimiser = torch.optim.AdamW(
            made.parameters(),
            options.learning_rate,
            (options.beta1, options.beta2),
            options.epsilon,
            options.weight_decay,
        )
        self.narrow = torch.autocast(self.device.type, torch.bfloat16, enabled=precision == "bfloat16")
        self.epoch = 0

    def __call__(self, part: int) -> None:
        """Make step `part` of an epoch."""
        if part == 0:
            self.epoch += 1
            self.batches = self.split.training_batches(self.pairs, 0, self.epoch)
        batch = next(self.batches)
        with self.narrow:
            loss = trainer._loss(self.model, batch.to(self.device))
        self.optimiser.zero_grad(set_to_none=True)
        (loss / batch.targets).backward()  # type: ignore[no-untyped-call]
        self.optimiser.step()
        _wait(self.device)


class Stepping:
    """Training steps of a peer, one after the other."""

    def __init__(
        self, module: nn.Module, pairs: list[Pair], precision: str, batch_pairs: int = PAIRS
    ) -> None:
        self.module, self.pairs, self.batch_pairs = module, pairs, batch_pairs
        self.device = next(module.parameters()).device
        self.optimiser = torch.optim.Adam(module.parameters(), 1e-3)
        self.narrow = torch.autocast(self.device.type, torch.bfloat16, enabled=precision == "bfloat16")

    def __call__(self, part: int) -> None:
        """Make step `part` of an epoch."""
        if part == 0:
            self.batches = batches(self.pairs, self.batch_pairs)
        batch = next(self.batches).to(self.device)
        with self.narrow:
            loss = self.module(batch)
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        _wait(self.device)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()

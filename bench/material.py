"""What several rows measure with: Clotho's captions, made features, models of ours with random weights."""

import json
import sys
from functools import cache
from pathlib import Path

import numpy as np
import soundfile
import torch
from torch import Tensor

from checks.material import DATA
from otoscribe.model.caption_model import CaptionModel
from otoscribe.model.encoders.base import ENCODERS, load_encoder, weights_of
from otoscribe.search.options import Search
from otoscribe.settings import run_id
from otoscribe.text.tables import read_references
from otoscribe.text.vocabulary import Vocabulary
from otoscribe.train.export import export
from otoscribe.train.run import claim, identity, save_tensors
from otoscribe.train.settings import ExperimentSettings

FRAMES = range(31, 63)
"""Of YAMNet with overlap, for Clotho's 15 to 30 s."""
FEATURES = 1024
"""Width of YAMNet's embeddings."""
SHAPES = {128: 128, 512: 2048}
"""Widths of the decoder that are measured, and of its feed-forward layer."""
SHARP = 8.0
"""Sharpness of models that write captions."""


@cache
def captions() -> tuple[tuple[str, ...], ...]:
    """Return the five captions of each clip of Clotho's development split, or end with the reason why not."""
    path = DATA / "captions" / "clotho_captions_development.csv"
    if not path.is_file():
        sys.exit(f"There is no {path}; set OTOSCRIBE_DATA to the folder of the test material.")
    return tuple(read_references(path).values())


@cache
def vocabulary() -> Vocabulary:
    """Return the words of these captions."""
    return Vocabulary.from_captions(text for clip in captions() for text in clip)


def features(clips: int) -> list[Tensor]:
    """Return made features of clips, [frames, FEATURES] each, the same at every call."""
    generator = np.random.default_rng(0)
    lengths = generator.integers(FRAMES.start, FRAMES.stop, clips)
    shapes = ((int(frames), FEATURES) for frames in lengths)
    return [torch.from_numpy(generator.standard_normal(shape, np.float32)) for shape in shapes]


def noise(path: Path, seconds: float, seed: int = 0, sample_rate: int = 44100) -> Path:
    """Write noise whose loudness rises and falls, as 16-bit WAV; the same for the same seed."""
    generator = np.random.default_rng(seed)
    samples = np.arange(round(seconds * sample_rate))
    loudness = 0.1 * (1.1 + np.sin(samples * (2 * np.pi * generator.uniform(0.1, 2) / sample_rate)))
    values = (loudness * generator.standard_normal(len(samples))).clip(-1, 1)
    soundfile.write(path, values, sample_rate, "PCM_16")
    return path


def settings(d_model: int, weights: Path | None = None) -> ExperimentSettings:
    """Return settings of a model with YAMNet, the MLP adapter, words 300 wide, 3 blocks and 4 heads.

    Args:
        d_model: width of the decoder, of `SHAPES`.
        weights: folder of YAMNet's; made by a formula if None.
    """
    encoder = {"name": "yamnet", "overlap": 0.5, "weights": "formula"}
    if weights is not None:
        loaded = load_encoder(ENCODERS["yamnet"].Settings(name="yamnet", overlap=0.5), weights)
        encoder["weights"] = weights_of(loaded)
    model = {
        "encoder": encoder,
        "adapter": {"name": "mlp", "hidden": 256},
        "words": {"name": "random", "width": 300},
        "decoder": {"d_model": d_model, "heads": 4, "head_dim": d_model // 4, "ff": SHAPES[d_model]},
    }
    chosen = {"data": {"fingerprint": "0" * 64}, "model": model}
    return ExperimentSettings.model_validate_json(json.dumps(chosen))


def model(chosen: ExperimentSettings, sharpness: float = 1.0) -> CaptionModel:
    """Return a model with random weights, the same at every call.

    Args:
        chosen: its shape.
        sharpness: multiplies the scores of words: as a model begins, all words are about as likely, and
            rounding would decide its captions.
    """
    torch.manual_seed(0)
    made = CaptionModel(chosen.model, vocabulary())
    with torch.no_grad():
        made.decoder.classifier.mul_(sharpness)
    return made.eval()


def bundle(folder: Path, chosen: ExperimentSettings, search: Search, weights: Path | None = None) -> Path:
    """Export the sharp `model` into a folder by way of a run, and return the bundle's path."""
    run = folder / "run"
    claim(run / "settings.json", chosen.model_dump_json(indent=2) + "\n")
    claim(run / "vocabulary.json", vocabulary().to_json())
    notes = {"run": identity(run_id(chosen), vocabulary())}
    save_tensors(run / "model.safetensors", model(chosen, SHARP).state_dict(), notes)
    export(run, folder / "bundle", search=search, weights=weights)
    return folder / "bundle"

"""Encoders for tests: with random weights, or those of a file."""

from pathlib import Path

import torch

from otoscribe.model.encoders.base import ENCODERS, Encoder, EncoderSettings
from support.tiny_transformers import tiny_model


def settings_of(name: str, **chosen: object) -> EncoderSettings:
    """Return settings of an encoder, with what it does not know by itself."""
    if name == "huggingface":
        chosen = {"model": tiny_model(), **chosen}
    return ENCODERS[name].Settings(name=name, **chosen)


def random_encoder(name: str = "yamnet", overlap: float = 0.0, seed: int = 0) -> Encoder:
    """Return a frozen encoder whose weights are random, the same for each seed."""
    settings = settings_of(name, overlap=overlap)
    torch.manual_seed(seed)
    return ENCODERS[name](settings).eval().requires_grad_(False)


def encoder_of(file: Path, name: str = "yamnet", overlap: float = 0.0) -> Encoder:
    """Return a frozen encoder with the weights of a file."""
    encoder = random_encoder(name, overlap)
    encoder.load_state_dict(encoder.state_of({file.name: file}))
    return encoder

"""A compact YAMNet: every 1 x 1 convolution and the classifier replaced by a pair of low rank.

The 1 x 1 convolutions and the classifier hold 98 % of YAMNet's weights. Writing each as a product of two thin
matrices (Denton et al., "Exploiting linear structure within convolutional networks", NeurIPS 2014) leaves
little more than a quarter of all. The singular value decomposition is where distillation starts.
"""

from pathlib import Path
from typing import Self

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from otoscribe.errors import WeightsError
from otoscribe.files import written_whole
from otoscribe.learn.encoders import ENCODERS, Encoder, EncoderSpec
from otoscribe.learn.encoders.yamnet import FRONT_END, Trunk, Yamnet, outputs
from otoscribe.learn.encoders.yamnet_weights import CLASSES, EMBEDDING

SMALLEST_RANK = 8


def _factors(weight: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Return the best (second, first) of `rank` with second @ first ≈ weight [channels_out, channels_in]."""
    u, s, v = torch.linalg.svd(weight.double(), full_matrices=False)
    root = s[:rank].sqrt()
    return (u[:, :rank] * root).float(), (root[:, None] * v[:rank]).float()


@ENCODERS.register("compact_yamnet")
class CompactYamnet(Encoder):
    """YAMNet's trunk and classifier in low rank, 1.07 million weights by default, with the same outputs.

    Args:
        overlap: share of the audio under one embedding that the next one hears again, 0 or 0.5.
        fraction: rank of a 1 x 1 convolution over its smaller channel count, in (0, 1]; no rank is below 8.
        classifier_rank: rank of the classifier, 1 to 521.
    """

    spec = EncoderSpec(
        name="compact_yamnet",
        paper="Denton et al., Exploiting linear structure within convolutional networks, NeurIPS 2014",
        licence="Apache-2.0",
        weights_url=None,
        weights_sha256=None,
        weights_bytes=None,
        version=1,
        front_end=FRONT_END,
        outputs=Yamnet.spec.outputs,
    )

    def __init__(self, overlap: float = 0.0, fraction: float = 1 / 8, classifier_rank: int = 176) -> None:
        super().__init__(overlap)
        self.fraction = fraction
        self.classifier_rank = classifier_rank

        def pair(channels_in: int, channels_out: int) -> nn.Module:
            rank = max(SMALLEST_RANK, round(fraction * min(channels_in, channels_out)))
            first = nn.Conv2d(channels_in, rank, 1, bias=False)
            return nn.Sequential(first, nn.Conv2d(rank, channels_out, 1))

        self.trunk = Trunk(pair)
        self.classifier = nn.Sequential(
            nn.Linear(EMBEDDING, classifier_rank, bias=False), nn.Linear(classifier_rank, CLASSES)
        )
        self.freeze()

    @classmethod
    def from_yamnet(cls, full: Yamnet, fraction: float = 1 / 8, classifier_rank: int = 176) -> Self:
        """Return the compact encoder whose every pair is nearest to the layer of `full` that it replaces."""
        compact = cls(full.overlap, fraction, classifier_rank)
        state = compact.state_dict()
        for name, value in full.state_dict().items():
            layer, kind = name.rsplit(".", 1)
            if name in state:
                state[name] = value
            elif kind == "bias":
                state[f"{layer}.1.bias"] = value
            else:
                first, second = f"{layer}.0.weight", f"{layer}.1.weight"
                thin = _factors(value.flatten(start_dim=1), len(state[first]))
                state[second], state[first] = (
                    factor.reshape(state[key].shape)
                    for factor, key in zip(thin, (second, first), strict=True)
                )
        compact.load_state_dict(state)
        return compact

    def save(self, path: Path) -> None:
        """Write weights and ranks as safetensors, whole or not at all."""
        ranks = {"fraction": repr(self.fraction), "classifier_rank": str(self.classifier_rank)}
        with written_whole(path) as temporary:
            save_file({key: value.contiguous() for key, value in self.state_dict().items()}, temporary, ranks)

    @classmethod
    def load(cls, path: Path, overlap: float = 0.0) -> Self:
        """Return the encoder that `save` wrote to `path`.

        Raises:
            WeightsError: the file is missing, damaged, or holds another network.
        """
        if not path.is_file():
            raise WeightsError(
                f"There is no file {path}. Give the path of a compact YAMNet's safetensors file."
            )
        try:
            with safe_open(path, framework="pt") as file:
                ranks = file.metadata() or {}
                weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            encoder = cls(overlap, float(ranks["fraction"]), int(ranks["classifier_rank"]))
            encoder.load_state_dict(weights)
        except (SafetensorError, KeyError, ValueError, RuntimeError) as error:
            raise WeightsError(f"{path} is damaged or no compact YAMNet ({error}). Make it again.") from error
        return encoder

    def forward(self, waveforms: Tensor) -> dict[str, Tensor]:
        """Return embeddings, logits and scores [batch, frames, width] of equally long clips."""
        return self.embed(self.patches(waveforms))

    def embed(self, patches: Tensor) -> dict[str, Tensor]:
        """Return embeddings, logits and scores [..., width] of patches [..., 96, 64]."""
        return outputs(self.trunk, self.classifier, patches)

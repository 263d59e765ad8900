"""A trunk with YAMNet's inputs and outputs that takes no time to compute and to export."""

from torch import Tensor, nn

from otoscribe.model.weights.yamnet_files import EMBEDDING


class TinyTrunk(nn.Module):
    def __init__(self, activation: nn.Module) -> None:
        super().__init__()
        self.pool = nn.AvgPool2d(8)
        self.layer = nn.Linear(12 * 8, EMBEDDING)
        self.activation = activation

    def forward(self, patches: Tensor) -> Tensor:
        embeddings: Tensor = self.activation(self.layer(self.pool(patches[:, None]).flatten(1)))
        return embeddings

"""A study of tiny runs: a tiny encoder with weights by a formula, tones, and models that train at once."""

from pathlib import Path

from support.tiny_encoder import NAME
from support.tiny_tables import write_tables

BASE = f"""
[model]
encoder = {{name = "{NAME}", weights = "formula"}}
adapter = {{name = "mlp", hidden = 8}}
words = {{name = "random", width = 8}}
decoder = {{d_model = 8, heads = 2, head_dim = 4, blocks = 1}}
[training]
maximum_epochs = 2
learning_rate = 0.01
"""
STUDY = """
name = "tiny"
base = "base.toml"
metric = "cider_d"
seeds = 2
[data]
training = "recordings/training.csv"
validation = "recordings/validation.csv"
evaluation = "recordings/validation.csv"
[search]
beam = 2
[axes]
overlap = [0.0, 0.5]
adapter = ["identity", "mlp"]
"""


def write_study(folder: Path, study: str = STUDY) -> Path:
    """Write recordings, base and study; return the study's file."""
    write_tables(folder / "recordings")
    (folder / "base.toml").write_text(BASE)
    (folder / "study.toml").write_text(study)
    return folder / "study.toml"

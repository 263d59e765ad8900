"""A run with words of any kind becomes a model that captions the same, without PyTorch or transformers."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from otoscribe.bundle.bundle import Bundle
from otoscribe.bundle.onnx_stepper import OnnxStepper
from otoscribe.model.encoders.base import load_encoder
from otoscribe.model.torch_stepper import TorchStepper
from otoscribe.model.words.base import WordSettings, load_words, resolved
from otoscribe.search.beam import search
from otoscribe.search.options import Search
from otoscribe.train.export import TOLERANCE, export
from otoscribe.train.run import load_run
from otoscribe.train.settings import ExperimentSettings
from otoscribe.train.trainer import Experiment, train
from support.tiny_encoder import SAMPLE_RATE
from support.tiny_run import CPU, DATA, MODEL, VOCABULARY, split
from support.tiny_tables import tone
from support.words import GOLDEN, ORIGIN, every_kind, title

# Of other kinds a graph looks words up as of random ones, which test_export.py has: what they begin with is
# no part of it.
KINDS = [kind for kind in every_kind() if title(kind) in ("bert-static", "bert-prefix")]
WITHOUT = """
import sys
for name in ("torch", "transformers", "tokenizers", "safetensors", "gensim", "onnx"):
    sys.modules[name] = None
from otoscribe.cli.main import main
main(sys.argv[1:])
"""


def trained(kind: WordSettings, runs: Path) -> Path:
    beginning = load_words(kind, VOCABULARY.words, ORIGIN)
    words = json.loads(resolved(kind, beginning).model_dump_json())
    chosen = {"data": DATA, "model": MODEL | {"words": words}, "training": {"maximum_epochs": 1}}
    settings = ExperimentSettings.model_validate_json(json.dumps(chosen))
    return train(Experiment(settings, VOCABULARY, split(), split(1), beginning), runs, CPU)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS, ids=title)
def test_the_exported_model_captions_as_the_run_does(kind: WordSettings, tmp_path: Path) -> None:
    run = trained(kind, tmp_path / "runs")
    assert export(run, tmp_path / "model", words=GOLDEN) <= TOLERANCE

    model, _, settings = load_run(run, GOLDEN)
    waveform = np.random.default_rng(0).uniform(-0.5, 0.5, SAMPLE_RATE).astype(np.float32)
    with torch.inference_mode():
        features = load_encoder(settings.model.encoder).features(torch.from_numpy(waveform)[None])
        memory = model.remember(features, None)
    bundle = Bundle.open(tmp_path / "model")
    for beam in (1, 3):
        options = Search(beam=beam, maximum_words=9, minimum_words=5)
        (expected,) = search(TorchStepper(model, *memory), options)
        (found,) = search(OnnxStepper(bundle, bundle.listen([waveform])), options)
        assert found[0].tokens == expected[0].tokens
        assert found[0].log_probability == pytest.approx(expected[0].log_probability, abs=1e-4)

    tone(tmp_path / "tone.wav", 440)
    command = [sys.executable, "-c", WITHOUT, "caption", "--model", str(tmp_path / "model"), "tone.wav"]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert re.fullmatch(r"[a-z ]+  \(confidence \d+ %\)\n", ran.stdout)

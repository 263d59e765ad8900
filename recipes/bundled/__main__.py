"""Make the bundled model: `python -m recipes.bundled`.

Stages, each of which leaves a file in the work folder and is skipped when that is there; a killed stage of
training goes on from its last checkpoint:

    lexicon      which sounds a caption's words speak of
    similarity   which classes the encoder confuses
    learn        the words half by cross-entropy
    assemble     calibration; a run that `otoscribe export` takes
    export       the bundle inside the package
    evaluate     captions of the validation recordings beside the baselines
"""

import argparse
import os
import shutil
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from otoscribe.files import write_text
from otoscribe.listen.captioner import BUNDLED, Captioner
from otoscribe.model.adapters.label_set import CLASSES, NOTHING, PLACES, LabelSet
from otoscribe.model.caption_model import CaptionModel, EncoderSettings, ModelSettings
from otoscribe.model.decoder import DecoderSettings
from otoscribe.model.encoders.yamnet import Yamnet
from otoscribe.model.encoders.yamnet_voice import YamnetVoice
from otoscribe.model.words.random import RandomWords
from otoscribe.search.beam import Search
from otoscribe.text.vocabulary import Vocabulary
from otoscribe.train.export import export
from otoscribe.train.run import RunSettings, TrainingSettings, load_tensors, save_tensors
from recipes.bundled import calibrate, corpus, evaluate, examples, lexicon
from recipes.bundled.channel import Channel
from recipes.bundled.examples import Example
from recipes.bundled.learn import Learning, Words, learn
from recipes.bundled.lexicon import Lexicon
from recipes.bundled.listener import Listener
from recipes.bundled.recordings import class_similarity, encoder_outputs, unlabelled

NAME = "otoscribe-small-1"
MINIMUM_COUNT = 5
"""Occurrences of a word in the training captions that make it part of the vocabulary."""
SETTINGS = ModelSettings(
    encoder=EncoderSettings(name="yamnet_voice", overlap=0.5, output="hearing"),
    adapter=LabelSet.Settings(),
    words=RandomWords.Settings(width=192, spread=0.05),
    decoder=DecoderSettings(d_model=192, heads=4, head_dim=48, ff=768, tied=True),
)
"""The model; how many label sets there are follows from the captions."""
SEARCHES = {
    "greedy": Search(beam=1, maximum_words=20),
    "beam 4": Search(beam=4, maximum_words=20),
    "beam 4, length-normalised": Search(beam=4, length_normalisation=1.0, maximum_words=20),
    "beam 4, 5 words or more": Search(beam=4, minimum_words=5, maximum_words=20),
    "beam 4, 6 words or more": Search(beam=4, minimum_words=6, maximum_words=20),
}
SEARCH = SEARCHES["beam 4, 5 words or more"]
"""How the bundled model decodes."""


def main() -> None:
    """Run every stage that is left to do."""
    parser = argparse.ArgumentParser(description="Make the model that ships with otoscribe.")
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("OTOSCRIBE_DATA", "../shared/data")))
    parser.add_argument(
        "--work", type=Path, default=Path("runs/bundled"), help="folder of every stage's file"
    )
    parser.add_argument("--threads", type=int, help="processor cores; torch's choice if not given")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    Recipe(arguments.data, arguments.work).run()


def label_set(model: CaptionModel) -> LabelSet:
    """Return the model's adapter, known to be a label set."""
    assert isinstance(model.adapter, LabelSet)
    return model.adapter


class Recipe:
    """The stages, over one folder of data and one of work."""

    def __init__(self, data: Path, work: Path) -> None:
        self.data = data
        self.work = work
        self.began = time.monotonic()
        self.classes = {mid: index for index, mid in enumerate(corpus.class_names(data))}
        work.mkdir(parents=True, exist_ok=True)

    def run(self) -> None:
        """Run every stage that is left to do."""
        audiocaps = corpus.audiocaps(self.data, "train")
        lexis = self.lexicon(audiocaps)
        training = [
            *examples.make(audiocaps, self.classes, lexis, 0),
            *examples.make(corpus.clotho(self.data), self.classes, lexis, 1),
        ]
        held_out = examples.make(corpus.audiocaps(self.data, "val"), self.classes, lexis, 0)
        vocabulary = Vocabulary.from_captions((example.caption for example in training), MINIMUM_COUNT)
        model = self.model(training, vocabulary)
        self.words_half(model, Words(training, vocabulary), Words(held_out, vocabulary), vocabulary)
        recordings = corpus.pairs(self.data)
        encoder = YamnetVoice.load(self.data / "weights" / "yamnet.tflite", overlap=0.5)
        heard = encoder_outputs(encoder, [pair.path for pair in recordings], SETTINGS.encoder.output)
        labels = calibrate.labels(self.data, recordings, self.classes, lexis)
        calibrate.fit(label_set(model), [heard[i] for i in labels], list(labels.values()))
        model.encoder = encoder
        run = self.assemble(model, vocabulary)
        unnamed = self.export(run, None)
        table = self.evaluate(unnamed, model.eval(), vocabulary, heard, labels, lexis, training, held_out)
        card = (Path(__file__).parent / "card.md").read_text(encoding="utf-8")
        self.ship(self.export(run, card.replace("@TABLE@", table)))

    def log(self, text: str) -> None:
        """Print a line with the seconds since the start, and keep it in the work folder."""
        line = f"{time.monotonic() - self.began:6.0f} s  {text}"
        print(line, flush=True)
        with (self.work / "log.txt").open("a", encoding="utf-8") as file:
            file.write(f"{line}\n")

    def lexicon(self, clips: Sequence[corpus.Clip]) -> Lexicon:
        """Fit the lexicon on AudioCaps' training captions and labels."""
        path = self.work / "lexicon.npz"
        if not path.is_file():
            targets = np.zeros((len(clips), CLASSES), dtype=np.float32)
            for row, clip in enumerate(clips):
                targets[row, [self.classes[mid] for mid in clip.mids if mid in self.classes]] = 1.0
            lexicon.fit([clip.captions[0] for clip in clips], targets, seed=0).save(path)
            self.log("lexicon: fitted")
        return Lexicon.load(path)

    def similarity(self) -> NDArray[np.float32]:
        """Measure which classes YAMNet confuses, on real recordings."""
        path = self.work / "similarity.safetensors"
        if not path.is_file():
            teacher = Yamnet.load(self.data / "weights" / "yamnet.tflite", overlap=0.5)
            clips = encoder_outputs(teacher, unlabelled(self.data), "logits")
            save_tensors(path, {"similarity": torch.from_numpy(class_similarity(clips))}, {})
            self.log("similarity: measured")
        similarity: NDArray[np.float32] = load_tensors(path)[0]["similarity"].numpy()
        return similarity

    def model(self, training: Sequence[Example], vocabulary: Vocabulary) -> CaptionModel:
        """Build the untrained model with its label sets and priors."""
        labels = [example.labels for example in training if example.style == 0]
        sets = Counter(held for held in labels if 0 < len(held) <= PLACES)
        torch.manual_seed(0)
        settings = SETTINGS.model_copy(update={"adapter": LabelSet.Settings(sets=len(sets))})
        model = CaptionModel(settings, vocabulary)
        counts = Counter(label for held in labels for label in held)
        adapter = label_set(model)
        adapter.members.copy_(torch.tensor([[*held, *[NOTHING] * (PLACES - len(held))] for held in sets]))
        adapter.log_counts.copy_(torch.tensor([float(count) for count in sets.values()]).log())
        prior = torch.tensor([counts[label] / len(labels) for label in range(CLASSES)])
        adapter.class_prior.copy_(prior + 1e-5)
        self.log(f"{len(training)} examples, {len(vocabulary)} words, {len(sets)} label sets")
        return model

    def words_half(self, model: CaptionModel, known: Words, unseen: Words, vocabulary: Vocabulary) -> None:
        """Train adapter, words and decoder."""
        listener = Listener(label_set(model), Channel(self.similarity()))
        learn(model, known, unseen, listener, Learning(), self.work / "learned.safetensors", self.log)
        model.eval()
        for name, settings in SEARCHES.items():
            clean, channel = evaluate.held_out_scores(model, unseen, vocabulary, listener, settings)
            self.log(f"held-out CIDEr-D by {name}: {clean:.3f} clean, {channel:.3f} through the channel")

    def assemble(self, model: CaptionModel, vocabulary: Vocabulary) -> Path:
        """Write the model as a training run."""
        run = self.work / "run"
        run.mkdir(exist_ok=True)
        # The trainer's settings name the paper's recipe; this model's is in the folder of this file.
        settings = RunSettings(model=model.settings, training=TrainingSettings())
        write_text(run / "settings.json", settings.model_dump_json(indent=2))
        write_text(run / "vocabulary.json", vocabulary.to_json())
        save_tensors(run / "model.safetensors", model.state_dict(), asdict(Learning()))
        return run

    def export(self, run: Path, card: str | None) -> Path:
        """Export the run as a bundle with a card."""
        bundle = self.work / NAME
        shutil.rmtree(bundle, ignore_errors=True)
        difference = export(run, bundle, search=SEARCH, card=card, float16=True)
        self.log(f"export: log-probabilities differ by {difference:.1e}")
        return bundle

    def evaluate(
        self,
        bundle: Path,
        model: CaptionModel,
        vocabulary: Vocabulary,
        heard: Sequence[Tensor],
        labels: dict[int, tuple[int, ...]],
        lexis: Lexicon,
        training: Sequence[Example],
        held_out: Sequence[Example],
    ) -> str:
        """Caption the validation recordings with the bundle, and return a table of how good that is.

        Beside it stand the baselines, and the model calibrated on other recordings than the scored ones.
        """
        recordings = corpus.pairs(self.data)
        captioner = Captioner(bundle)
        captions = [captioner.caption(pair.path).caption for pair in recordings]
        unrounded = evaluate.captions(model, vocabulary, heard, SEARCH)
        same = sum(one == other for one, other in zip(captions, unrounded, strict=True))
        self.log(f"evaluate: {same} of {len(captions)} captions are those of the float32 model")
        for pair, caption in zip(recordings, captions, strict=True):
            self.log(f"{pair.path.name}: {caption} | {pair.captions[0]}")
        crossed = calibrate.crossed(
            label_set(model), heard, labels, lambda clips: evaluate.captions(model, vocabulary, clips, SEARCH)
        )
        posteriors = evaluate.posteriors(label_set(model), heard)
        first = [example for example in training if example.style == 0]
        table = evaluate.table(
            recordings,
            {
                "one constant caption": [evaluate.constant(held_out, first)] * len(recordings),
                "most central of the 30 nearest captions, classes from words": evaluate.retrieved(
                    posteriors, evaluate.spoken_of(lexis, first), first
                ),
                "most central of the 30 nearest captions, classes from labels": evaluate.retrieved(
                    posteriors, evaluate.ticked(first), first
                ),
                f"**{NAME}**": captions,
                f"{NAME}, calibrated on other clips": crossed,
            },
        )
        self.log(f"CIDEr-D\n{table}")
        return table

    def ship(self, bundle: Path) -> None:
        """Put the bundle into the package, whole or not at all."""
        size = sum(file.stat().st_size for file in bundle.iterdir()) / 1e6
        staged = BUNDLED.with_name(f".{BUNDLED.name}.new")
        shutil.rmtree(staged, ignore_errors=True)
        shutil.copytree(bundle, staged)
        shutil.rmtree(BUNDLED, ignore_errors=True)
        staged.rename(BUNDLED)
        self.log(f"shipped: {size:.2f} MB")


if __name__ == "__main__":
    main()

"""Make the bundled model: `python -m recipes.bundled`, or a model without captions of others: `... --free`.

Stages, most of which leave files in the work folder and are skipped when those are there; training that was
killed goes on from its last epoch:

    lexicon      which sounds a caption's words speak of
    hear         what the encoder shows of real recordings
    measure      the classes' background, what explains what, how strong labels are
    learn        adapter, words and decoder, a run of `otoscribe.train.trainer`
    confidence   how likely a caption is true
    export       the bundle
    evaluate     captions of the reported recordings beside the baselines, for the card
    ship         the bundle inside the package; not of the free model
"""

import argparse
import os
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from otoscribe.bundle.manifest import Signs
from otoscribe.listen.captioner import BUNDLED, Captioner
from otoscribe.model.adapters.evidence import CLASSES, EvidenceSettings
from otoscribe.model.caption_model import CaptionModel, ModelSettings
from otoscribe.model.decoder import DecoderSettings
from otoscribe.model.encoders.base import Encoder, load_encoder, weights_of
from otoscribe.model.encoders.yamnet import Yamnet
from otoscribe.model.encoders.yamnet_voice import YamnetVoiceSettings
from otoscribe.model.words.random import RandomSettings
from otoscribe.search.options import Search
from otoscribe.text.vocabulary import Vocabulary
from otoscribe.train.export import export
from otoscribe.train.history import Epoch
from otoscribe.train.run import load_run
from otoscribe.train.settings import DataSettings, ExperimentSettings, TrainingSettings
from otoscribe.train.trainer import Experiment, RuntimeSettings, train
from recipes.bundled import card, confidence, corpus, evaluate, examples, invention, lexicon, report
from recipes.bundled.channel import Channel
from recipes.bundled.composed import Composer, sayings
from recipes.bundled.examples import BRIEF, DETAILED, Example
from recipes.bundled.learn import Mix, Scenes, fingerprint
from recipes.bundled.lexicon import Lexicon
from recipes.bundled.measure import Measured, buffers_of, measure
from recipes.bundled.recordings import encoder_outputs
from recipes.bundled.relations import Relations, families

NAME, FREE_NAME = "otoscribe-small-2", "otoscribe-free-1"
MODEL = ModelSettings(
    encoder=YamnetVoiceSettings(overlap=0.5),
    adapter=EvidenceSettings(dropout=0.1, unseen=0.3),
    words=RandomSettings(width=192, spread=0.05),
    decoder=DecoderSettings(d_model=192, heads=4, head_dim=48, ff=768, tied=True, dropout=0.1),
)
"""The model; the encoder's weights follow from its file."""
TRAINING = TrainingSettings(
    learning_rate=2.5e-3,
    beta2=0.98,
    batch_pairs=256,
    maximum_epochs=15,
    patience=15,
    minimum_count=5,
    warmup_steps=200,
    schedule="cosine",
    weight_decay=0.01,
    clip_norm=1.0,
    label_smoothing=0.05,
)
MIX, FREE_MIX = Mix(brief=50_000, detailed=8_000, composed=10_000), Mix(0, 0, 40_000)
"""Captions of an epoch: most of AudioCaps' once, the others as the decoder needs them."""
HELD_OUT = Mix(0, 0, 4_000)
"""Composed captions that choose the epoch, where people wrote none."""
SEARCHES = {
    name: Search(beam=beam, length_normalisation=normalisation, maximum_words=20, no_repeat=3)
    for name, beam, normalisation in (
        ("greedy", 1, 0.0),
        ("beam 2, length-normalised by 1.25", 2, 1.25),
        ("beam 4, length-normalised by .7", 4, 0.7),
    )
}
SEARCH = SEARCHES["beam 2, length-normalised by 1.25"]
"""How the bundled model decodes."""


def main() -> None:
    """Run every stage that is left to do."""
    parser = argparse.ArgumentParser(description="Make the model that ships with otoscribe.")
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("OTOSCRIBE_DATA", "../shared/data")))
    parser.add_argument("--work", type=Path, help="folder of every stage's file; runs/bundled if not given")
    parser.add_argument("--threads", type=int, help="processor cores; torch's choice if not given")
    parser.add_argument(
        "--free",
        action="store_true",
        help="learn from no captions of others; makes a bundle in the work folder",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the training")
    arguments = parser.parse_args()
    runtime = RuntimeSettings(threads=arguments.threads)
    if runtime.threads:
        torch.set_num_threads(runtime.threads)
    work = arguments.work or Path("runs") / ("bundled-free" if arguments.free else "bundled")
    Recipe(arguments.data, work, runtime, arguments.free, arguments.seed).run()


class Recipe:
    """The stages, over one folder of data and one of work."""

    def __init__(self, data: Path, work: Path, runtime: RuntimeSettings, free: bool, seed: int) -> None:
        self.data, self.work, self.runtime, self.free, self.seed = data, work, runtime, free, seed
        self.began = time.monotonic()
        self.weights = data / "weights"
        self.classes = {mid: index for index, mid in enumerate(corpus.class_names(data))}
        work.mkdir(parents=True, exist_ok=True)

    def run(self) -> None:
        """Run every stage that is left to do."""
        clips = corpus.audiocaps(self.data, "train")
        lexis = self.lexicon("lexicon", clips)
        relations = Relations.read(self.data)
        encoder = load_encoder(MODEL.encoder, self.weights)
        heard = self.hear(encoder)
        measured = self.measure(encoder, heard, lexis, relations)
        training = [] if self.free else self.written(clips, lexis)
        held_out = examples.make(corpus.audiocaps(self.data, "val"), self.classes, lexis, BRIEF)
        experiment = self.experiment(encoder, training, [] if self.free else held_out, relations, measured)
        run = train(experiment, self.work / "runs", self.runtime, self.epoch)
        model = load_run(run)[0]
        self.choose(model, experiment.vocabulary, held_out, measured, relations)
        weights = self.confidence(model, experiment, heard, measured, relations)
        name = FREE_NAME if self.free else NAME
        draft = self.export(run, name, weights, None)
        judge = report.Judge(self.data, heard, relations, measured, self.lexicon("lexicon of all", clips))
        table = report.table(judge, draft, self.written(clips, lexis), held_out)
        reliability = judge.reliability(Captioner(draft))
        self.log(f"evaluate:\n{table}\n{reliability}")
        log = run / "log.csv"
        text = card.text(self.free, training, held_out, experiment.settings, log, table, reliability)
        bundle = self.export(run, name, weights, text)
        if not self.free:
            self.ship(bundle)

    def log(self, text: str) -> None:
        """Print a line with the seconds since the start, and keep it in the work folder."""
        line = f"{time.monotonic() - self.began:6.0f} s  {text}"
        print(line, flush=True)
        with (self.work / "log.txt").open("a", encoding="utf-8") as file:
            file.write(f"{line}\n")

    def lexicon(self, name: str, clips: Sequence[corpus.Clip]) -> Lexicon:
        """Fit a lexicon on AudioCaps' training captions and labels, that "of all" on the phrase book too."""
        path = self.work / f"{name}.npz"
        if not path.is_file():
            targets = np.zeros((len(clips), CLASSES), dtype=np.float32)
            for row, clip in enumerate(clips):
                targets[row, [self.classes[mid] for mid in clip.mids if mid in self.classes]] = 1.0
            if name == "lexicon":
                fitted = lexicon.fit([clip.captions[0] for clip in clips], targets, seed=0)
            else:
                fitted = invention.lexicon_of_all(clips, targets)
            fitted.save(path)
            self.log(f"{name}: fitted")
        return Lexicon.load(path)

    def written(self, clips: Sequence[corpus.Clip], lexis: Lexicon) -> list[Example]:
        """Make examples of the captions that people wrote."""
        return [
            *examples.make(clips, self.classes, lexis, BRIEF),
            *examples.make(corpus.clotho(self.data), self.classes, lexis, DETAILED),
        ]

    def hear(self, encoder: Encoder) -> dict[Path, Tensor]:
        """Encode all recordings, those that are only reported too."""
        sounds = [*corpus.esc10(self.data), *corpus.urbansound8k(self.data)]
        paths = [pair.path for pair in corpus.pairs(self.data)] + [sound.path for sound in sounds]
        return encoder_outputs(encoder, paths, self.work / "heard.safetensors")

    def measure(
        self, encoder: Encoder, heard: dict[Path, Tensor], lexis: Lexicon, relations: Relations
    ) -> Measured:
        """Measure background, correlations and labels' strengths on recordings that are not reported."""
        path = self.work / "measured.safetensors"
        if not path.is_file():
            pairs = [pair for pair in corpus.pairs(self.data) if pair.part != "report"]
            sounds = [sound for sound in corpus.esc10(self.data) if sound.part != "report"]
            known = examples.labels_of(
                pairs, corpus.ticked(self.data), self.classes, None if self.free else lexis
            )
            assert isinstance(encoder, Yamnet)
            unlabelled = [heard[pair.path] for pair in pairs] + [heard[sound.path] for sound in sounds]
            measure(unlabelled, known, encoder.classifier.weight.detach(), relations.given).save(path)
            self.log(f"measure: {len(unlabelled)} recordings, {len(known)} of them with labels")
        return Measured.load(path)

    def experiment(
        self,
        encoder: Encoder,
        training: Sequence[Example],
        held_out: Sequence[Example],
        relations: Relations,
        measured: Measured,
    ) -> Experiment:
        """Gather all that the run is trained from."""
        texts = [example.caption for example in training] + sayings() * TRAINING.minimum_count
        vocabulary = Vocabulary.from_captions(texts, TRAINING.minimum_count)
        composer = Composer(relations, measured, [e for e in training if e.style == BRIEF])
        buffers = buffers_of(measured, relations.given)
        channel = Channel(measured)
        mix = FREE_MIX if self.free else MIX
        known = Scenes(training, composer, mix, vocabulary, channel, buffers)
        unseen = Scenes(held_out, composer, HELD_OUT, vocabulary, channel, buffers)
        with_weights = MODEL.encoder.model_copy(update={"weights": weights_of(encoder)})
        settings = ExperimentSettings(
            data=DataSettings(fingerprint=fingerprint(known, unseen)),
            model=MODEL.model_copy(update={"encoder": with_weights}),
            training=TRAINING.model_copy(update={"seed": self.seed}),
        )
        self.log(f"learn: {known.pairs} captions an epoch, {len(vocabulary)} words")
        return Experiment(settings, vocabulary, known, unseen)

    def epoch(self, epoch: Epoch) -> None:
        """Log an epoch."""
        self.log(
            f"learn: epoch {epoch.epoch}, {epoch.steps} steps: training loss {epoch.training_loss:.3f}, "
            f"held-out loss {epoch.validation_loss:.3f}"
        )

    def choose(
        self,
        model: CaptionModel,
        vocabulary: Vocabulary,
        held_out: Sequence[Example],
        measured: Measured,
        relations: Relations,
    ) -> None:
        """Log how good the ways of decoding are where they may be chosen, and which classes stay unnamed."""
        missed = evaluate.unnamed_alone(model, vocabulary, measured, relations)
        self.log(f"choose: {1 - len(missed) / CLASSES:.3f} of the classes are named alone; not so: {missed}")
        for name, search in SEARCHES.items():
            score = evaluate.through_channel(model, vocabulary, held_out, Channel(measured), search)
            self.log(f"choose: {name}: CIDEr-D {score:.3f} of held-out labels through the channel")

    def confidence(
        self,
        model: CaptionModel,
        experiment: Experiment,
        heard: dict[Path, Tensor],
        measured: Measured,
        relations: Relations,
    ) -> Signs:
        """Fit what makes a confidence of a caption's signs."""
        assert isinstance(experiment.training, Scenes)
        names = evaluate.names_of(families(relations, measured.alike.double().numpy()))
        composer, channel = experiment.training.composer, experiment.training.channel
        sounds = [sound for sound in corpus.esc10(self.data) if sound.part == "choose"]
        shown = evaluate.evidence_in([heard[sound.path] for sound in sounds])
        recordings = shown, [sound.kind for sound in sounds]
        weights = confidence.fit(model, experiment.vocabulary, composer, channel, names, SEARCH, recordings)
        self.log(f"confidence: {weights}")
        return weights

    def export(self, run: Path, name: str, weights: Signs, card: str | None) -> Path:
        """Export the run as a bundle with a card."""
        bundle = self.work / name
        shutil.rmtree(bundle, ignore_errors=True)
        difference = export(
            run, bundle, search=SEARCH, confidence=weights, card=card, float16=True, weights=self.weights
        )
        self.log(f"export: log-probabilities differ by {difference:.1e}")
        return bundle

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

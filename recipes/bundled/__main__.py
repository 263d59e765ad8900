"""Make the bundled model: `python -m recipes.bundled`. Every stage leaves a file, and is skipped if it is there."""

import argparse
import os
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from otoscribe.learn.adapters.label_set import CLASSES, NOTHING, PLACES, LabelSet
from otoscribe.learn.decoder import DecoderSettings
from otoscribe.learn.encoders.yamnet import Yamnet
from otoscribe.learn.model import CaptionModel, EncoderSettings, ModelSettings
from otoscribe.learn.run import load_tensors, save_tensors
from otoscribe.learn.words.random import RandomWords
from otoscribe.vocabulary import Vocabulary
from recipes.bundled import corpus, examples, hearing, lexicon, words
from recipes.bundled.channel import Channel
from recipes.bundled.examples import Example

MINIMUM_COUNT = 5
"""Occurrences of a word in the training captions that make it part of the vocabulary."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("OTOSCRIBE_DATA", "../shared/data")))
    parser.add_argument("--work", type=Path, default=Path("runs/bundled"))
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--learn-steps", type=int, default=words.Learning.steps)
    parser.add_argument("--until", default="")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    Recipe(arguments.data, arguments.work).run(arguments)


class Recipe:
    def __init__(self, data: Path, work: Path) -> None:
        self.data = data
        self.work = work
        self.began = time.monotonic()
        work.mkdir(parents=True, exist_ok=True)

    def log(self, text: str) -> None:
        line = f"{time.monotonic() - self.began:7.0f} s  {text}"
        print(line, flush=True)
        with (self.work / "log.txt").open("a", encoding="utf-8") as file:
            file.write(line + "\n")

    def run(self, arguments: argparse.Namespace) -> None:
        classes = {mid: index for index, mid in enumerate(corpus.class_names(self.data))}
        audiocaps = corpus.audiocaps(self.data, "train")
        clotho = corpus.clotho(self.data)
        lexis = self.lexicon(audiocaps, classes)
        training = [
            *examples.make(audiocaps, classes, lexis, 0),
            *examples.make(clotho, classes, lexis, 1),
        ]
        held_out = examples.make(corpus.audiocaps(self.data, "val"), classes, lexis, 0)
        vocabulary = Vocabulary.from_captions((example.caption for example in training), MINIMUM_COUNT)
        self.log(f"{len(training)} examples, {len(vocabulary)} words")
        channel = Channel(self.similarity())
        model = self.model(training, vocabulary)
        assert isinstance(model.adapter, LabelSet)
        listener = words.Hearing(model.adapter, channel)
        known = words.Words(training, vocabulary)
        unseen = words.Words(held_out, vocabulary)
        words.learn(
            model,
            known,
            unseen,
            listener,
            words.Learning(steps=arguments.learn_steps),
            self.work / "learned.safetensors",
            self.log,
        )

    def lexicon(self, clips: Sequence[corpus.Clip], classes: dict[str, int]) -> lexicon.Lexicon:
        path = self.work / "lexicon.npz"
        if not path.is_file():
            targets = np.zeros((len(clips), CLASSES), dtype=np.float32)
            for row, clip in enumerate(clips):
                targets[row, [classes[mid] for mid in clip.mids if mid in classes]] = 1.0
            captions = [clip.captions[0] for clip in clips]
            lexicon.fit(captions, targets, seed=0).save(path)
            self.log("lexicon fitted")
        return lexicon.Lexicon.load(path)

    def similarity(self) -> np.ndarray:
        path = self.work / "similarity.safetensors"
        if not path.is_file():
            teacher = Yamnet.load(self.data / "weights" / "yamnet.tflite", overlap=0.5)
            clips = hearing.logits(teacher, hearing.unlabelled(self.data))
            save_tensors(path, {"similarity": torch.from_numpy(hearing.similarity(clips))}, {})
            self.log("similarity of classes measured")
        return load_tensors(path)[0]["similarity"].numpy()

    def model(self, training: Sequence[Example], vocabulary: Vocabulary) -> CaptionModel:
        ticked = [example.labels for example in training if example.style == 0]
        sets = Counter(labels for labels in ticked if 0 < len(labels) <= PLACES)
        settings = ModelSettings(
            encoder=EncoderSettings(name="compact_yamnet", overlap=0.5, output="logits"),
            adapter=LabelSet.Settings(sets=len(sets)),
            words=RandomWords.Settings(width=192, spread=0.05),
            decoder=DecoderSettings(d_model=192, heads=4, head_dim=48, ff=768, tied=True),
        )
        torch.manual_seed(0)
        model = CaptionModel(settings, vocabulary)
        adapter = model.adapter
        assert isinstance(adapter, LabelSet)
        adapter.members[:] = torch.tensor(
            [[*s, *[NOTHING] * (PLACES - len(s))] for s in sets], dtype=torch.int16
        )
        adapter.log_counts[:] = torch.tensor([float(count) for count in sets.values()]).log()
        counts = Counter(label for labels in ticked for label in labels)
        adapter.class_prior[:] = torch.tensor(
            [counts[label] / len(ticked) + 1e-5 for label in range(CLASSES)]
        )
        self.log(f"{len(sets)} label sets; {sum(p.numel() for p in model.parameters())} weights")
        return model


if __name__ == "__main__":
    main()

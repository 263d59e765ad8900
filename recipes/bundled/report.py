"""The figures of a captioner on recordings that chose nothing, a row for each system."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from torch import Tensor

from otoscribe.errors import BundleError
from otoscribe.listen.captioner import Captioner
from otoscribe.listen.results import Caption as Result
from otoscribe.listen.results import Failure
from otoscribe.model.adapters.evidence import CLASSES, PITCHES, EvidenceMemory, EvidenceSettings
from otoscribe.text.vocabulary import words_of
from recipes.bundled import confidence, corpus, evaluate
from recipes.bundled.corpus import Pair, Part, Sound
from recipes.bundled.examples import BRIEF, Example
from recipes.bundled.invention import invented
from recipes.bundled.lexicon import Lexicon
from recipes.bundled.measure import Measured, buffers_of, strengths
from recipes.bundled.naming import is_named, mean_named
from recipes.bundled.relations import Relations

Caption = Callable[[Sequence[Path]], list[str]]
"""A captioner: paths → one caption each."""

COLUMNS = (
    "system",
    "ESC-10 named",
    "UrbanSound8K named",
    "invented: ESC-10 / UrbanSound8K / clips",
    "AudioCaps",
    "Clotho",
    "words",
)
HEAD = f"| {' | '.join(COLUMNS)} |\n{'|---' * len(COLUMNS)}|"


class Judge:
    """Scores captioners on one part of the recordings.

    Args:
        data: folder of the test material.
        heard: the encoder's outputs of all recordings.
        relations: of the classes.
        measured: on recordings that are not reported.
        lexis: knows all classes, see `invention.lexicon_of_all`.
        part: which recordings.
    """

    def __init__(
        self,
        data: Path,
        heard: dict[Path, Tensor],
        relations: Relations,
        measured: Measured,
        lexis: Lexicon,
        part: Part = "report",
    ) -> None:
        self.heard, self.relations, self.measured, self.lexis = heard, relations, measured, lexis
        self.pairs = [pair for pair in corpus.pairs(data) if pair.part == part]
        self.esc10 = [sound for sound in corpus.esc10(data) if sound.part == part]
        self.urbansound8k = [sound for sound in corpus.urbansound8k(data) if sound.part == part]

    def row(self, name: str, caption: Caption) -> str:
        """Return a captioner's row of the table, whose head is HEAD."""
        named, false = [], []
        for sounds in (self.esc10, self.urbansound8k):
            texts = caption([sound.path for sound in sounds])
            named.append(f"{mean_named([sound.kind for sound in sounds], texts):.3f}" if sounds else "")
            false.append(self._invented(sounds, texts))
        texts = caption([pair.path for pair in self.pairs])
        false.append(self._invented(self.pairs, texts))
        cells = [*named, " / ".join(false)]
        for prefix in ("audiocaps", "clotho"):
            rows = [i for i, pair in enumerate(self.pairs) if pair.corpus.startswith(prefix)]
            mean, spread = evaluate.cider([self.pairs[i] for i in rows], [texts[i] for i in rows])
            cells.append(f"{mean:.3f} ± {spread:.3f}")
        cells.append(f"{np.mean([len(words_of(text)) for text in texts]):.1f}")
        return f"| {' | '.join([name, *cells])} |"

    def _invented(self, recordings: Sequence[Pair | Sound], texts: Sequence[str]) -> str:
        if not recordings:
            return ""
        strength = strengths([self.heard[recording.path] for recording in recordings])
        false = invented(texts, strength, self.lexis, self.relations, self.measured)
        return f"{np.mean(false):.3f}"

    def reliability(self, captioner: Captioner) -> str:
        """Return how often captions name the kind of a recording, by their confidence."""
        sounds = [*self.esc10, *self.urbansound8k]
        results = written(captioner, [sound.path for sound in sounds])
        true = [is_named(sound.kind, result.caption) for sound, result in zip(sounds, results, strict=True)]
        return confidence.reliability([result.confidence for result in results], true)


def written(captioner: Captioner, paths: Sequence[Path]) -> list[Result]:
    """Caption recordings, all of which must be readable."""
    results = []
    for result in captioner.caption_many(paths):
        if isinstance(result, Failure):
            raise BundleError(result.message)
        results.append(result)
    return results


def captioned(captioner: Captioner, paths: Sequence[Path]) -> list[str]:
    """Return the captions of recordings, all of which must be readable."""
    return [result.caption for result in written(captioner, paths)]


def table(judge: Judge, bundle: Path, training: Sequence[Example], held_out: Sequence[Example]) -> str:
    """Return the table of a bundle and of what needs no captioner.

    Args:
        judge: of the reported recordings.
        bundle: its folder.
        training: captions for the baselines.
        held_out: captions that choose the constant one.
    """
    adapter = EvidenceMemory(EvidenceSettings(), CLASSES + PITCHES)
    for name, value in buffers_of(judge.measured, judge.relations.given).items():
        adapter.get_buffer(name).copy_(value)
    brief = [example for example in training if example.style == BRIEF]
    same = evaluate.constant(held_out, brief)

    def nearest(paths: Sequence[Path]) -> list[str]:
        return evaluate.retrieved(adapter, evaluate.evidence_in([judge.heard[path] for path in paths]), brief)

    def three(paths: Sequence[Path]) -> list[str]:
        return evaluate.top_three(adapter, evaluate.evidence_in([judge.heard[path] for path in paths]))

    captioner = Captioner(bundle)
    systems: dict[str, Caption] = {
        "one constant caption": lambda paths: [same] * len(paths),
        f"most central of the {evaluate.NEAREST} nearest captions": nearest,
        "the three sounds with most evidence, no caption": three,
        f"**{bundle.name}**": lambda paths: captioned(captioner, paths),
    }
    return "\n".join([HEAD, *(judge.row(name, caption) for name, caption in systems.items())])

"""Whether a caption speaks of a sound for which the encoder's scores give no support at all.

What it speaks of is told by the lexicon, fitted on captions that people wrote and on the phrase book, so that
it knows all classes. A class has support where it or a relative of it has a score, or stands out.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from otoscribe.model.adapters.evidence import CLASSES
from otoscribe.text.phrase_book import phrase_book
from recipes.bundled import lexicon
from recipes.bundled.corpus import Clip
from recipes.bundled.lexicon import Lexicon
from recipes.bundled.measure import Measured
from recipes.bundled.relations import Relations, families

SPEAKS_OF = 0.4
"""Probability from which a caption speaks of a class."""
SCORE = -2.2
"""Strength from which a class is heard: a score of a tenth over all of the clip."""
ELEVATION = 4.5
"""Nats above its background from which a class is heard, however low its score."""
REPEATS = 12
"""Times that a phrase of the book counts as a caption: some classes have no other."""


def lexicon_of_all(clips: Sequence[Clip], targets: NDArray[np.float32]) -> Lexicon:
    """Fit a lexicon that knows the phrase book as well.

    Args:
        clips: with captions.
        targets: the labels that raters ticked, [clips, classes].
    """
    captions, labels = [clip.captions[0] for clip in clips], [targets]
    for sound, entry in enumerate(phrase_book()):
        captions += [phrase for phrase in entry.captions for _ in range(REPEATS)]
        own = np.zeros((REPEATS * len(entry.captions), CLASSES), dtype=np.float32)
        own[:, sound] = 1.0
        labels.append(own)
    return lexicon.fit(captions, np.concatenate(labels), seed=0)


def invented(
    captions: Sequence[str], strength: Tensor, lexis: Lexicon, relations: Relations, measured: Measured
) -> list[bool]:
    """Tell of each caption whether it speaks of any class without support.

    Args:
        captions: one a clip.
        strength: of the clips, [clips, 521].
        lexis: from `lexicon_of_all`.
        relations: of the classes.
        measured: gives the background.
    """
    related = families(relations, measured.alike.double().numpy())
    heard = ((strength > SCORE) | (strength - measured.background > ELEVATION)).numpy()
    supported = (heard[:, None, :] & related).any(axis=-1)  # [clips, classes]
    spoken = np.stack([lexis.probabilities(caption) > SPEAKS_OF for caption in captions])
    return [bool(row.any()) for row in spoken & ~supported]

"""FENSE and SPIDEr-FL: scores that a caption loses most of if it is not fluent.

FENSE (Zhou et al. 2022, "Can audio captions be evaluated with image caption metrics?") is the similarity of a
caption's embedding with those of its references; SPIDEr-FL (DCASE 2023, task 6a) is SPIDEr. Both are cut to a
tenth where a detector finds an error of fluency.

The numbers are those of the authors' package `fense` and of `aac-metrics`. What differs there changes time
only: both fill every caption up to 64 word pieces for the detector.
"""

import re
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from otoscribe.errors import MetricError, UsageError
from otoscribe.metrics.fense import networks
from otoscribe.progress import Progress

if TYPE_CHECKING:
    import torch

THRESHOLD = 0.9
"""A caption is not fluent if the detector is surer than this."""
PENALTY = 0.9
"""The share of its score that a caption loses which is not fluent."""
BATCH_SIZE = 64
"""Texts that are read at once; it decides nothing but time."""
DETECTOR_PIECES = 64
"""Word pieces of a caption that the detector reads, the marks of beginning and end included."""
ENCODER_PIECES = 128
"""The same for the sentence encoder (its `sentence_bert_config.json`)."""

_SURROGATE = re.compile("[\ud800-\udfff]")

Floats = NDArray[np.float64]


def fense(similarity: ArrayLike, probability: ArrayLike) -> Floats:
    """Return FENSE, -1 to 1, [captions].

    Args:
        similarity: with the references, -1 to 1, [captions].
        probability: of an error of fluency, 0 to 1, [captions].
    """
    return _penalised(similarity, probability)


def spider_fl(spider: ArrayLike, probability: ArrayLike) -> Floats:
    """Return SPIDEr-FL, 0 to 5.5, [captions].

    Args:
        spider: SPIDEr, 0 to 5.5, [captions].
        probability: of an error of fluency, 0 to 1, [captions].
    """
    return _penalised(spider, probability)


def _penalised(score: ArrayLike, probability: ArrayLike) -> Floats:
    scores = np.asarray(score, dtype=np.float64)
    return np.where(np.asarray(probability) > THRESHOLD, (1 - PENALTY) * scores, scores)


class Fense:
    """Compares captions with references, which are embedded once, and finds captions that are not fluent.

    Each network is loaded when it is first needed (`networks`).
    """

    def __init__(self, references: Sequence[Sequence[str]], progress: Progress | None = None) -> None:
        """Keep the references.

        Args:
            references: texts as written, clips x references.
            progress: called with what is read, how many distinct texts of it are done, and of how many.

        Raises:
            MetricError: PyTorch or transformers is not installed.
        """
        networks.require_packages()
        self._references = [list(texts) for texts in references]
        self._progress = progress

    def similarity(self, candidates: Sequence[str]) -> Floats:
        """Compare each caption with its references: the mean cosine between their embeddings.

        Args:
            candidates: one text for each clip, as written, [clips].

        Returns:
            -1 to 1, [clips].

        Raises:
            UsageError: there are more or fewer captions than clips.
            MetricError: a published file is missing or damaged, or a text is not made of characters.
        """
        if len(candidates) != len(self._references):
            raise UsageError(
                f"{len(candidates)} captions for {len(self._references)} clips: give one for each."
            )
        # The mean of the products is the product with the mean.
        similarity: Floats = (self._embed("candidates", candidates) * self._centres).sum(axis=1)
        return similarity

    def error_probability(self, candidates: Sequence[str]) -> Floats:
        """Return how sure it is that a caption is not fluent, 0 to 1, [captions].

        Args:
            candidates: any number of texts, as written. Punctuation and capitals are dropped, as in `fense`.

        Raises:
            MetricError: a published file is missing or damaged.
        """
        network = self._detector

        def read(pieces: "torch.Tensor", mask: "torch.Tensor") -> "torch.Tensor":
            first = network["encoder"](pieces, mask).last_hidden_state[:, 0]
            probabilities: torch.Tensor = network["clf"](first).sigmoid()
            return probabilities[:, -1:]

        texts = [re.sub(r"[^\w\s]", "", text).lower() for text in candidates]
        return self._read("fluency", texts, DETECTOR_PIECES, read)[:, 0]

    @cached_property
    def _detector(self) -> "torch.nn.ModuleDict":
        return networks.load_detector()

    @cached_property
    def _encoder(self) -> "torch.nn.ModuleDict":
        return networks.load_encoder()

    @cached_property
    def _centres(self) -> Floats:
        """The mean embedding of each clip's references, [clips, width]."""
        counts = np.array([len(texts) for texts in self._references])
        embeddings = self._embed("references", [text for texts in self._references for text in texts])
        sums: Floats = np.add.reduceat(embeddings, np.cumsum(counts) - counts)
        centres: Floats = sums / counts[:, None]
        return centres

    def _embed(self, what: str, texts: Sequence[str]) -> Floats:
        """Return embeddings of length one, [texts, width]: means over the word pieces, marks included."""
        network = self._encoder
        # After the network, whose files may be missing: what cannot be used is not waited for.
        import torch

        def read(pieces: "torch.Tensor", mask: "torch.Tensor") -> "torch.Tensor":
            hidden: torch.Tensor = network["encoder"](pieces, mask).last_hidden_state
            # The length of the sum falls out with that of the mean.
            total = (hidden * mask[:, :, None]).sum(dim=1)
            return torch.nn.functional.normalize(total, dim=1)

        return self._read(what, texts, ENCODER_PIECES, read)

    def _read(
        self,
        what: str,
        texts: Sequence[str],
        longest: int,
        read: Callable[["torch.Tensor", "torch.Tensor"], "torch.Tensor"],
    ) -> Floats:
        """Read each distinct text once, texts of like length together.

        Args:
            what: for `progress`.
            texts: what to read, [texts].
            longest: how many word pieces of a text are read.
            read: word pieces and mask, each [batch, pieces] → [batch, width].

        Returns:
            [texts, width]; [0, 1] if there are no texts.
        """
        import torch

        for text in texts:
            if _SURROGATE.search(text):
                raise MetricError(f"The caption {text!r} holds half a character. Write it again, as UTF-8.")
        word_pieces = networks.load_word_pieces(longest)
        distinct = sorted(set(texts), key=lambda text: (len(text), text))
        rows = [np.zeros((0, 1))] if not distinct else []
        for begin in range(0, len(distinct), BATCH_SIZE):
            batch = word_pieces.encode_batch(distinct[begin : begin + BATCH_SIZE])
            pieces = torch.tensor([text.ids for text in batch], device=networks.device())
            mask = torch.tensor([text.attention_mask for text in batch], device=networks.device())
            with torch.inference_mode():
                rows.append(read(pieces, mask).double().cpu().numpy())
            if self._progress is not None:
                self._progress(what, begin + len(batch), len(distinct))
        place = {text: number for number, text in enumerate(distinct)}
        return np.concatenate(rows)[np.array([place[text] for text in texts], dtype=np.int64)]

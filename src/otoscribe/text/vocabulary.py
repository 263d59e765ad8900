"""Text ↔ ids: what counts as a word of a caption, and the numbers a model uses for the words."""

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from otoscribe.errors import BundleError

PAD, START, END, UNKNOWN = 0, 1, 2, 3
SPECIALS = ("<pad>", "<start>", "<end>", "<unknown>")

# A stripped sign becomes a blank: captions hold "gets louder,then stops", and "louderthen" is no word.
_SIGNS = str.maketrans(dict.fromkeys(',.!?;:"“”', " ") | {"\u2019": "'"})


def words_of(caption: str) -> list[str]:
    """Split a caption into lower-case words, without `, . ! ? ; : "`; hyphens and apostrophes are kept."""
    return caption.lower().translate(_SIGNS).split()


@dataclass(frozen=True)
class Vocabulary:
    """The words a model knows; a word's id is its place in `words`, the four specials come first.

    Raises:
        ValueError: the specials are not first, or a word occurs twice or is not one
            printable word of a caption.
    """

    words: tuple[str, ...]
    _ids: dict[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.words[: len(SPECIALS)] != SPECIALS:
            raise ValueError(f"does not begin with {', '.join(SPECIALS)}")
        ids = {word: index for index, word in enumerate(self.words) if index >= len(SPECIALS)}
        if len(ids) < len(self.words) - len(SPECIALS):
            raise ValueError("lists a word twice")
        for word in ids:
            if word in SPECIALS or words_of(word) != [word] or not word.isprintable():
                raise ValueError(
                    f"lists {word!r}, which is not one lower-case word without punctuation that prints"
                )
        object.__setattr__(self, "_ids", ids)

    @classmethod
    def from_captions(cls, captions: Iterable[str], minimum_count: int = 1) -> "Vocabulary":
        """Collect words that occur at least `minimum_count` times, the most frequent first, then a to z."""
        counts = Counter(word for caption in captions for word in words_of(caption))
        # A caption that spells "<end>" must not be able to end other captions.
        frequent = {
            word for word, count in counts.items() if count >= minimum_count and word.isprintable()
        } - set(SPECIALS)
        return cls((*SPECIALS, *sorted(frequent, key=lambda word: (-counts[word], word))))

    def __len__(self) -> int:
        """Count the words, specials included: the width of a model's output."""
        return len(self.words)

    def encode(self, caption: str) -> list[int]:
        """Return the ids of a caption's words, `UNKNOWN` for the others, without `START` and `END`."""
        return [self._ids.get(word, UNKNOWN) for word in words_of(caption)]

    def decode(self, ids: Iterable[int]) -> str:
        """Join the words of `ids` up to the first `END`, leaving out specials.

        Raises:
            IndexError: an id is negative or not below `len(self)`.
        """
        words: list[str] = []
        for index in ids:
            if index == END:
                break
            if not 0 <= index < len(self.words):
                raise IndexError(f"There is no word {index} in a vocabulary of {len(self.words)}.")
            if index >= len(SPECIALS):
                words.append(self.words[index])
        return " ".join(words)

    def to_json(self) -> str:
        """Return the words in the order of their ids as a JSON list, one per line."""
        return json.dumps(self.words, ensure_ascii=False, indent=0) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Vocabulary":
        """Read what `to_json` wrote.

        Raises:
            BundleError: `text` is not such a list.
        """
        try:
            words = json.loads(text)
            if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
                raise ValueError("is not a JSON list of words")
            return cls(tuple(words))
        except (ValueError, RecursionError) as error:
            raise BundleError(
                f"The vocabulary cannot be used: it {_reason(error)}. Export or copy the model again."
            ) from error


def _reason(error: Exception) -> str:
    return "is not valid JSON" if isinstance(error, json.JSONDecodeError | RecursionError) else str(error)

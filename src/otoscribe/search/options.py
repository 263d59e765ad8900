"""How captions are searched: every number that decides it."""

import operator
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, ModelWrapValidatorHandler, ValidationError, model_validator

from otoscribe.errors import UsageError
from otoscribe.settings import Frozen


def _whole(value: Any) -> Any:
    """Let NumPy's whole numbers pass for Python's."""
    is_whole = hasattr(value, "__index__") and not isinstance(value, bool)
    return operator.index(value) if is_whole else value


Whole = Annotated[int, BeforeValidator(_whole)]


class Decoding(Frozen):
    """How a model decodes unless asked otherwise.

    Raises:
        UsageError: a value is out of its range, or two values contradict each other.
    """

    beam: Whole = Field(default=4, ge=1, le=1000)
    """Hypotheses kept per clip; 1 is greedy decoding."""
    maximum_words: Whole = Field(default=30, ge=1, le=1000)
    """Words after which a caption is ended."""
    minimum_words: Whole = Field(default=1, ge=0, le=1000)
    """Words before which a caption does not end, unless no word is left to continue with."""
    length_normalisation: float = Field(default=0.0, ge=0, le=10)
    """Captions rank by log-probability / tokens ** this, `END` counted; 0 ranks by log-probability."""
    no_repeat: Whole = Field(default=0, ge=0, le=1000)
    """Size of the word n-grams that may occur only once in a caption; 0 allows all repeats."""

    @model_validator(mode="wrap")
    @classmethod
    def _checked(cls, values: Any, read: ModelWrapValidatorHandler[Self]) -> Self:
        try:
            decoding = read(values)
        except ValidationError as error:
            raise UsageError(cls._sentence(error)) from error
        decoding._check()
        return decoding

    @classmethod
    def _sentence(cls, error: ValidationError) -> str:
        first = error.errors(include_url=False)[0]
        name = str(first["loc"][0]) if first["loc"] else ""
        if first["type"] in ("extra_forbidden", "missing") or name not in cls.model_fields:
            return f"The search cannot be read at {name!r}: {first['msg'].lower()}."
        field = cls.model_fields[name]
        lowest, highest = (
            next(getattr(limit, kind) for limit in field.metadata if hasattr(limit, kind))
            for kind in ("ge", "le")
        )
        kind = "number" if field.annotation is float else "whole number"
        return f"{name} must be a {kind} from {lowest} to {highest}, not {first['input']!r}."

    def _check(self) -> None:
        if self.minimum_words > self.maximum_words:
            raise UsageError(
                f"minimum_words ({self.minimum_words}) exceeds maximum_words ({self.maximum_words}); "
                f"lower the one or raise the other."
            )


class Search(Decoding):
    """How captions are searched this time."""

    candidates: Whole = Field(default=1, ge=1, le=1000)
    """Captions returned per clip, best first; at most `beam`."""

    def _check(self) -> None:
        super()._check()
        if self.candidates > self.beam:
            raise UsageError(
                f"A beam of {self.beam} cannot give {self.candidates} candidates: "
                f"set beam to {self.candidates} or more."
            )

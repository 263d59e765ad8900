"""Everything that decides what a training run gives, read from a TOML file, a preset or a run's own JSON."""

import json
import tomllib
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, cast

from pydantic import BaseModel, Field, ValidationError

from otoscribe.errors import SettingsError, UsageError, unknown_name
from otoscribe.model.adapters.base import ADAPTERS
from otoscribe.model.caption_model import ModelSettings
from otoscribe.model.encoders.base import ENCODERS
from otoscribe.model.words.base import WORDS
from otoscribe.registry import Registry
from otoscribe.settings import Frozen
from otoscribe.train.store import Kind

VARIANTS: dict[str, Registry[Any]] = {"encoder": ENCODERS, "adapter": ADAPTERS, "words": WORDS}
"""By the table that holds their settings."""
PRESETS = Path(__file__).parents[1] / "presets"
"""Folder of the settings that have a name: NAME.toml."""


class DataSettings(Frozen):
    """Which recordings and captions a run is trained on."""

    fingerprint: str | None = Field(default=None, pattern="^[0-9a-f]{64}$")
    """Of the recordings and captions to learn from and to validate with; None: those that are given, whose
    fingerprint then becomes part of a run's settings."""
    precision: Kind = "float32"
    """Numbers of the embeddings on disk; float16 takes half the space, and keeps 3 of 7 digits."""


class TrainingSettings(Frozen):
    """How the model is trained; the defaults are the paper's: Adam at a constant step size."""

    seed: int = Field(default=0, ge=0, le=2**31 - 1)
    """Decides first weights, order of batches and dropout."""
    learning_rate: float = Field(default=1e-3, gt=0)
    """Adam's step size."""
    beta1: float = Field(default=0.9, ge=0, lt=1)
    """Adam's memory of the gradient."""
    beta2: float = Field(default=0.999, ge=0, lt=1)
    """Adam's memory of its square."""
    epsilon: float = Field(default=1e-8, gt=0)
    """Adam's guard against division by zero."""
    batch_pairs: int = Field(default=256, gt=0)
    """Pairs of recording and caption per step."""
    patience: int = Field(default=10, gt=0)
    """Epochs without a better validation loss after which training stops."""
    maximum_epochs: int = Field(default=1000, gt=0)
    """Epochs after which it stops in any case."""
    minimum_count: int = Field(default=1, gt=0)
    """Occurrences in the training captions that make a word part of the vocabulary."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Numbers of the matrix products in training; bfloat16 is faster where the processor has it."""
    warmup_steps: int = Field(default=0, ge=0)
    """Steps over which the step size rises in equal parts to `learning_rate`; 0 begins with all of it."""
    schedule: Literal["constant", "cosine"] = "constant"
    """The step size afterwards: the same, or along half a cosine down to 0 after `maximum_epochs`."""
    weight_decay: float = Field(default=0.0, ge=0)
    """Share of every weight, times the step size, that a step takes off (Loshchilov and Hutter, 2019)."""
    clip_norm: float | None = Field(default=None, gt=0)
    """Norm to which a longer gradient is cut; None leaves it."""
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    """Share of a target's probability that is spread over all words, in the training loss only."""


class ExperimentSettings(Frozen):
    """Everything that decides a run's result; `experiment.resolve` fills what the data and weights decide."""

    data: DataSettings = DataSettings()
    model: ModelSettings
    training: TrainingSettings = TrainingSettings()

    @property
    def is_resolved(self) -> bool:
        """Whether data, encoder's weights and words' vectors are named: nothing else decides the result."""
        model = self.model
        return None not in (self.data.fingerprint, model.encoder.weights) and model.words.is_resolved


def presets() -> list[str]:
    """Return the names of the settings that come with the package, a to z."""
    return sorted(path.stem for path in PRESETS.glob("*.toml"))


def read_settings(chosen: str, changes: Iterable[str] = ()) -> ExperimentSettings:
    """Read settings from a TOML file, and change some.

    Args:
        chosen: the name of a preset, or the path of a file, which ends in .toml.
        changes: each `KEY=VALUE`, the key with the tables that it is in (`training.seed=3`), the value as in
            TOML; what is no TOML is a text, so that names need no quotes. Of two changes of a key the later
            one counts. Naming another variant (`model.words.name=glove`) comes before other changes and
            starts its table anew, because what was set for one variant is not meant for another.

    Raises:
        SettingsError: the file is no TOML, or holds a wrong value, a missing or an unknown key, also by a
            change; the message names each by its place. Or a change is none.
        UsageError: there is no such preset or file, or it names an encoder, adapter or word embedding that
            is not known.
    """
    path = Path(chosen)
    if not chosen.endswith(".toml"):
        if chosen not in presets():
            file = Path(f"{chosen}.toml")
            hint = f" Or name a file that ends in .toml, not {chosen}." if path.exists() else ""
            hint = f" Or did you mean the file {file}?" if file.is_file() else hint
            raise UsageError(f"{unknown_name('preset', chosen, presets())}{hint}")
        path = PRESETS / f"{chosen}.toml"
    changes = list(changes)
    source = f"{path} with {', '.join(changes)}" if changes else str(path)
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
        _change(values, changes)
        # By way of JSON, in which a list may stand for a tuple.
        text = json.dumps(values, allow_nan=False)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise UsageError(f"The settings in {path} cannot be read: {reason}. Name a TOML file.") from error
    except (ValueError, TypeError) as error:  # no UTF-8, no TOML, or a date or NaN, which no setting is
        raise SettingsError(f"The settings in {source} are not TOML with plain values: {error}.") from error
    return parse_settings(text, source)


def parse_settings(text: str, source: Path | str) -> ExperimentSettings:
    """Read settings from JSON, as they stand in a run's folder.

    Raises:
        SettingsError: as `read_settings`.
        UsageError: the name of an encoder, adapter or word embedding is not known.
    """
    try:
        return ExperimentSettings.model_validate_json(text)
    except ValidationError as error:
        problems = "; ".join(_problems(error, text))
        raise SettingsError(f"The settings in {source} cannot be used. {problems}.") from error


def _change(values: dict[str, Any], changes: Iterable[str]) -> None:
    """Change settings in place, those first that name a variant."""
    read = [_read_change(change) for change in changes]
    for keys, value in sorted(read, key=lambda change: not _names_variant(change[0])):
        *tables, last = keys
        inside = values
        for depth, table in enumerate(tables, 1):
            inside = inside.setdefault(table, {})
            if not isinstance(inside, dict):
                place = ".".join(tables[:depth])
                raise SettingsError(
                    f"{'.'.join(keys)} cannot be set, because {place} is no table of settings. "
                    f"Set {place} itself: {place}=VALUE."
                )
        if _names_variant(keys) and inside.get(last) != value:
            inside.clear()
        inside[last] = value


def _names_variant(keys: list[str]) -> bool:
    return keys[0] == "model" and keys[2:] == ["name"]


def _read_change(change: str) -> tuple[list[str], Any]:
    """Return the keys, outermost first, and the value."""
    place, sign, text = (part.strip() for part in change.partition("="))
    keys = [key.strip() for key in place.split(".")]
    if not sign or not all(keys):
        raise SettingsError(f"{change!r} sets nothing. Write KEY=VALUE, such as training.seed=3.")
    try:
        found = tomllib.loads(f"x = {text}")
    except tomllib.TOMLDecodeError:
        found = {}
    # More than one is a text of several lines, which happens to be TOML.
    return keys, found["x"] if list(found) == ["x"] else text


def _problems(error: ValidationError, text: str) -> Iterator[str]:
    """Yield what is wrong with settings in JSON, and where."""
    for problem in error.errors():
        place, what = problem["loc"], problem["msg"].removeprefix("Value error, ")
        if problem["type"] == "extra_forbidden":
            what = f"there is no such setting{_nearest(place, json.loads(text))}"
        yield f"{'.'.join(map(str, place)) or 'the file'}: {what}"


def _nearest(place: tuple[Any, ...], values: Any) -> str:
    """Return what to say of the settings that are there instead of one that is not."""
    *tables, name = place
    kind: type[BaseModel] = ExperimentSettings
    for table in tables:
        values = values[table]
        if table in VARIANTS:
            kind = VARIANTS[table][values["name"]].Settings
        else:
            kind = cast(type[BaseModel], kind.model_fields[table].annotation)
    near = get_close_matches(name, kind.model_fields, n=1)
    return f" (did you mean {near[0]}?)" if near else f" (known: {', '.join(kind.model_fields)})"

"""What a study compares, read from a TOML file or a preset, and cut or extended for the moment."""

import json
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError

from otoscribe.errors import SettingsError, UsageError, unknown_name
from otoscribe.metrics.evaluation import METRICS
from otoscribe.search.options import Search
from otoscribe.settings import Frozen
from otoscribe.study.metrics.base import OWN
from otoscribe.train.settings import PRESETS, presets

STUDIES = PRESETS / "studies"
"""Folder of the studies that have a name: NAME.toml."""
SHORT = {
    "encoder": "model.encoder.name",
    "overlap": "model.encoder.overlap",
    "adapter": "model.adapter.name",
    "words": "model.words.name",
    "tuned": "model.words.tuned",
}
"""Axes with a short name, and the setting that each sets."""

SEED = "training.seed"
"""Set by `seeds`, and by no axis."""

Value = bool | int | float | str
Values = Annotated[tuple[Value, ...], Field(min_length=1)]


class Splits(Frozen):
    """What is learned from, chosen by and reported, each as `read_clips` takes it."""

    training: str
    """Recordings to learn from."""
    validation: str
    """Recordings that choose the epoch."""
    evaluation: str
    """Recordings whose captions are scored."""


class Rule(Frozen):
    """What is different in some settings of the grid."""

    when: dict[str, Value | tuple[Value, ...]] = Field(min_length=1)
    """Axes with the value, or values, at which the rule holds; all of them have to."""
    skip: bool = False
    """Leave these settings out."""
    unset: tuple[str, ...] = ()
    """Axes that set nothing there, because their setting does not exist."""
    set: dict[str, Value] = Field(default_factory=dict)
    """What is set besides, by the key of the setting."""


class StudySettings(Frozen):
    """What a study compares; which runs that makes is for `grid.settings_of` to say."""

    name: str = Field(pattern=r"^\w[\w.-]*$")
    """Of its folder."""
    base: str
    """Training settings that all runs begin with: a preset or a TOML file."""
    data: Splits
    metric: str = "spider"
    """What is reported: a metric of otoscribe's, or one's own, see `metrics.base`."""
    search: Search = Search()
    """How captions are searched."""
    seeds: int = Field(default=10, gt=0)
    """Runs of each setting: their seeds are 0, 1, 2 and so on."""
    axes: dict[str, Values] = Field(min_length=1)
    """What varies, and its values: a name of `SHORT`, or the key of any setting."""
    rules: tuple[Rule, ...] = ()
    changes: tuple[str, ...] = ()
    """KEY=VALUE, set in all runs before what the axes set; see `read_settings`."""
    made_up: bool = False
    """Whether recordings, captions or vectors are invented, so that no score means anything."""


def key_of(axis: str) -> str:
    """Return the setting that an axis sets."""
    return SHORT.get(axis, axis)


def label_of(value: Value) -> str:
    """Return how a value is written in tables and on the command line."""
    return value if isinstance(value, str) else json.dumps(value)


def studies() -> list[str]:
    """Return the names of the studies that come with the package, a to z."""
    return sorted(path.stem for path in STUDIES.glob("*.toml"))


def read_study(
    chosen: str,
    only: Iterable[str] = (),
    add: Iterable[str] = (),
    seeds: int | None = None,
    changes: Iterable[str] = (),
) -> StudySettings:
    """Read a study, and change it for the moment.

    Args:
        chosen: the name of a preset, or the path of a file, which ends in .toml. Paths in a file are relative
            to its folder, if that holds them.
        only: each `AXIS=VALUE,VALUE`, the values of an axis that are kept.
        add: likewise, values that an axis gets; one that is not there is made.
        seeds: how many instead of the file's.
        changes: each `KEY=VALUE`, set in all runs.

    Raises:
        SettingsError: the file is no TOML, or a key or a value in it is wrong; or a change is none.
        UsageError: there is no such study, axis, value or metric.
    """
    path = Path(chosen)
    if not chosen.endswith(".toml"):
        if chosen not in studies():
            hint = f" Or did you mean the file {chosen}.toml?" if Path(f"{chosen}.toml").is_file() else ""
            raise UsageError(f"{unknown_name('study', chosen, studies())} Or name a TOML file.{hint}")
        path = STUDIES / f"{chosen}.toml"
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
        text = json.dumps(values, allow_nan=False)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise UsageError(f"The study in {path} cannot be read: {reason}. Name a TOML file.") from error
    except (ValueError, TypeError) as error:  # no UTF-8, no TOML, or a date or NaN, which no setting is
        raise SettingsError(f"The study in {path} is not TOML with plain values: {error}.") from error
    try:
        study = StudySettings.model_validate_json(text)
    except ValidationError as error:
        raise SettingsError(f"The study in {path} cannot be used. {'; '.join(_problems(error))}.") from error
    axes = dict(study.axes)
    for axis, chosen_values in map(_read_axis, add):
        axes[axis] = (*axes.get(axis, ()), *map(_read_value, chosen_values))
    for axis, kept in map(_read_axis, only):
        if axis not in axes:
            raise unknown_name("axis", axis, axes)
        axes[axis] = _kept(axis, axes[axis], kept)
    update: dict[str, Any] = {
        "axes": axes,
        "base": study.base if study.base in presets() else _beside(path, study.base),
        "data": Splits(**{split: _beside(path, source) for split, source in study.data}),
        "seeds": study.seeds if seeds is None else seeds,
        "changes": (*study.changes, *changes),
    }
    study = study.model_copy(update=update)
    _check(study)
    return study


def _problems(error: ValidationError) -> Iterator[str]:
    """Yield what is wrong, and where."""
    for problem in error.errors():
        place, what = problem["loc"], problem["msg"].removeprefix("Value error, ")
        if problem["type"] == "extra_forbidden" and len(place) == 1:
            near = get_close_matches(str(place[0]), StudySettings.model_fields, n=1)
            what = f"there is no such key{f' (did you mean {near[0]}?)' if near else ''}"
        yield f"{'.'.join(map(str, place)) or 'the file'}: {what}"


def _beside(path: Path, source: str) -> str:
    beside = path.parent / source
    return str(beside) if beside.exists() else source


def _read_axis(text: str) -> tuple[str, list[str]]:
    axis, sign, values = (part.strip() for part in text.partition("="))
    chosen = [value.strip() for value in values.split(",")]
    if not (sign and axis and all(chosen)):
        raise SettingsError(
            f"{text!r} names no axis with values. Write AXIS=VALUE,VALUE, as overlap=0.0,0.5."
        )
    return axis, chosen


def _read_value(text: str) -> Value:
    try:
        value = tomllib.loads(f"x = {text}")["x"]
    except tomllib.TOMLDecodeError:
        return text
    return value if isinstance(value, Value) else text


def _kept(axis: str, values: Iterable[Value], kept: Iterable[str]) -> tuple[Value, ...]:
    """Return the values that are named, in the order of the axis; 0 stands for 0.0 as well."""
    by_label = {label_of(value): value for value in values}
    chosen = set()
    for text in kept:
        read = _read_value(text)
        alike = [label for label, value in by_label.items() if _is_number(read, value) and read == value]
        if text not in by_label and not alike:
            raise unknown_name(f"value of the axis {axis}", text, by_label)
        chosen.add(text if text in by_label else alike[0])
    return tuple(value for label, value in by_label.items() if label in chosen)


def _is_number(*values: Value) -> bool:
    return all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)


def _check(study: StudySettings) -> None:
    if study.metric not in METRICS and study.metric not in OWN and ":" not in study.metric:
        raise unknown_name("metric", study.metric, [*METRICS, *OWN])
    for axis, values in study.axes.items():
        labels = [label_of(value) for value in values]
        if len(set(labels)) < len(labels):
            raise SettingsError(f"The axis {axis} has a value twice: {', '.join(labels)}.")
        if axis in ("seed", SEED):
            raise SettingsError("The seed is no axis. Say how many there are: seeds = 10, or --seeds 10.")
        if axis not in SHORT and "." not in axis:
            raise UsageError(
                f"{unknown_name('axis with a short name', axis, SHORT)} Or name the key of a setting, such "
                "as training.learning_rate."
            )
    for rule in study.rules:
        _check_rule(rule, study.axes)


def _check_rule(rule: Rule, axes: Mapping[str, tuple[Value, ...]]) -> None:
    for axis in (*rule.when, *rule.unset):
        if axis not in axes:
            raise unknown_name("axis", axis, axes)

"""What a study compares, read from a TOML file or a preset, and cut or extended for the moment."""

import json
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from math import prod
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
SAID = 5
"""Problems of a file, which may be any other."""
ALTERNATIVES = ("bool", "int", "float", "str", "tuple[")
"""How pydantic names the kinds that a value may be of."""

MOST_RUNS = 100_000
"""Of a study, before rules leave some out: more were a slip of the hand, and take hours to look at."""

Value = bool | int | float | str
Values = Annotated[tuple[Value, ...], Field(min_length=1)]
Text = Annotated[str, Field(min_length=1)]


class Splits(Frozen):
    """What is learned from, chosen by and reported, each as `read_clips` takes it."""

    training: Text
    """Recordings to learn from."""
    validation: Text
    """Recordings that choose the epoch."""
    evaluation: Text
    """Recordings whose captions are scored."""


class Rule(Frozen):
    """What is different in some settings of the grid."""

    when: dict[str, Value | Values] = Field(min_length=1)
    """Axes with the value, or values, at which the rule holds; all of them have to."""
    skip: bool = False
    """Leave these settings out."""
    unset: tuple[str, ...] = ()
    """Axes that set nothing there, because their setting does not exist."""
    set: dict[str, Value] = Field(default_factory=dict)
    """What is set besides, by the key of the setting."""


class StudySettings(Frozen):
    """What a study compares; which runs that makes is for `grid.settings_of` to say."""

    name: str = Field(pattern=r"^\w[\w.-]*$", max_length=100)
    """Of its folder."""
    base: Text
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


def known_as(value: Value) -> tuple[bool, Value]:
    """Return what is equal for values that set the same: 0 and 0.0 do, 1 and true do not."""
    return isinstance(value, bool), value


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
        only: each `AXIS=VALUE,VALUE`, the values of an axis that are kept; several of one axis add up.
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
        values = tomllib.loads(path.read_text(encoding="utf-8-sig"))
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
    except UsageError as error:  # of the search
        raise SettingsError(f"The study in {path} cannot be used. {error}") from error
    axes = dict(study.axes)
    for axis, chosen_values in map(_read_axis, add):
        axes[axis] = (*axes.get(axis, ()), *map(_read_value, chosen_values))
    whole, cut = dict(axes), dict[str, list[str]]()
    for axis, chosen_values in map(_read_axis, only):
        cut.setdefault(axis, []).extend(chosen_values)
    for axis, kept in cut.items():
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
    for rule in study.rules:
        _check_rule(rule, whole)
    return study


def _problems(error: ValidationError) -> Iterator[str]:
    """Yield what is wrong, and where."""
    found: dict[str, str] = {}
    for problem in error.errors():
        place, what = problem["loc"], problem["msg"].removeprefix("Value error, ")
        if problem["type"] == "extra_forbidden":
            near = get_close_matches(str(place[-1]), _keys_in(place), n=1)
            what = f"there is no such key{f' (did you mean {near[0]}?)' if near else ''}"
        elif place == ("name",) and problem["type"].startswith("string_"):
            what = (
                "a name is up to 100 letters, digits, dots, hyphens and underscores, a letter or digit first"
            )
        elif problem["type"] == "too_short":
            what = "name one or more"
        elif problem["type"] == "tuple_type":
            what = "write a list, in square brackets"
        if place and str(place[-1]).startswith(ALTERNATIVES):
            place, what = place[:-1], "a value is a text, a number, true or false"
        found.setdefault(".".join(map(str, place)) or "the file", what)
    # What holds a wrong value is said to be too short as well.
    wrong = [place for place in found if not any(other.startswith(f"{place}.") for other in found)]
    yield from (f"{place}: {found[place]}" for place in wrong[:SAID])
    if len(wrong) > SAID:
        yield f"and {len(wrong) - SAID} problems more"


def _keys_in(place: tuple[int | str, ...]) -> list[str]:
    kinds: dict[int | str, type[Frozen]] = {"data": Splits, "rules": Rule}
    return list((kinds[place[0]] if len(place) > 1 else StudySettings).model_fields)


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
    """Return the values that are named, in the order of the axis."""
    by_label = {label_of(value): value for value in values}
    chosen = [by_label.get(text, _read_value(text)) for text in kept]
    _check_values(axis, by_label.values(), chosen)
    names = set(map(known_as, chosen))
    return tuple(value for value in by_label.values() if known_as(value) in names)


def _check_values(axis: str, values: Iterable[Value], named: Iterable[Value]) -> None:
    names = set(map(known_as, values))
    for value in named:
        if known_as(value) not in names:
            raise unknown_name(f"value of the axis {axis}", label_of(value), map(label_of, values))


def _check(study: StudySettings) -> None:
    if study.metric not in METRICS and study.metric not in OWN and ":" not in study.metric:
        raise unknown_name("metric", study.metric, [*METRICS, *OWN])
    for axis, values in study.axes.items():
        if len(set(map(known_as, values))) < len(values):
            raise SettingsError(f"The axis {axis} has a value twice: {', '.join(map(label_of, values))}.")
        if axis in ("seed", SEED):
            raise SettingsError("The seed is no axis. Say how many there are: seeds = 10, or --seeds 10.")
        if axis not in SHORT and "." not in axis:
            raise UsageError(
                f"{unknown_name('axis with a short name', axis, SHORT)} Or name the key of a setting, such "
                "as training.learning_rate."
            )
    setters = {key_of(axis): axis for axis in study.axes}
    for axis in study.axes:
        if setters[key_of(axis)] != axis:
            raise SettingsError(f"The axes {axis} and {key_of(axis)} set the same; keep one of them.")
    for change in study.changes:
        key = change.partition("=")[0].strip()
        _check_set(key)
        if key in setters:
            raise SettingsError(
                f"{change} would change nothing, as {setters[key]} is an axis of the study. Cut the axis: "
                f"--only {setters[key]}=VALUE."
            )
    runs = prod(map(len, study.axes.values())) * study.seeds
    if runs > MOST_RUNS:
        raise UsageError(
            f"The axes and seeds of the study make {runs:,} runs; {MOST_RUNS:,} are allowed. Cut an axis "
            "(--only AXIS=VALUES), or take fewer seeds (--seeds N)."
        )


def _check_set(key: str) -> None:
    if key == SEED:
        raise SettingsError("The seed cannot be set. Say how many there are: seeds = 10, or --seeds 10.")


def _check_rule(rule: Rule, axes: Mapping[str, tuple[Value, ...]]) -> None:
    for axis in (*rule.when, *rule.unset):
        if axis not in axes:
            raise unknown_name("axis", axis, axes)
    for axis, values in rule.when.items():
        _check_values(axis, axes[axis], values if isinstance(values, tuple) else (values,))
    if not (rule.skip or rule.unset or rule.set):
        raise SettingsError("A rule does nothing: give it skip = true, unset or set.")
    for key in rule.set:
        _check_set(key)
        for axis in axes:
            if key_of(axis) == key and axis not in rule.unset:
                raise SettingsError(
                    f"A rule sets {key}, which the axis {axis} sets; name that in the rule's unset as well."
                )

"""A study → its settings, one for each combination of the axes' values that no rule leaves out."""

import json
from collections.abc import Iterator, Mapping
from itertools import product
from typing import NamedTuple

from otoscribe.errors import SettingsError
from otoscribe.settings import run_id
from otoscribe.study.engine.settings import Rule, StudySettings, Value, key_of, known_as, label_of
from otoscribe.train.settings import ExperimentSettings, read_settings


class Setting(NamedTuple):
    """A place in the grid."""

    labels: tuple[str, ...]
    """A value for each axis, as text, in the order of the axes."""
    experiment: ExperimentSettings
    """What is trained; the seed is that of the base."""


def settings_of(study: StudySettings) -> list[Setting]:
    """Return all settings, the last axis varying fastest.

    Raises:
        SettingsError: a combination of values cannot be trained, two are the same, or none is left.
        UsageError: the base, or an encoder, adapter or word embedding, is not known.
    """
    found: dict[str, Setting] = {}
    for values in product(*study.axes.values()):
        chosen = dict(zip(study.axes, values, strict=True))
        rules = [rule for rule in study.rules if _holds(rule, chosen)]
        if any(rule.skip for rule in rules):
            continue
        changes = [*study.changes, *_changes(chosen, rules)]
        setting = Setting(tuple(map(label_of, values)), read_settings(study.base, changes))
        name = run_id(setting.experiment)
        if name in found:
            twins = " and ".join(", ".join(labels) for labels in (found[name].labels, setting.labels))
            raise SettingsError(
                f"Two settings of the study are the same: {twins}. Leave one out by a rule with skip = true."
            )
        found[name] = setting
    if not found:
        raise SettingsError("No setting of the study is left: its rules skip them all.")
    return list(found.values())


def _holds(rule: Rule, chosen: Mapping[str, Value]) -> bool:
    return all(
        known_as(chosen[axis]) in map(known_as, values if isinstance(values, tuple) else (values,))
        for axis, values in rule.when.items()
    )


def _changes(chosen: Mapping[str, Value], rules: list[Rule]) -> Iterator[str]:
    unset = {axis for rule in rules for axis in rule.unset}
    for axis, value in chosen.items():
        if axis not in unset:
            yield f"{key_of(axis)}={json.dumps(value)}"
    for rule in rules:
        for key, value in rule.set.items():
            yield f"{key}={json.dumps(value)}"

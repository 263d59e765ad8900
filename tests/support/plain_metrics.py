"""Scoring without the metrics that start Java or load networks, for tests that are about something else."""

import pytest

from otoscribe.errors import MetricError
from otoscribe.metrics import evaluation


class Missing:
    def __init__(self, *_: object) -> None:
        raise MetricError("It is not installed.")


@pytest.fixture
def plain_metrics(monkeypatch: pytest.MonkeyPatch) -> None:
    for metric in ("Meteor", "Spice", "Fense"):
        monkeypatch.setattr(evaluation, metric, Missing)

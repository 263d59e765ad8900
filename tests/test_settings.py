from typing import Any, Literal

import pytest
from pydantic import ValidationError

from otoscribe import settings
from otoscribe.settings import Frozen, run_id


class Part(Frozen):
    name: str = "identity"


class WidePart(Part):
    width: int = 256


class Whole(Frozen):
    rate: float = 1e-3
    kind: Literal["fixed", "tuned"] = "fixed"
    sizes: tuple[int, ...] = (1, 2)
    part: Part = Part()


def test_settings_are_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Whole().rate = 1.0


@pytest.mark.parametrize(
    "values",
    [{"ratio": 1.0}, {"part": {"nam": "x"}}, {"rate": "0.001"}, {"sizes": (1, 2.0)}, {"kind": "frozen"}],
)
def test_unknown_keys_and_other_types_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Whole.model_validate(values)


def test_settings_survive_json() -> None:
    whole = Whole(rate=0.1, sizes=(3,), part=Part(name="mlp"))
    assert Whole.model_validate_json(whole.model_dump_json()) == whole


def test_the_run_id_is_that_of_the_values() -> None:
    # Pinned: a change to this id means that every finished run would be run again.
    assert run_id(Whole()) == "43ad88b37c58"
    assert run_id(Whole()) == run_id(Whole(rate=1e-3, part=Part(name="identity")))


def test_any_other_value_or_default_or_schema_is_another_run(monkeypatch: pytest.MonkeyPatch) -> None:
    class OtherDefault(Whole):
        kind: Literal["fixed", "tuned"] = "tuned"

    class NewKey(Whole):
        seed: int = 0

    runs: list[Frozen] = [
        Whole(),
        Whole(rate=2e-3),
        Whole(sizes=(2, 1)),
        Whole(part=Part(name="mlp")),
        Whole(part=WidePart()),
        Whole(part=WidePart(width=512)),
        OtherDefault(),
        NewKey(),
    ]
    ids = {run_id(run) for run in runs}
    monkeypatch.setattr(settings, "SCHEMA", settings.SCHEMA + 1)
    ids.add(run_id(Whole()))
    assert len(ids) == len(runs) + 1

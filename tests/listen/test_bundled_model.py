"""What the model inside the package says about the example recordings, which nobody may change unawares."""

from pathlib import Path

import pytest

from otoscribe.listen.captioner import Caption, Captioner

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"

SAID = {
    "birds.flac": {"birds chirping and tweeting": -3.2532, "birds chirping and singing": -4.0430},
    "clock.flac": {"a clock ticking": -3.1483, "a clock ticks and rocks": -4.2538},
    "helicopter.flac": {"a helicopter flying": -3.5353, "a helicopter engine runs": -4.7379},
    "rain.flac": {"rain falls onto a hard surface": -3.8350, "rain falls and water splashes": -6.4377},
    "siren.flac": {
        "an emergency siren is triggered while a vehicle moves": -7.8706,
        "an emergency siren is triggered": -4.8408,
    },
    "speech.flac": {"a man is speaking": -4.1364, "a man is speaking and a crowd is cheering": -7.7377},
    "thunder.flac": {"a thunderstorm is raging": -5.0666, "a thunderstorm with rain sounds": -6.8119},
}
"""The two best captions of every recording, each with its log-probability."""


def test_it_says_what_it_said() -> None:
    results = list(Captioner().caption_many([EXAMPLES / name for name in SAID], candidates=2))
    for (name, said), result in zip(SAID.items(), results, strict=True):
        assert isinstance(result, Caption), result
        found = {candidate.caption: candidate.log_probability for candidate in result.candidates}
        assert list(found) == list(said), name
        assert found == pytest.approx(said, abs=1e-3), name


def test_every_example_is_among_them() -> None:
    assert {path.name for path in EXAMPLES.glob("*.flac")} == set(SAID)

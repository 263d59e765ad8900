"""What the model inside the package says about the example recordings, which nobody may change unawares."""

from pathlib import Path

import pytest

from otoscribe.listen.captioner import Caption, Captioner

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"

SAID = {
    "birds.flac": {"birds are chirping and singing": -5.2665, "birds are chirping and tweeting": -5.6683},
    "clock.flac": {"a clock ticks and rocks": -5.1282, "a clock ticking and chiming": -6.3264},
    "helicopter.flac": {
        "a helicopter engine running idle": -5.1622,
        "a helicopter engine is running": -5.6712,
    },
    "rain.flac": {"rain falling on a surface": -5.3141, "rain falls and wind blows": -5.7310},
    "siren.flac": {"an emergency siren is triggered": -5.2404, "an emergency siren is going off": -5.5307},
    "speech.flac": {
        "an adult male is speaking": -6.6414,
        "an adult male is speaking and water is splashing": -9.4377,
    },
    "thunder.flac": {"rain falls and thunder claps": -6.1585, "rain falls and thunder roars": -6.1606},
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

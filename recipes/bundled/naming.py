"""Whether a caption names what is heard: words that count for the kinds of ESC-10 and UrbanSound8K.

Stems that stand anywhere in the caption count, those of a kind's close relatives as well: who calls a rooster
a chicken has heard it.
"""

import re
from collections import defaultdict
from collections.abc import Sequence

WORDS = {
    "Dog bark": "dog|bark|puppy|growl",
    "Rain": "rain|drip|drop|water",
    "Sea waves": "wave|ocean|sea|surf|water|shore",
    "Baby cry": "baby|infant|child|cry|cries",
    "Clock tick": "clock|tick",
    "Person sneeze": "sneez",
    "Helicopter": "helicopter|chopper|aircraft",
    "Chainsaw": "chainsaw|chain saw|saw|power tool|engine",
    "Rooster": "rooster|crow|chicken|fowl",
    "Fire crackling": "fire|crackl|burn",
    "air_conditioner": "air condition|fan|hum|vent|motor|engine|machine|whir|noise",
    "car_horn": "horn|honk|beep|toot",
    "children_playing": "child|kid|children|playing|laugh|people|girl|boy",
    "dog_bark": "dog|bark|puppy|growl|yip|howl",
    "drilling": "drill|jackhammer|power tool|tool|hammer",
    "engine_idling": "engine|idl|motor|vehicle",
    "gun_shot": "gun|shot|shoot|fire|explo|blast",
    "jackhammer": "jackhammer|hammer|drill|tool|machine",
    "siren": "siren|emergency|alarm|ambulance",
    "street_music": "music|song|sing|guitar|instrument|play|drum|band|melody|tune",
}
"""Each kind's stems, as a regular expression."""


def is_named(kind: str, caption: str) -> bool:
    """Tell whether a caption names a kind."""
    return re.search(WORDS[kind], caption) is not None


def shares_named(kinds: Sequence[str], captions: Sequence[str]) -> dict[str, float]:
    """Return the share of each kind's captions that name it, kinds a to z."""
    hits: dict[str, list[bool]] = defaultdict(list)
    for kind, caption in zip(kinds, captions, strict=True):
        hits[kind].append(is_named(kind, caption))
    return {kind: sum(found) / len(found) for kind, found in sorted(hits.items())}


def mean_named(kinds: Sequence[str], captions: Sequence[str]) -> float:
    """Return the mean over kinds of the share that is named."""
    shares = shares_named(kinds, captions)
    return sum(shares.values()) / len(shares)

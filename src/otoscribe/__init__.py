"""otoscribe listens to a recording and writes down what is heard.

>>> import otoscribe
>>> otoscribe.caption("recording.wav").caption  # doctest: +SKIP
'rain falls and thunder roars in the distance'
"""

import importlib
from typing import TYPE_CHECKING, Any

from otoscribe.version import __version__

if TYPE_CHECKING:
    from otoscribe.audio.sources import Recording
    from otoscribe.bundle.bundle import EncodedClip
    from otoscribe.listen.captioner import Captioner
    from otoscribe.listen.results import Candidate, Caption, Failure
    from otoscribe.search.options import Search

__all__ = [
    "Candidate",
    "Caption",
    "Captioner",
    "EncodedClip",
    "Failure",
    "Search",
    "__version__",
    "caption",
]

_HOMES = {
    "Candidate": "listen.results",
    "Caption": "listen.results",
    "Captioner": "listen.captioner",
    "EncodedClip": "bundle.bundle",
    "Failure": "listen.results",
    "Search": "search.options",
}

_default: "Captioner | None" = None


def caption(
    recording: "Recording",
    *,
    channel: int | None = None,
    style: str | None = None,
    beam: int | None = None,
    candidates: int = 1,
) -> "Caption":
    """Caption a recording with the model that ships inside the package, loaded at the first call.

    Args:
        recording: a path, the content of a file (bytes), or a file opened in binary mode; in any format that
            FFmpeg reads, of any sample rate and number of channels.
        channel: which one to hear, from 1 on; the mean of all if None, or the loudest where they cancel.
        style: how to write, "brief" or "detailed"; brief if None.
        beam: hypotheses kept while searching; the model's default if None.
        candidates: how many captions to return, best first.

    Raises:
        AudioError: the recording cannot be read.
        BundleError: the model inside the package is missing or damaged.
        UsageError: a channel, style, beam or number of candidates that is not possible.
    """
    global _default
    if _default is None:
        from otoscribe.listen.captioner import Captioner

        _default = Captioner()
    return _default.caption(recording, channel=channel, style=style, beam=beam, candidates=candidates)


def __getattr__(name: str) -> Any:
    # Loaded when asked for, so that `import otoscribe` does not wait for numpy and ONNX Runtime.
    if name in _HOMES:
        return getattr(importlib.import_module(f"otoscribe.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'otoscribe' has no attribute {name!r}")

"""Everything otoscribe raises on purpose.

    OtoscribeError
    ├── UsageError        misuse: an impossible request, an unknown name, a contradictory setting   (exit 2)
    │   └── SettingsError a settings file or object that does not validate
    ├── AudioError        a recording that cannot be read, is empty, or holds no finite samples      (exit 1)
    ├── BundleError       a model folder that is incomplete, damaged or from another format          (exit 1)
    ├── WeightsError      pretrained weights whose checksum, layout or shapes are not the expected   (exit 1)
    ├── RunError          a training run that cannot start, resume or be exported                    (exit 1)
    ├── DownloadError     a file that cannot be fetched, or is not what was published                (exit 1)
    ├── TableError        a table of captions that cannot be read, or does not fit its recordings    (exit 1)
    └── MetricError       texts that cannot be scored, or a metric that cannot be computed           (exit 1)

A message is one or two sentences: what was wrong, what is allowed, what to type next. `Terminated` is no
error: the command was told to end from outside.
"""

from collections.abc import Iterable
from difflib import get_close_matches


class OtoscribeError(Exception):
    """Base of all errors raised on purpose; `exit_code` is what the command line returns."""

    exit_code = 1


class UsageError(OtoscribeError):
    """The request itself cannot be meant: an unknown name, an impossible value."""

    exit_code = 2


class SettingsError(UsageError):
    """Settings that do not validate."""


class AudioError(OtoscribeError):
    """A recording that cannot be turned into a waveform."""


class BundleError(OtoscribeError):
    """A bundle that is incomplete, damaged or of an unknown format."""


class WeightsError(OtoscribeError):
    """Pretrained weights that are not what their name says."""


class RunError(OtoscribeError):
    """A training run that cannot start, resume or be exported."""


class DownloadError(OtoscribeError):
    """A file that cannot be fetched, or is not what was published."""


class TableError(OtoscribeError):
    """A table of captions that cannot be read, or does not fit its recordings or another table."""


class MetricError(OtoscribeError):
    """Texts that cannot be scored, or a metric that cannot be computed."""


class Terminated(SystemExit):
    """The command was told to end from outside; no code of other people is to blame for it."""


class AudioWarning(UserWarning):
    """A recording was read, but something about it is odd: some of it is missing, for instance."""


class ClusterWarning(UserWarning):
    """A cluster cannot do what it is asked for now, and is waited for."""


class MetricWarning(UserWarning):
    """Something went wrong without changing a score: an answer that could not be kept, for instance."""


class TableWarning(UserWarning):
    """A table was read, but not all of it is of use: some of its recordings are missing, for instance."""


def unknown_name(kind: str, name: str, allowed: Iterable[str]) -> UsageError:
    """Build the error for a name that is not registered, with the nearest valid one.

    Args:
        kind: what was asked for, in the singular ("adapter").
        name: what was given.
        allowed: every valid name.
    """
    names = sorted(allowed)
    # Capitals count for nothing: "YAMNet" is how people write the name "yamnet".
    by_lower = {known.lower(): known for known in names}
    near = get_close_matches(name.lower(), by_lower, n=1)
    hint = f" Did you mean {by_lower[near[0]]!r}?" if near else ""
    return UsageError(f"There is no {kind} named {name!r}.{hint} Known: {', '.join(names) or 'none'}.")

"""A study and the files it needs → all its runs by id, and what is missing for those that cannot be done."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from otoscribe.datasets.corpora.base import read_source
from otoscribe.datasets.folder import CaptionedClip
from otoscribe.errors import OtoscribeError, TableError
from otoscribe.model.encoders.base import ENCODERS, FORMULA, EncoderSettings, weights_folder
from otoscribe.model.vectors.published import found_files
from otoscribe.model.words.base import WORDS, PublishedSettings, WordSettings, resolved
from otoscribe.progress import Progress
from otoscribe.settings import run_id
from otoscribe.study.engine.grid import Setting, settings_of
from otoscribe.study.engine.known import Known
from otoscribe.study.engine.results import Results
from otoscribe.study.engine.settings import StudySettings
from otoscribe.study.engine.state import State, state_of
from otoscribe.study.engine.work import Shared
from otoscribe.train.experiment import Material, Places, named
from otoscribe.train.settings import ExperimentSettings
from otoscribe.train.trainer import RuntimeSettings

T = TypeVar("T")


@dataclass(frozen=True)
class Where:
    """Where a study finds its files and keeps them, and where it computes; no part of any run's id."""

    folder: Path
    """Of the study: its runs and scores."""
    features: Path = Path("features")
    """Of what encoders made of recordings."""
    weights: Path | None = None
    """See `Places`; of all encoders."""
    words: Path | None = None
    """See `Places`; of all word embeddings."""
    skip_missing: bool = False
    """Go on without recordings that are not there."""
    runtime: RuntimeSettings = field(default_factory=lambda: RuntimeSettings(threads=1))
    results: Results | None = None
    """Where runs and scores are kept besides, for machines that do not see the folder."""


class Run(NamedTuple):
    """A setting with a seed."""

    labels: tuple[str, ...]
    """See `Setting`."""
    seed: int
    id: str
    settings: ExperimentSettings
    """With the seed, as they are read: data and weights are not named, unless the study names them."""
    group: str
    """Says what has to be prepared for it: runs of the same need the same."""
    made_up: bool
    """Whether its score means nothing, because weights or data are invented."""


@dataclass
class Missing:
    """Something without which settings cannot be trained."""

    what: str
    """For people: "encoder vggish"."""
    reason: str
    """A sentence or two."""
    settings: list[tuple[str, ...]] = field(default_factory=list)
    """Those that need it, by their labels."""

    @property
    def command(self) -> str | None:
        """What to type to get it, if the reason says so."""
        found = re.search(r"otoscribe get [\w:]+", self.reason)
        return found[0] if found else None


@dataclass(frozen=True)
class Study:
    """A study whose files were looked at."""

    settings: StudySettings
    folder: Path
    runs: Sequence[Run]
    """Those that can be done, runs of a group beside each other."""
    missing: Sequence[Missing]
    shared: Shared
    references: Mapping[str, tuple[str, ...]]
    """Of the reported split, by the names of the recordings."""

    def folder_of(self, run: Run) -> Path:
        """Return where a run is kept."""
        return self.shared.runs / run.id

    def states(self) -> list[State]:
        """Return how far each run is, after a look at the results that others put.

        Raises:
            RunError: these cannot be reached.
        """
        if self.shared.results is not None:
            self.shared.results.look([self.folder_of(run) for run in self.runs], self.shared.captioned)
        return [state_of(self.folder_of(run), self.shared.captioned) for run in self.runs]


def open_study(settings: StudySettings, where: Where, progress: Progress | None = None) -> Study:
    """Find out what a study's runs are; what was found out about large files is kept in its folder.

    Args:
        settings: of the study.
        where: its files are, and go.
        progress: called for every recording that is read.

    Raises:
        SettingsError: the grid cannot be made, see `settings_of`.
        TableError: a split cannot be used.
        AudioError: a recording cannot be read.
        RunError: the data are others than the settings name, or nothing can be written.
    """
    grid = settings_of(settings)
    data = settings.data
    sources = [absolute(Path(source)) for source in (data.training, data.validation, data.evaluation)]
    places = _places(where, sources[0], sources[1])
    known = Known(where.folder / "known.json")
    listed = [read_source(source) for source in sources]
    training, validation, evaluation = (one.clips(where.skip_missing) for one in listed)
    _hash([*training, *validation, *evaluation], known, progress)
    names = [
        (clip.path.relative_to(listed[2].folder) if clip.path.is_relative_to(listed[2].folder) else clip.path)
        for clip in evaluation
    ]
    material = Material(training, validation, places, device=where.runtime.device)
    resolver = _Resolver(material, known)
    runs = [run for setting in grid for run in resolver.runs_of(setting, settings)]
    known.save()
    shared = Shared(
        runs=(where.folder / "runs").absolute(),
        places=places,
        training=training,
        validation=validation,
        evaluation={name.as_posix(): clip for name, clip in zip(names, evaluation, strict=True)},
        encoders=material.encoders,
        search=settings.search,
        runtime=where.runtime,
        results=where.results,
    )
    references = {name: clip.captions for name, clip in shared.evaluation.items()}
    order = {group: place for place, group in enumerate(dict.fromkeys(run.group for run in runs))}
    runs.sort(key=lambda run: order[run.group])
    return Study(settings, where.folder, runs, list(resolver.missing.values()), shared, references)


def missing_of(grid: Sequence[Setting], where: Where) -> list[Missing]:
    """Return which encoders' and words' files are not there, without any data."""
    material = Material((), (), _places(where, Path(), Path()), device=where.runtime.device)
    resolver = _Resolver(material, Known(where.folder / "known.json"))
    for setting in grid:
        resolver.has_all(setting)
    return list(resolver.missing.values())


def _places(where: Where, training: Path, validation: Path) -> Places:
    return Places(
        training=training,
        validation=validation,
        weights=where.weights and where.weights.absolute(),
        features=where.features.absolute(),
        skip_missing=where.skip_missing,
        words=where.words and where.words.absolute(),
    )


def absolute(source: Path) -> Path:
    """Let a path mean the same in any process, and a data set's name what it is."""
    return source.absolute() if source.exists() else source


def _hash(clips: Sequence[CaptionedClip], known: Known, progress: Progress | None) -> None:
    """Give every clip its hash, reading only files that changed."""
    for done, clip in enumerate(clips, 1):
        # Where the cached property keeps what it computes.
        question = f"sha256 {clip.path.absolute()}"
        vars(clip)["sha256"] = known.get(question, [clip.path], partial(getattr, clip, "sha256"))
        if progress:
            progress("reading recordings", done, len(clips))


class _Resolver:
    """Settings → runs, as far as there are files for them."""

    def __init__(self, material: Material, known: Known) -> None:
        self._material, self._known = material, known
        self.missing: dict[str, Missing] = {}
        self._found: dict[str, Any] = {}

    def runs_of(self, setting: Setting, study: StudySettings) -> Iterator[Run]:
        """Yield the runs of a setting; none if something is missing, which is then noted."""
        chosen = setting.experiment
        encoder = self._needed(setting, chosen.model.encoder, self._encoder)
        words = self._needed(setting, chosen.model.words, self._words)
        if encoder is None or words is None:
            return
        whole = named(chosen, encoder, self._material.fingerprint, words)
        group = " ".join(
            part.model_dump_json() for part in (whole.data, whole.model.encoder, whole.model.words)
        )
        made_up = study.made_up or chosen.model.encoder.weights == FORMULA
        for seed in range(study.seeds):
            own = _seeded(chosen, seed)
            yield Run(
                setting.labels, seed, run_id(_seeded(whole, seed)), own,
                f"{group} {chosen.training.minimum_count}", made_up,
            )  # fmt: skip

    def has_all(self, setting: Setting) -> bool:
        """Tell whether the files of a setting are there; what is missing is noted."""
        model = setting.experiment.model
        found = (
            self._needed(setting, model.encoder, self._encoder),
            self._needed(setting, model.words, self._files),
        )
        return None not in found

    def _needed(
        self,
        setting: Setting,
        part: EncoderSettings | WordSettings,
        find: Callable[[ExperimentSettings], T],
    ) -> T | None:
        """Return what the files of an encoder or of words decide; None: they are not there."""
        what = f"{'encoder' if isinstance(part, EncoderSettings) else 'words'} {part.name}"
        key = f"{part.model_dump_json()} {setting.experiment.training.minimum_count}"
        if key not in self._found:
            try:
                self._found[key] = find(setting.experiment)
            except TableError:
                raise
            except OtoscribeError as error:
                self._found[key] = None
                self.missing.setdefault(what, Missing(what, str(error)))
        if self._found[key] is None:
            self.missing[what].settings.append(setting.labels)
        found: T | None = self._found[key]
        return found

    def _encoder(self, settings: ExperimentSettings) -> Mapping[str, Any]:
        chosen = settings.model.encoder
        spec = ENCODERS[chosen.name].spec_of(chosen)
        folder = self._material.places.weights or weights_folder(spec.name)
        paths = [folder / file.name for way in spec.files for file in way]
        if chosen.weights == FORMULA:
            paths = []
        elif ":" in chosen.name or not any(path.is_file() for path in paths):
            # Code that may change, or files that only the encoder knows.
            return self._material.described(chosen)
        question = f"encoder {chosen.model_dump_json()} {spec.version}"
        there = [path for path in paths if path.is_file()]
        key = chosen.model_dump_json()
        found: dict[str, Any] = self._known.get(
            question, there, lambda: dict(self._material.described(chosen))
        )
        self._material.encoders[key] = found
        return found

    def _words(self, settings: ExperimentSettings) -> WordSettings:
        chosen = settings.model.words
        files = self._files(settings)
        if not isinstance(chosen, PublishedSettings):
            return chosen

        def find() -> list[Any]:
            whole = resolved(chosen, self._material.beginning(settings))
            assert isinstance(whole, PublishedSettings)
            return [whole.width, whole.weights]

        if not files or ":" in chosen.name:
            width, weights = find()
        else:
            vocabulary = sha256(self._material.vocabulary(settings).to_json().encode()).hexdigest()
            width, weights = self._known.get(f"words {chosen.model_dump_json()} {vocabulary}", files, find)
        return chosen.model_copy(update={"width": width, "weights": weights})

    def _files(self, settings: ExperimentSettings) -> tuple[Path, ...]:
        """Return the files of words; none of those that need none."""
        spec = WORDS[settings.model.words.name].spec
        return () if spec is None else found_files(spec, self._material.places.words)


def _seeded(settings: ExperimentSettings, seed: int) -> ExperimentSettings:
    training = settings.training.model_copy(update={"seed": seed})
    return settings.model_copy(update={"training": training})

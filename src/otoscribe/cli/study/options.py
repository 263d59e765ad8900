"""What several commands of `otoscribe study` take, and how they come to a study by it."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from otoscribe.cli import terminal
from otoscribe.cli.options import TextOrJson
from otoscribe.cli.study.text import missing_row

if TYPE_CHECKING:
    from otoscribe.study.engine.opened import Study, Where
    from otoscribe.study.engine.settings import StudySettings

Chosen = Annotated[
    str, typer.Argument(metavar="STUDY", help="A TOML file that describes a study, or a preset (paper).")
]
Only = Annotated[
    list[str] | None,
    typer.Option(
        metavar="AXIS=VALUES",
        help="Values of an axis to keep, as encoder=yamnet,vggish; any number of times.",
    ),
]
Add = Annotated[
    list[str] | None,
    typer.Option(metavar="AXIS=VALUES", help="Values that an axis gets, likewise; it need not be there."),
]
Seeds = Annotated[
    int | None, typer.Option(metavar="N", min=1, help="Runs of each setting.", show_default="the study's")
]
Folder = Annotated[
    Path | None,
    typer.Option(metavar="FOLDER", help="Folder of runs and scores.", show_default="studies/NAME"),
]
ResultsUrl = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        help="Object store that machines without a common folder share, as s3://bucket/paper.",
    ),
]
Form = Annotated[TextOrJson, typer.Option("--format", help="Lines for people, or one JSON object.")]
RunThreads = Annotated[int, typer.Option(metavar="N", min=1, max=1024, help="Processor threads of each run.")]


def where_of(
    settings: "StudySettings",
    folder: Path | None,
    results: str | None,
    weights: Path | None,
    words: Path | None,
    skip_missing: bool,
    features: Path = Path("features"),
    device: str = "cpu",
    threads: int = 1,
) -> "Where":
    """Return where a study finds its files and keeps them, as the options say."""
    from otoscribe.study.engine.object_store import ObjectStore
    from otoscribe.study.engine.opened import Where
    from otoscribe.study.engine.results import Results
    from otoscribe.train.trainer import RuntimeSettings

    return Where(
        folder=folder or Path("studies") / settings.name,
        features=features,
        weights=weights,
        words=words,
        skip_missing=skip_missing,
        runtime=RuntimeSettings(device=device, threads=threads),
        results=None if results is None else Results(ObjectStore(results)),
    )


def opened_study(settings: "StudySettings", where: "Where") -> "Study":
    """Look at a study's files, with a bar for what takes long."""
    from otoscribe.study.engine.opened import open_study

    with terminal.Bars() as bars:
        return open_study(settings, where, bars.show)


def missing_rows(opened: "Study") -> list[dict[str, Any]]:
    """Return what is missing, as JSON can hold it."""
    return [missing_row(missing, opened.settings.seeds) for missing in opened.missing]


def say_missing(opened: "Study") -> None:
    """Say which runs cannot be done, and why."""
    for missing in missing_rows(opened):
        line = f"not run: {missing['runs']} runs with {missing['what']}. {missing['reason']}"
        print(terminal.printable(line), file=sys.stderr)

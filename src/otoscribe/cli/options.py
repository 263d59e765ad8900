"""Options that mean the same in every command that has them."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Format(StrEnum):
    """How results are written."""

    TEXT = "text"
    JSON = "json"
    JSONL = "jsonl"
    CSV = "csv"


class TextOrJson(StrEnum):
    """How a report is written that is no list."""

    TEXT = "text"
    JSON = "json"


OutputFile = Annotated[
    str | None,
    typer.Option(
        "--output",
        "-o",
        metavar="FILE",
        help="Write to this file, in one piece.",
        show_default="the terminal",
    ),
]
Threads = Annotated[
    int | None, typer.Option(metavar="N", min=1, max=1024, help="Processor threads.", show_default="all")
]
Beam = Annotated[
    int | None,
    typer.Option(metavar="N", help="Hypotheses kept while searching.", show_default="the model's own"),
]
Weights = Annotated[
    Path | None,
    typer.Option(
        metavar="FOLDER",
        help="Folder of the encoder's published weights.",
        show_default="where `otoscribe get` puts them",
    ),
]
Words = Annotated[
    Path | None,
    typer.Option(
        metavar="FOLDER",
        help="Folder of the word embedding's published files.",
        show_default="where `otoscribe get` puts them",
    ),
]
Features = Annotated[Path, typer.Option(metavar="FOLDER", help="Folder of encoder outputs, computed once.")]
SkipMissing = Annotated[
    bool, typer.Option("--skip-missing", help="Go on without recordings that are not there.")
]
Changes = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Change a setting, such as training.seed=3; any number of times."
    ),
]
Device = Annotated[str, typer.Option(help="Torch device to compute on.")]
Share = Annotated[
    str | None, typer.Option("--shard", metavar="I/N", help="Do only this share of the recordings, as 3/16.")
]
Ray = Annotated[
    str | None,
    typer.Option(metavar="ADDRESS", help="Work on this Ray cluster: HOST:PORT of its head, or auto."),
]
Gpus = Annotated[
    float, typer.Option(metavar="N", min=0, help="GPUs for each process on a Ray cluster, as 0.25.")
]

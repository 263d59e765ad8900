"""The `otoscribe` command: its subcommands, and how each of them ends.

A new subcommand is one file beside this one and one line in the list below. Its file imports at the top only
what every installation has; what an extra brings is imported inside the function.
"""

import contextlib
import os
import signal
import sys
import warnings
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from otoscribe.cli.caption import caption
from otoscribe.cli.data import data
from otoscribe.cli.embed import embed
from otoscribe.cli.encoders import encoders
from otoscribe.cli.evaluate import evaluate
from otoscribe.cli.export import export
from otoscribe.cli.get import get
from otoscribe.cli.score import score
from otoscribe.cli.store import store
from otoscribe.cli.study.app import study
from otoscribe.cli.terminal import Messages, is_standard_error, printable
from otoscribe.cli.train import train
from otoscribe.errors import ClusterWarning, OtoscribeError, TableWarning, Terminated
from otoscribe.version import __version__

EXTRAS = {
    "torch": ("PyTorch", "train"),
    "h5py": ("h5py", "train"),
    "onnx": ("onnx", "train"),
    "onnxscript": ("onnxscript", "train"),
    "safetensors": ("safetensors", "train"),
    "scipy": ("SciPy", "train"),
    "flatbuffers": ("flatbuffers", "train"),
    "filelock": ("filelock", "train"),
    "fsspec": ("fsspec", "train"),
    "ray": ("Ray", "ray"),
    "requests": ("requests", "metrics"),
    "py7zr": ("py7zr", "data"),
    "yaml": ("PyYAML", "data"),
    "transformers": ("transformers", "transformers"),
    "matplotlib": ("Matplotlib", "study"),
    "jinja2": ("Jinja2", "study"),
}
"""Modules that only an extra installs: what a person calls them, and the extra."""

SENTENCES = (ClusterWarning, TableWarning)
"""Warnings about what was typed, and not about code."""

INTERRUPTED = 128 + 2
"""What shells report for a command that Ctrl-C ended."""
PIPE_CLOSED = 128 + 13
"""What shells report for a command whose reader went away (`| head`)."""


class Commands(TyperGroup):
    """Runs a subcommand and turns what it raises into one sentence and an exit code."""

    def make_context(self, *arguments: Any, **options: Any) -> Any:
        """Read the command line; `--help` and `--version` print here."""
        with _output_flushed():
            return super().make_context(*arguments, **options)

    def invoke(self, ctx: Any) -> Any:
        """Run; 0 done, 1 something failed, 2 misuse, 130 interrupted, 141 the reader went away."""
        try:
            with _output_flushed(), _warnings_as_sentences():
                return super().invoke(ctx)
        except OtoscribeError as error:
            print(printable(str(error)), file=sys.stderr)
            raise typer.Exit(error.exit_code) from error
        except ModuleNotFoundError as error:
            module = (error.name or "").split(".")[0]
            if module not in EXTRAS:
                raise
            name, extra = EXTRAS[module]
            if module == "scipy" and ctx.invoked_subcommand == "study":
                extra = "study"
            print(
                f"otoscribe {ctx.invoked_subcommand} needs {name}: pip install 'otoscribe[{extra}]'",
                file=sys.stderr,
            )
            raise typer.Exit(1) from error
        except KeyboardInterrupt as error:
            raise typer.Exit(INTERRUPTED) from error


@contextlib.contextmanager
def _output_flushed() -> Iterator[None]:
    """Write standard output out now and not at exit, where a failure would be a traceback."""
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except BrokenPipeError as error:
        _discard_output()
        raise typer.Exit(PIPE_CLOSED) from error
    except OSError as error:
        if error.filename is not None:  # opening a file, not writing
            raise
        _discard_output()
        reason = (error.strerror or str(error)).lower()
        print(f"The output cannot be written: {reason}.", file=sys.stderr)
        raise typer.Exit(1) from error


@contextlib.contextmanager
def _warnings_as_sentences() -> Iterator[None]:
    """Print once what is warned of, where it is a sentence for the person who typed the command."""
    printed: set[str] = set()
    with warnings.catch_warnings():
        others = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
            if not issubclass(category, SENTENCES):
                others(message, category, *where, **more)
            elif str(message) not in printed:  # several splits may be of one table
                printed.add(str(message))
                print(printable(str(message)), file=sys.stderr)

        warnings.showwarning = show
        for category in SENTENCES:
            warnings.simplefilter("always", category)
        yield


def _discard_output() -> None:
    # The interpreter flushes standard output once more when it ends, and would complain.
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


app = typer.Typer(
    name="otoscribe",
    cls=Commands,
    help="Listen to recordings and write down what is heard.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.command()(caption)
app.command()(score)
app.command()(embed)
app.command()(train)
app.command()(evaluate)
app.command()(export)
app.command()(get)
app.add_typer(data, name="data")
app.add_typer(store, name="store")
app.add_typer(study, name="study")
app.command()(encoders)


def _print_version(asked: bool) -> None:
    if asked:
        print(f"otoscribe {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


def _terminated(number: int, _: object) -> NoReturn:
    # An exception, so that half-written files are removed.
    raise Terminated(128 + number)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit."""
    # File names may hold bytes that are no text; they go out as they came in.
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by the shell
            setattr(sys, name, open(os.devnull, "w"))  # noqa: PTH123, SIM115
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            utf8 = stream.encoding.lower().replace("-", "") == "utf8"
            stream.reconfigure(errors="surrogateescape" if utf8 else "backslashreplace")
    if is_standard_error(sys.stderr):
        sys.stderr = Messages(sys.stderr.buffer, sys.stderr.encoding, sys.stderr.errors, line_buffering=True)
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)  # Windows knows no SIGHUP
        if number is not None and signal.getsignal(number) is signal.SIG_DFL:  # nohup ignores it
            signal.signal(number, _terminated)
    app(args=arguments)
    raise AssertionError("typer exits")

"""`otoscribe encoders`: which there are, what each makes of a recording, whether its weights are here."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from otoscribe.cli import terminal
from otoscribe.cli.options import TextOrJson

if TYPE_CHECKING:
    from otoscribe.model.encoders.base import Encoder

SECONDS = 60
"""Length of the clip that shows windows and hops."""


def encoders(
    form: Annotated[
        TextOrJson, typer.Option("--format", help="Lines for people, or one JSON array.")
    ] = TextOrJson.TEXT,
) -> None:
    """List the audio encoders that a model can be trained on."""
    # Here and not at the top: `otoscribe --help` need not wait for torch.
    from otoscribe.model.encoders.base import ENCODERS

    rows = [Row.of(name, ENCODERS[name]) for name in ENCODERS]
    if form is TextOrJson.JSON:
        print(json.dumps([asdict(row) for row in rows], indent=2))
    else:
        print("\n".join(_table(rows)))


@dataclass(frozen=True)
class Row:
    """What the list says of one encoder; None is what depends on the network that settings name."""

    name: str
    sample_rate: int | None
    """Hz."""
    outputs: dict[str, int]
    """Widths by name, the default first."""
    window_seconds: float | None
    """What one embedding hears."""
    hop_seconds: float | None
    """From one embedding to the next without overlap; half of it with an overlap of 0.5."""
    weights: int | None
    """How many numbers."""
    bytes: int | None
    """Of the files; None if nobody states it."""
    licence: str
    state: str | None
    """How much of the files is here."""
    get: str | None
    """The command that brings them."""
    paper: str

    @classmethod
    def of(cls, name: str, kind: "type[Encoder]") -> "Row":
        """Look at an encoder, and at what is here."""
        from pydantic import ValidationError

        from otoscribe.model.encoders.base import ENCODERS, weights_asset

        spec = kind.spec
        asset = weights_asset(name, spec) if any(spec.files) else None
        state, size = (asset.state().value, asset.bytes) if asset else (None, None)
        command = f"otoscribe get {name}" if asset else None
        outputs = dict(spec.outputs)
        try:
            settings = kind.Settings(name=name)
        except ValidationError:  # it must be told which network is meant
            return cls(name, None, outputs, None, None, None, size, spec.licence, state, command, spec.paper)
        encoder = ENCODERS.build(name, settings)
        outputs = {settings.output: outputs[settings.output], **outputs}
        (first, end), (second, _), *_ = encoder.times(SECONDS * spec.sample_rate)
        weights = sum(weight.numel() for weight in encoder.parameters())
        return cls(
            name,
            spec.sample_rate,
            outputs,
            round(end - first, 3),
            round(second - first, 3),
            weights,
            size,
            spec.licence,
            state,
            command,
            spec.paper,
        )


def _table(rows: list[Row]) -> Iterator[str]:
    """Yield the lines of the list."""
    cells = [("name", "Hz", "width", "window", "hop", "weights", "size", "licence", "here", "get it by")]
    for row in rows:
        cells.append(
            (
                row.name,
                _shown(row.sample_rate, "{}"),
                _shown(next(iter(row.outputs.values()), None), "{}"),
                _shown(row.window_seconds, "{:.2f} s"),
                _shown(row.hop_seconds, "{:.2f} s"),
                _shown(row.weights and row.weights / 1e6, "{:.1f} M"),
                _shown(row.bytes and row.bytes / 1e6, "{:.0f} MB"),
                row.licence,
                row.state or "?",
                row.get or "naming it in the settings",
            )
        )
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for name, *numbers, licence, here, command in cells:
        aligned = (f"{text:>{width}}" for text, width in zip(numbers, widths[1:], strict=False))
        texts = (f"{licence:{widths[-3]}}", f"{here:{widths[-2]}}", command)
        yield terminal.printable("  ".join([f"{name:{widths[0]}}", *aligned, *texts]))


def _shown(value: float | None, form: str) -> str:
    return "?" if value is None else form.format(value)

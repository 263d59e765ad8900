"""What the bench writes to `bench/results/`: a table, a plot, and the figures for programs."""

import importlib.metadata
import json
import os
import platform
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from bench.compare import Result
from otoscribe.files import write_text, written_whole

RESULTS = Path(__file__).parent / "results"
LIBRARIES = (
    *("torch", "transformers", "onnxruntime", "numpy", "h5py"),
    *("ai-edge-litert", "tensorflow-cpu", "pycocoevalcap", "gensim"),
)
"""Whose versions stand above the table."""


def machine(threads: int) -> str:
    """Describe what the figures were measured on, in Markdown."""
    loads = [f"{load:.1f}" for load in os.getloadavg()] if hasattr(os, "getloadavg") else ["unknown"]
    return "\n".join(
        [
            f"- {datetime.now().astimezone():%Y-%m-%d %H:%M}, {platform.platform()}",
            f"- {_processor()}, {os.cpu_count()} cores, {threads} of them used",
            f"- other work before the first figure (load average): {', '.join(loads)}",
            f"- Python {platform.python_version()}, {', '.join(_versions())}",
        ]
    )


def table(results: Sequence[Result]) -> str:
    """Return the results as a Markdown table; the fastest peer of each work in bold type."""
    lines = [
        "| what | setting | otoscribe | peer | its | times better | lowest to highest | target |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for result in results:
        rivals = [
            other.ratio
            for other in results
            if (other.work, other.setting, other.target) == (result.work, result.setting, result.target)
        ]
        ratio = f"{result.ratio:.2f}"
        cells = (
            result.work,
            result.setting,
            _amount(result.ours, result.unit),
            result.peer,
            _amount(result.theirs, result.unit),
            f"**{ratio}**" if result.ratio == min(rivals) else ratio,
            f"{result.spread[0]:.2f} to {result.spread[1]:.2f}",
            "" if result.target is None else f"{result.target:g}",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def figures(results: Sequence[Result]) -> str:
    """Return the results as a JSON list of objects with work, setting, peer, ratio and spread."""
    fields = ("work", "setting", "peer", "ratio", "spread")
    return json.dumps([{field: getattr(result, field) for field in fields} for result in results], indent=2)


def plot(results: Sequence[Result], path: Path) -> None:
    """Draw every ratio with its spread and its target, on a logarithmic axis, as PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 1.2 + 0.32 * len(results)), layout="constrained")
    axes = figure.subplots()
    for place, result in enumerate(results):
        reached = result.target is None or result.ratio >= result.target
        colour = "tab:blue" if reached else "tab:orange"
        axes.barh(place, result.ratio - 1, left=1, color=colour, height=0.6)
        axes.plot(result.spread, (place, place), color="black", linewidth=1)
        if result.target is not None:
            axes.plot(result.target, place, marker="|", markersize=14, color="tab:red")
        axes.annotate(f" {result.ratio:.2f}", (max(result.spread[1], 1), place), va="center", fontsize=8)
    axes.set_yticks(
        range(len(results)),
        [f"{result.work}, {result.setting}: {result.peer}" for result in results],
        fontsize=8,
    )
    axes.invert_yaxis()
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_xlabel("otoscribe is so many times better; black: lowest to highest round; red: target")
    with written_whole(path) as part:
        figure.savefig(part, format="png", dpi=110)


def write(results: Sequence[Result], description: str, failures: Sequence[str]) -> None:
    """Write `latest.md`, `latest.png` and `latest.json`."""
    RESULTS.mkdir(exist_ok=True)
    failed = "".join(f"\nNot measured: {failure}\n" for failure in failures)
    write_text(RESULTS / "latest.md", f"# Measured\n\n{description}\n\n{table(results)}\n{failed}")
    write_text(RESULTS / "latest.json", figures(results) + "\n")
    plot(results, RESULTS / "latest.png")


def _amount(cost: float, unit: str) -> str:
    if unit == "s" and cost < 1:
        return f"{cost * 1e3:.3g} ms"
    return f"{cost:.3g} {unit}" if cost < 100 else f"{cost:.0f} {unit}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    found = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    model = [found[key] for key in ("model name", "cpu family", "model") if key in found]
    return f"{model[0]} (family {', model '.join(model[1:])})" if len(model) == 3 else platform.machine()


def _versions() -> list[str]:
    found = []
    for library in LIBRARIES:
        try:
            found.append(f"{library} {importlib.metadata.version(library)}")
        except importlib.metadata.PackageNotFoundError:
            found.append(f"no {library}")
    return found

"""What `otoscribe study plan` prints, and what it and others say of missing files."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from otoscribe.study.engine.opened import Missing
    from otoscribe.study.engine.plan import Plan
    from otoscribe.study.engine.settings import StudySettings


def plan_document(settings: "StudySettings", plan: "Plan", workers: int) -> dict[str, Any]:
    """Return a plan as JSON can hold it."""
    from otoscribe.study.engine.runner import counted

    time = plan.time
    return {
        "study": settings.name,
        "axes": {axis: list(values) for axis, values in settings.axes.items()},
        "settings": plan.settings,
        "seeds": plan.seeds,
        "runs": plan.settings * plan.seeds,
        "states": None if plan.states is None else counted(plan.states),
        "to_do": plan.left,
        "missing": [missing_row(missing, plan.seeds) for missing in plan.missing],
        "metric": {"name": settings.metric, "lacks": plan.metric},
        "time": time
        and {
            "step_seconds": time.step,
            "shapes": time.shapes,
            "shapes_measured": time.measured,
            "epochs_assumed": time.epochs,
            "run_seconds": sum(time.seconds) / len(time.seconds),
            "worker_seconds": sum(time.seconds),
            "workers": workers,
            "seconds": time.on(workers),
        },
    }


def plan_lines(settings: "StudySettings", plan: "Plan", workers: int) -> Iterator[str]:
    """Yield a plan's lines for people."""
    from otoscribe.study.engine.settings import label_of

    runs = plan.settings * plan.seeds
    seeds = "1 seed" if plan.seeds == 1 else f"{plan.seeds} seeds"
    yield f"{settings.name}: {plan.settings} settings x {seeds} = {runs} runs"
    for axis, values in settings.axes.items():
        yield f"{axis}: {', '.join(map(label_of, values))}"
    if plan.states is None:
        yield "done: not known before the data are there"
    else:
        yield f"done: {runs - plan.left}, to do: {plan.left}"
    for missing in plan.missing:
        row = missing_row(missing, plan.seeds)
        yield f"missing for {row['runs']} runs: {row['what']}. {row['reason']}"
    if plan.metric:
        yield f"missing for scores: {settings.metric}. {plan.metric}"
    if plan.time:
        time = plan.time
        total = sum(time.seconds)
        yield (
            f"time: {time.step:.3g} s a training step (measured: {time.measured} of {time.shapes} shapes of "
            f"model, on data of {plan.sizes.pairs} pairs), {time.epochs:.3g} epochs a run assumed: "
            f"{_duration(total / len(time.seconds))} a run, {_duration(total)} in all, "
            f"{_duration(time.on(workers))} with {workers} workers that do not slow each other down; "
            "encoding recordings and captions comes on top"
        )


def failure_lines(failures: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield a line for each reason that runs failed for: a damaged recording fails them all."""
    runs: dict[str, list[str]] = {}
    for failure in failures:
        runs.setdefault(failure["reason"], []).append(failure["run"])
    for reason, folders in runs.items():
        others = f" and {len(folders) - 1} more" if len(folders) > 1 else ""
        yield f"failed: {folders[0]}{others}: {reason}"


def _duration(seconds: float) -> str:
    for size, unit in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} seconds"


def missing_row(missing: "Missing", seeds: int) -> dict[str, Any]:
    """Return something missing as JSON can hold it."""
    return {
        "what": missing.what,
        "settings": len(missing.settings),
        "runs": seeds * len(missing.settings),
        "reason": missing.reason,
        "command": missing.command,
    }

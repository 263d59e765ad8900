"""ONNX Runtime: load a graph, run it, and say in a sentence what failed."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

# Read when ONNX Runtime is loaded, which otherwise keeps an identity in the home folder and reports its use.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime

from otoscribe.bundle.graphs import FIXED, Graph, Port
from otoscribe.bundle.manifest import AGAIN
from otoscribe.errors import BundleError, UsageError
from otoscribe.processors import cores

THREADS = range(1, 1025)
"""What a model can be told to use; ONNX Runtime starts each of them at once."""

NO_MEMORY = "The model needs more memory than there is; cut the recording into parts or lower the beam."
"""What is said wherever memory runs out while a recording is heard or captions are searched."""


class Session:
    """A graph that is ready to run.

    Args:
        path: of the graph, for errors.
        content: its bytes.
        graph: what it must take and give.
        threads: how many CPU cores to use, all that this process may use if None.

    Raises:
        BundleError: the graph cannot be loaded, or takes or gives something else.
        UsageError: `threads` is not in `THREADS`.
    """

    def __init__(self, path: Path, content: bytes, graph: Graph, threads: int | None) -> None:
        if threads is not None and threads not in THREADS:
            raise UsageError(f"threads must be a whole number from 1 to {THREADS[-1]}, not {threads!r}.")
        options = onnxruntime.SessionOptions()
        # An explicit number also keeps ONNX Runtime from pinning threads, which containers may forbid.
        options.intra_op_num_threads = int(threads or cores())
        options.inter_op_num_threads = 1
        # The arena keeps every block it ever had: 10 minutes of YAMNet took 1.9 GB with it, 0.8 GB without.
        options.enable_cpu_mem_arena = False
        # With a plan, all that a run needs is taken at once, from the second run of a shape on: a step of one
        # clip is 14 % faster, pieces of a minute take 50 MB more.
        options.enable_mem_pattern = not graph.large
        options.log_severity_level = 4  # what fails is raised
        # Threads that spin while they wait for the next run would take the cores from decoding audio.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        # ONNX Runtime's exceptions share no base class of their own.
        except Exception as error:
            raise BundleError(
                f"{path} is not a graph that ONNX Runtime can load: {_first_line(error)}"
            ) from error
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        self.sizes: dict[str, int] = {}
        """Of the model's own axes, see `graphs.FIXED`."""
        if (each := next((port.name for port in graph.inputs if port.per_block), None)) is not None:
            blocks = max(1, sum(node.name.startswith(f"{each}.") for node in inputs))
            graph, self.sizes["layers"] = graph.of(blocks), blocks
        there = {node.name for node in outputs}
        given = tuple(port for port in graph.outputs if port.name in there or port.name not in graph.optional)
        self.outputs = tuple(port.name for port in given)
        """Names of what it gives, in the graph's order."""
        for kind, ports, nodes in (("inputs", graph.inputs, inputs), ("outputs", given, outputs)):
            _check(path, kind, ports, nodes)
            shapes = {node.name: node.shape for node in nodes}
            for port in ports:
                self._measure(path, port, shapes[port.name])

    def run(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Run the graph.

        Args:
            inputs: arrays by name.

        Returns:
            Arrays by name, in the graph's order.

        Raises:
            BundleError: it does not run, as it happens when memory runs out.
        """
        try:
            results = self._session.run(list(self.outputs), dict(inputs))
        except Exception as error:
            # How ONNX Runtime words it depends on which part of it asked for the memory.
            if isinstance(error, MemoryError) or re.search(
                "bad_alloc|allocate memory|bad allocation", str(error)
            ):
                raise BundleError(NO_MEMORY) from error
            raise BundleError(f"The model could not be run: {_first_line(error)}") from error
        return dict(zip(self.outputs, results, strict=True))

    def _measure(self, path: Path, port: Port, shape: list[Any]) -> None:
        """Note the sizes of the model's own axes, which must be numbers and agree everywhere."""
        own = {axis: size for axis, size in zip(port.axes, shape, strict=False) if axis in FIXED}
        known = all(isinstance(size, int) for size in own.values())
        agree = all(self.sizes.setdefault(axis, size) == size for axis, size in own.items())
        if len(shape) != len(port.axes) or not known or not agree:
            raise BundleError(
                f"{path} has {port.name} of the shape {shape}; it must be [{', '.join(port.axes)}] with one "
                f"number each for {', '.join(sorted(own))}. {AGAIN}"
            )


def _check(path: Path, kind: str, ports: tuple[Port, ...], nodes: list[Any]) -> None:
    found = {node.name: node.type for node in nodes}
    expected = {port.name: f"tensor({port.kind})" for port in ports}
    if found != expected:
        raise BundleError(f"{path} has the {kind} {found}; it must have {expected}. {AGAIN}")


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].rstrip(".") + "."

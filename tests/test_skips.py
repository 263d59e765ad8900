"""A run says at its end what it did not test."""

import subprocess
import sys
from pathlib import Path

TESTS = """
import pytest

@pytest.fixture
def recordings():
    pytest.skip("There are no recordings; set OTOSCRIBE_DATA.")

def test_one(recordings): pass
def test_two(recordings): pass
def test_three(): pass
@pytest.mark.skipif(True, reason="Windows only.")
def test_four(): pass
"""


def test_what_was_skipped_is_said_by_reason(tmp_path: Path) -> None:
    (tmp_path / "test_some.py").write_text(TESTS, encoding="utf-8")
    (tmp_path / "test_all.py").write_text(
        'import pytest\npytest.importorskip("no_such_package", reason="It needs no_such_package.")\n',
        encoding="utf-8",
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "support.skips", "-p", "no:cacheprovider", "."]
    folder = Path(__file__).parent
    done = subprocess.run(
        command, cwd=tmp_path, env={"PYTHONPATH": str(folder)}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-4:-1] == [
        "2 tests skipped: There are no recordings; set OTOSCRIBE_DATA.",
        "1 file skipped: It needs no_such_package.",
        "1 test skipped: Windows only.",
    ]

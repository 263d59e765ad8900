import gc
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from otoscribe.errors import MetricError, UsageError
from otoscribe.metrics.java.worker import WINDOW, Worker

# Answers in capitals. What the special lines do is what programs do when something is wrong.
PROGRAM = """
import os, pathlib, signal, sys
for line in sys.stdin:
    line = line.rstrip("\\n")
    what, _, mark = line.partition(":")
    once = what.endswith(" once") and not pathlib.Path(mark).exists()
    if once:
        pathlib.Path(mark).touch()
    if what == "die" or (what == "die once" and once):
        sys.exit("I cannot go on.")
    if what == "hang" or (what == "hang once" and once):
        signal.pause()
    if what == "kill" or (what == "kill once" and once):
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "junk" or (what == "junk once" and once):
        print("Picked up some options", flush=True)
    while what == "wait" and not os.path.exists(mark):
        pass
    if what == "twice":
        print("SAID", flush=True)
    if what == "swell":
        import resource
        resource.setrlimit(resource.RLIMIT_AS, (1 << 28, 1 << 28))
        bytearray(1 << 30)
    if what == "cut":
        sys.stdout.write("HALF AN ANS")
        sys.stdout.flush()
        os._exit(3)
    if what == "noise":
        sys.stderr.write("x" * 1_000_000)
    print(os.getpid() if what == "who" else line.upper(), flush=True)
"""


def make(seconds: float = 20, program: str = PROGRAM) -> Worker:
    return Worker("Echo", [sys.executable, "-c", program], "[A-Z0-9 :/._ÄÖÜ-]*", seconds, 20)


@pytest.fixture
def worker() -> Iterator[Worker]:
    made = make()
    yield made
    made.close()


def alive(process: int) -> bool:
    try:
        os.kill(process, 0)
        # Where nobody buries orphans, one that ended stays as a zombie.
        return ") Z " not in Path(f"/proc/{process}/stat").read_text()
    except (ProcessLookupError, FileNotFoundError):
        return False


def test_answers_come_in_order_from_one_process(worker: Worker) -> None:
    lines = [f"line {number}" for number in range(5 * WINDOW)]
    assert list(worker.ask(lines)) == [line.upper() for line in lines]
    (first,) = worker.ask(["who"])
    assert list(worker.ask(["who", "ä", "", " b "])) == [first, "Ä", "", " B "]
    assert list(worker.ask([])) == []


def test_nothing_runs_until_something_is_asked() -> None:
    missing = Worker("Echo", ["a program that does not exist"], ".*", 1, 1)
    assert list(missing.ask([])) == []
    with pytest.raises(MetricError, match=r"Echo cannot be started: .*No such file"):
        list(missing.ask(["a"]))
    missing.close()


def test_long_lines_both_ways_do_not_block(worker: Worker) -> None:
    lines = ["x" * 200_000] * 40
    assert list(worker.ask(lines)) == [line.upper() for line in lines]
    assert list(worker.ask(["noise"] * 3)) == ["NOISE"] * 3


@pytest.mark.parametrize("what", ["die once", "kill once", "junk once"])
@pytest.mark.parametrize("place", [0, 7, 130])
def test_a_failure_that_passes_costs_no_answer(worker: Worker, what: str, place: int, tmp_path: Path) -> None:
    lines = [f"line {number}" for number in range(150)]
    lines[place] = f"{what}:{tmp_path / 'mark'}".lower()
    answers = list(worker.ask(lines))
    assert answers == [line.upper() for line in lines]
    assert (tmp_path / "mark").exists()


def test_a_program_that_hangs_once_is_started_again(tmp_path: Path) -> None:
    worker = make(seconds=0.3)
    lines = ["a", f"hang once:{tmp_path / 'mark'}", "b"]
    assert list(worker.ask(lines)) == [line.upper() for line in lines]
    worker.close()


@pytest.mark.parametrize(
    ("what", "happened"),
    [
        ("die", r"ended with exit code 1, twice, at 'die'\. Its last words: I cannot go on\."),
        ("kill", "was killed by signal 9, twice, at 'kill'"),
        ("junk", "printed 'Picked up some options', which is no answer, twice, at 'junk'"),
        ("swell", "ended with exit code 1, twice, at 'swell'.*MemoryError"),
        ("cut", "ended with exit code 3, twice, at 'cut'"),
    ],
)
@pytest.mark.parametrize("place", [0, 5])
def test_a_line_that_fails_twice_is_named(worker: Worker, what: str, happened: str, place: int) -> None:
    lines = [f"line {number}" for number in range(8)]
    lines[place] = what
    answers = []
    with pytest.raises(MetricError, match=f"Echo {happened}"):
        answers.extend(worker.ask(lines))
    # The next questions find a program that knows nothing of these.
    assert list(worker.ask(["a", "b"])) == ["A", "B"]


def test_what_was_answered_before_a_failure_is_given(worker: Worker) -> None:
    answers = worker.ask(["a", "b", "die", "c"])
    assert [next(answers), next(answers)] == ["A", "B"]
    with pytest.raises(MetricError, match="at 'die'"):
        next(answers)


def test_a_program_that_always_hangs_is_given_up() -> None:
    worker = Worker("Echo", [sys.executable, "-c", PROGRAM], ".*", 0.2, 0.6)
    with pytest.raises(MetricError, match=r"gave no answer within 0\.[26] seconds, twice, at 'hang'"):
        list(worker.ask(["hang", "a"]))


def test_the_line_at_fault_is_found_among_many(worker: Worker) -> None:
    lines = [f"line {number}" for number in range(40)]
    lines[33] = "kill"
    answers: list[str] = []
    with pytest.raises(MetricError, match="at 'kill'"):
        answers.extend(worker.ask(lines))
    assert answers == [line.upper() for line in lines[:33]]


READS_AHEAD = """
import os
while data := os.read(0, 1 << 16):
    if b"kill" in data:
        os._exit(9)
    os.write(1, data.upper())
"""


def test_the_line_at_fault_is_found_behind_unanswered_ones() -> None:
    worker = make(program=READS_AHEAD)
    lines = [f"line {number}" for number in range(10)]
    lines[6] = "kill"
    answers: list[str] = []
    with pytest.raises(MetricError, match="ended with exit code 9, twice, at 'kill'"):
        answers.extend(worker.ask(lines))
    assert answers == [line.upper() for line in lines[:6]]
    worker.close()


def test_a_worker_killed_in_mid_run_goes_on(worker: Worker) -> None:
    (process,) = worker.ask(["who"])
    answers = worker.ask(f"line {number}" for number in range(300))
    got = [next(answers) for _ in range(10)]
    os.kill(int(process), signal.SIGKILL)
    got += list(answers)
    assert got == [f"LINE {number}" for number in range(300)]


def test_a_worker_killed_while_idle_is_started_again(worker: Worker) -> None:
    (process,) = worker.ask(["who"])
    os.kill(int(process), signal.SIGKILL)
    (other,) = worker.ask(["who"])
    assert other != process


def test_answers_never_get_out_of_step(worker: Worker, tmp_path: Path) -> None:
    # Left in the middle, with questions in the program.
    for answer in worker.ask(["a", "b", "c", "d"]):
        assert answer == "A"
        break
    gc.collect()
    assert list(worker.ask(["e"])) == ["E"]
    # And with one that is answered late.
    path = tmp_path / "go on"
    answers = worker.ask(["a", f"wait:{path}"])
    assert next(answers) == "A"
    answers.close()  # type: ignore[attr-defined]

    def lines() -> Iterator[str]:
        yield "b"
        path.touch()

    assert list(worker.ask(lines())) == ["B"]
    # An answer too many is not taken for the next question's.
    assert list(worker.ask(["twice"])) == ["SAID"]
    program = worker._program
    assert program is not None
    while not program.disturbed():
        os.sched_yield()
    assert list(worker.ask(["f", "g"])) == ["F", "G"]


def test_one_set_of_questions_at_a_time(worker: Worker) -> None:
    answers = worker.ask(["a", "b"])
    next(answers)
    with pytest.raises(UsageError, match="not two at once"):
        list(worker.ask(["c"]))
    assert list(answers) == ["B"]
    assert list(worker.ask(["c"])) == ["C"]


@pytest.mark.parametrize("line", ["a\nb", "a\n", "\r", "a\u2028b", "a\x0b", "\x85"])
def test_line_breaks_are_refused(worker: Worker, line: str) -> None:
    with pytest.raises(UsageError, match="without line breaks"):
        list(worker.ask(["ok", line]))
    assert list(worker.ask(["a"])) == ["A"]


def test_half_characters_are_refused(worker: Worker) -> None:
    with pytest.raises(UsageError, match="whole characters"):
        list(worker.ask(["\ud800"]))


def test_close_ends_the_program_and_the_next_question_starts_it(worker: Worker) -> None:
    (process,) = worker.ask(["who"])
    worker.close()
    assert not alive(int(process))
    worker.close()
    (other,) = worker.ask(["who"])
    assert other != process


def test_ending_a_program_leaves_the_next_one_alone(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    (first,) = worker.ask(["who"])
    assert worker._program is not None
    last_words = worker._program.last_words

    def started_meanwhile() -> str:
        worker._running(fresh=True)
        return last_words()

    monkeypatch.setattr(worker._program, "last_words", started_meanwhile)
    worker._end_program()
    with pytest.raises(ProcessLookupError):
        os.kill(int(first), 0)
    assert worker._program is not None
    second = worker._program._process.pid
    assert list(worker.ask(["who"])) == [str(second)]


def test_close_from_another_thread_ends_what_was_asked(worker: Worker) -> None:
    answers = worker.ask(["who", "hang"])
    process = int(next(answers))
    closing = threading.Thread(target=worker.close)
    closing.start()
    with pytest.raises(MetricError, match="Echo was closed before it had answered"):
        next(answers)
    closing.join()
    assert not alive(process)
    assert list(worker.ask(["a"])) == ["A"]


def test_a_forgotten_worker_ends() -> None:
    worker = make()
    (process,) = worker.ask(["who"])
    del worker
    gc.collect()
    assert not alive(int(process))


OURS = """
import os, signal, sys
from otoscribe.metrics.java.worker import Worker
worker = Worker("Echo", [sys.executable, "-c", {program!r}], ".*", 20, 20)
print(next(worker.ask(["who"])), flush=True)
{end}
"""


@pytest.mark.parametrize("end", ["os.kill(os.getpid(), signal.SIGKILL)", "sys.exit()", "raise ValueError"])
def test_no_orphan_when_our_process_ends(end: str) -> None:
    ours = subprocess.run(
        [sys.executable, "-c", OURS.format(program=PROGRAM, end=end)],
        capture_output=True,
        timeout=20,
        text=True,
    )
    process = int(ours.stdout)
    # Killed, we cannot wait for it: it ends on its own when it finds its input closed.
    until = time.monotonic() + 20
    while alive(process) and time.monotonic() < until:
        os.sched_yield()
    assert not alive(process)


def test_a_fork_has_a_program_of_its_own() -> None:
    worker = make(seconds=1000)
    (process,) = worker.ask(["who"])
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of threads, in newer Pythons
        child = os.fork()
    if child == 0:
        signal.alarm(20)
        try:
            (answer,) = worker.ask(["who"])
            os.write(writing, answer.encode())
            worker.close()
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    answer = os.read(reading, 100).decode()
    os.close(reading)
    os.close(writing)
    assert answer.isdigit()
    assert answer != process
    assert list(worker.ask(["who"])) == [process]
    worker.close()

"""A program in a process of its own that answers lines with lines, so that no Java runs in ours."""

import os
import queue
import re
import subprocess
import tempfile
import threading
import weakref
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import IO

from otoscribe.errors import MetricError, UsageError

WINDOW = 64
"""How many lines may wait in the program, so that it is never idle while we think."""
LAST_WORDS = 300
"""How many characters of a failed program's standard error an error message quotes."""


class Worker:
    """A program in a process of its own, which answers every line that it reads with one line, in order.

    It starts with the first question and stays until `close`, or until this object or our process ends; the
    program itself must end when its input does. A program that dies, prints what is no answer, or does not
    answer in time is killed and started again, and what it left unanswered is asked again line by line: the
    line at which it fails a second time, then alone, is the one at fault.

    Args:
        name: what error messages call the program.
        command: the program and its arguments.
        answer: regular expression that every whole answer matches, and nothing else that the program prints.
        seconds: longest wait for an answer.
        start_seconds: longest wait for the first answer of a program that was just started.
    """

    def __init__(
        self, name: str, command: Sequence[str], answer: str, seconds: float, start_seconds: float
    ) -> None:
        self._name = name
        self._command = list(command)
        self._answer = re.compile(answer)
        self._seconds = seconds
        self._start_seconds = start_seconds
        self._program: _Program | None = None
        self._asking = False
        self._closed = False
        self._ending = threading.Lock()

    def ask(self, lines: Iterable[str]) -> Iterator[str]:
        """Yield the answers to lines, in their order.

        Raises:
            MetricError: the program cannot be started, failed twice at the same line, or was
                closed meanwhile.
            UsageError: a line holds a line break or half a character, or another `ask` has not ended.
        """
        if self._asking:
            raise UsageError(f"{self._name} answers one set of questions after the other, not two at once.")
        self._asking = True
        self._closed = False
        waiting: deque[str] = deque()
        try:
            yield from self._answers(iter(lines), waiting)
        finally:
            # Answers still to come would be taken for those of the next questions.
            if waiting:
                self._end_program()
            self._asking = False

    def _answers(self, lines: Iterator[str], waiting: deque[str]) -> Iterator[str]:
        window = WINDOW  # lines in the program at once; 1 while those that were in it when it failed are left
        suspects = 0
        sent = 0
        while True:
            waiting.extend(
                _checked(line, self._name) for line in islice(lines, max(0, window - len(waiting)))
            )
            if not waiting:
                return
            try:
                program = self._running(fresh=sent == 0)
                while sent < min(window, len(waiting)):
                    program.send(waiting[sent])
                    sent += 1
                answer = program.answer(self._seconds if program.answered else self._start_seconds)
                if not self._answer.fullmatch(answer):
                    raise _FailedError(f"printed {answer[:LAST_WORDS]!r}, which is no answer")
            except _FailedError as failure:
                words = self._end_program()
                self._require_open()
                if window == 1:
                    raise MetricError(
                        f"{self._name} {failure}, twice, at {_shortened(waiting[0])}.{words} Leave that text "
                        "out, or close other programs if memory is short."
                    ) from None
                window, suspects, sent = 1, sent, 0
                continue
            program.answered = True
            waiting.popleft()
            sent -= 1
            suspects -= 1
            if suspects <= 0:
                window = WINDOW
            yield answer

    def _running(self, fresh: bool) -> "_Program":
        """Return the program, started if there is none; `fresh` says that it has nothing left to answer."""
        program = self._program
        # A fork's copy of us must not talk into its parent's pipes.
        if program is not None and (program.owner != os.getpid() or (fresh and program.disturbed())):
            self._end_program()
        program = self._program
        if program is None:
            try:
                program = _Program(self._command)
            except OSError as error:
                raise MetricError(f"{self._name} cannot be started: {error}.") from error
            program.finalizer = weakref.finalize(self, program.end)
            self._program = program
        # After the program is known to `close`, so that one of the two ends it.
        self._require_open()
        return program

    def _require_open(self) -> None:
        if self._closed:
            self._end_program()
            raise MetricError(f"{self._name} was closed before it had answered.")

    def close(self) -> None:
        """End the program, also from another thread than that which asks. The next `ask` starts it again."""
        self._closed = True
        self._end_program()

    def _end_program(self) -> str:
        """End the program if it runs, and return its last words."""
        with self._ending:
            program, self._program = self._program, None
            if program is None or program.owner != os.getpid():
                return ""
            words = program.last_words()
            # Its own: another thread may have started the next program meanwhile.
            program.finalizer()
            return words


class _FailedError(Exception):
    """What became of a program that gave no answer, as the end of a sentence that begins with its name."""


class _Program:
    """One run of the program. Threads serve its pipes, so that neither side ever blocks the other."""

    finalizer: "weakref.finalize[..., Worker]"
    """Ends it once, at the latest when its worker or our process ends."""

    def __init__(self, command: list[str]) -> None:
        self.owner = os.getpid()
        self.answered = False
        # A file, because a pipe that nobody empties would stop the program.
        self._complaints = tempfile.TemporaryFile()  # noqa: SIM115
        try:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._complaints
            )
        except OSError:
            self._complaints.close()
            raise
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._questions: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._answers: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._threads = [
            threading.Thread(target=_write, args=(self._process.stdin, self._questions), daemon=True),
            threading.Thread(target=_read, args=(self._process.stdout, self._answers), daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def send(self, line: str) -> None:
        self._questions.put(line.encode("utf-8") + b"\n")

    def answer(self, seconds: float) -> str:
        try:
            answer = self._answers.get(timeout=seconds)
        except queue.Empty:
            raise _FailedError(f"gave no answer within {seconds:g} seconds") from None
        if answer is not None:
            return answer.decode("utf-8", errors="replace")
        try:
            code = self._process.wait(timeout=1)
        except subprocess.TimeoutExpired:
            raise _FailedError("closed its output") from None
        raise _FailedError(f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}")

    def disturbed(self) -> bool:
        """Say whether the program ended, or said something, when nothing had been asked."""
        return self._process.poll() is not None or not self._answers.empty()

    def last_words(self) -> str:
        """Return the end of the program's standard error as a sentence; the program is killed first."""
        # Dead before the file is read: the two share one position in it.
        self._process.kill()
        self._process.wait()
        self._complaints.seek(0)
        words = self._complaints.read().decode("utf-8", errors="replace").split()
        text = " ".join(words)
        return f" Its last words: {text[-LAST_WORDS:]}" + ("" if text.endswith(".") else ".") if text else ""

    def end(self) -> None:
        # In a fork, this run belongs to the parent process.
        if self.owner == os.getpid():
            self._process.kill()
            self._process.wait()
            self._questions.put(None)
            for thread in self._threads:
                thread.join(timeout=1)
            self._complaints.close()


def _write(pipe: IO[bytes], questions: "queue.SimpleQueue[bytes | None]") -> None:
    try:
        with pipe:
            while (question := questions.get()) is not None:
                pipe.write(question)
                if questions.empty():
                    pipe.flush()
    except OSError:
        pass  # the program is gone, as the reader finds out too


def _read(pipe: IO[bytes], answers: "queue.SimpleQueue[bytes | None]") -> None:
    with pipe:
        for answer in pipe:
            if answer.endswith(b"\n"):  # else it was cut off by death
                answers.put(answer.rstrip(b"\r\n"))
    answers.put(None)


def _checked(line: str, name: str) -> str:
    if line.splitlines() not in ([], [line]):
        raise UsageError(f"{name} takes one line at a time, without line breaks, not {_shortened(line)}.")
    try:
        line.encode("utf-8")
    except UnicodeEncodeError:
        raise UsageError(f"{name} takes whole characters, not the halves in {_shortened(line)}.") from None
    return line


def _shortened(line: str) -> str:
    return repr(line if len(line) <= LAST_WORDS else line[:LAST_WORDS] + "…")

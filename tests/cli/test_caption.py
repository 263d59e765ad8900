import csv
import errno
import io
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import soundfile
import typer

from otoscribe.cli import main as command
from otoscribe.cli import terminal
from otoscribe.errors import RunError
from otoscribe.listen.captioner import Captioner
from otoscribe.spread.backends import in_processes
from support.recordings import BROKEN, broken
from support.tiny_bundle import write_tiny_bundle

LINE = re.compile(r"[a-z ]+  \(confidence \d+ %\)\n")
posix = pytest.mark.skipif(os.name == "nt", reason="POSIX")


@dataclass
class Outcome:
    code: int
    out: str
    err: str


Run = Callable[..., Outcome]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_bundle(tmp_path_factory.mktemp("bundle") / "tiny")


@pytest.fixture
def run(tiny: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run `otoscribe caption` with the tiny model in this process; capfd sees C libraries, too."""

    def run(*arguments: str | Path) -> Outcome:
        with pytest.raises(SystemExit) as end:
            command.main(["caption", "--model", str(tiny), *map(str, arguments)])
        captured = capfd.readouterr()
        return Outcome(end.value.code, captured.out, captured.err)

    return run


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    return write(tmp_path / "rain.wav")


def write(path: Path, seed: int = 0) -> Path:
    noise = np.random.default_rng(seed).normal(size=8000) * 0.2
    soundfile.write(path.parent / "new.wav", noise, 8000)
    return (path.parent / "new.wav").rename(path)


def test_one_file_gives_its_caption_alone(run: Run, recording: Path) -> None:
    outcome = run(recording)
    assert (outcome.code, outcome.err) == (0, "")
    assert LINE.fullmatch(outcome.out)


def test_several_files_are_named(run: Run, recording: Path, tmp_path: Path) -> None:
    other = write(tmp_path / "dog.wav", 1)
    first, second = run(recording, other).out.splitlines(keepends=True)
    assert first.startswith(f"{recording}: ")
    assert LINE.fullmatch(second.removeprefix(f"{other}: "))


def test_candidates_are_numbered(run: Run, recording: Path) -> None:
    assert [line[:3] for line in run(recording, "--candidates", "2").out.splitlines()] == ["1. ", "2. "]
    lines = run(recording, recording, "--candidates", "2").out.splitlines()
    assert lines[0] == lines[3] == f"{recording}:"
    assert [line[:5] for line in lines[1:3]] == ["  1. ", "  2. "]


def test_json_is_one_array_with_errors_in_it(run: Run, recording: Path) -> None:
    outcome = run("--format", "json", recording, "missing.wav", recording, "--candidates", "2")
    first, failed, last = json.loads(outcome.out)
    assert outcome.code == 1
    assert first == last
    assert list(first) == [
        "file",
        "caption",
        "log_probability",
        "confidence",
        "seconds",
        "notes",
        "candidates",
    ]
    assert first["notes"] == []
    assert first["file"] == str(recording)
    assert first["seconds"] == 1
    assert [one["log_probability"] for one in first["candidates"]] == sorted(
        (one["log_probability"] for one in first["candidates"]), reverse=True
    )
    assert " ".join(word["word"] for word in first["candidates"][0]["words"]) == first["caption"]
    assert failed == {"file": "missing.wav", "error": "missing.wav does not exist."}
    assert outcome.err == "missing.wav does not exist.\n"


def test_json_stays_an_array_when_nothing_worked(run: Run) -> None:
    outcome = run("--format", "json", "missing.wav")
    assert [list(entry) for entry in json.loads(outcome.out)] == [["file", "error"]]


def test_json_lines_are_the_objects_of_the_array(run: Run, recording: Path) -> None:
    arguments = [recording, "missing.wav", recording, "--candidates", "2"]
    array, lines = run("--format", "json", *arguments), run("--format", "jsonl", *arguments)
    assert lines.out.endswith("}\n")
    assert [json.loads(line) for line in lines.out.splitlines()] == json.loads(array.out)
    assert (lines.code, lines.err) == (array.code, array.err)


def test_threads_are_passed_on(run: Run, recording: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    opened = Captioner.__init__

    def counted(self: Captioner, model: str, threads: int | None) -> None:
        asked.append(threads)
        opened(self, model, threads)

    monkeypatch.setattr(Captioner, "__init__", counted)
    outputs = {run(recording, *threads).out for threads in ([], ["--threads", "1"], ["--threads", "2"])}
    assert asked == [None, 1, 2]
    assert len(outputs) == 1


def test_csv_columns_and_line_ends(run: Run, recording: Path, tmp_path: Path) -> None:
    odd = write(tmp_path / 'a "b", c.wav')
    outcome = run("--format", "csv", recording, odd, "missing.wav", "--candidates", "2")
    assert outcome.code == 1
    assert outcome.out.startswith(
        "file,caption,log_probability,confidence,seconds,rank,error,channel,notes\r\n"
    )
    assert outcome.out.count("\r\n") == outcome.out.count("\n") == 6
    rows = list(csv.DictReader(io.StringIO(outcome.out, newline="")))
    assert [(row["file"], row["rank"]) for row in rows] == [
        (str(recording), "1"),
        (str(recording), "2"),
        (str(odd), "1"),
        (str(odd), "2"),
        ("missing.wav", ""),
    ]
    assert rows[-1]["error"] == "missing.wav does not exist."
    assert rows[-1]["caption"] == ""
    assert float(rows[0]["log_probability"]) < 0 < float(rows[0]["confidence"]) <= 1


@pytest.mark.parametrize("form", [[], ["--format", "json"], ["--format", "jsonl"], ["--format", "csv"]])
def test_output_file_holds_what_would_be_printed(
    run: Run, recording: Path, tmp_path: Path, form: list
) -> None:
    target = tmp_path / "new" / "captions.txt"
    printed = run(*form, recording, recording).out
    outcome = run(*form, recording, recording, "--output", target)
    assert (outcome.code, outcome.out) == (0, "")
    assert target.read_bytes().decode() == printed


def test_output_is_written_whole_or_not_at_all(
    run: Run, recording: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RunError("Something broke.")

    target = tmp_path / "captions.txt"
    target.write_text("old")
    monkeypatch.setattr(Captioner, "decode", fail)
    assert run(recording, "--output", target).code == 1
    assert target.read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["captions.txt", "rain.wav"]


@pytest.mark.parametrize(
    "target", ["{recording}", "{folder}", "{recording}/below", "{folder}/" + "x" * 999, ""]
)
def test_output_that_cannot_be(run: Run, recording: Path, tmp_path: Path, target: str) -> None:
    before = recording.read_bytes()
    outcome = run(recording, "--output", target.format(recording=recording, folder=tmp_path))
    assert outcome.code == 2
    assert outcome.err.count("\n") == 1
    assert recording.read_bytes() == before


@pytest.mark.parametrize("form", [[], ["--format", "json"], ["--format", "jsonl"], ["--format", "csv"]])
def test_output_replaces_an_earlier_output(run: Run, recording: Path, tmp_path: Path, form: list) -> None:
    target = tmp_path / "captions.txt"
    assert run(*form, recording, recording, "--output", target).code == 0
    assert run(*form, recording, "--output", target).code == 0
    assert target.read_bytes().decode() == run(*form, recording).out


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3", "aiff", "au", "caf", "w64"])
def test_output_never_replaces_another_recording(
    run: Run, recording: Path, tmp_path: Path, suffix: str
) -> None:
    other = tmp_path / f"other.{suffix}"
    soundfile.write(other, np.random.default_rng(0).normal(size=8000) * 0.2, 8000)
    before = other.read_bytes()
    outcome = run("--output", other, recording)
    assert outcome.code == 2
    assert "maybe a recording" in outcome.err
    assert other.read_bytes() == before


@pytest.mark.parametrize("name", ["card.md", "manifest.json", "step.onnx", "new.txt", "new/captions.txt"])
def test_output_never_touches_the_model(run: Run, tiny: Path, recording: Path, name: str) -> None:
    before = {path: path.read_bytes() for path in tiny.iterdir()}
    outcome = run(recording, "--output", tiny / name)
    assert outcome.code == 2
    assert "the model's folder" in outcome.err or "would be overwritten" in outcome.err
    assert {path: path.read_bytes() for path in tiny.iterdir()} == before


def test_text_without_a_caption_replaces_nothing(run: Run, tmp_path: Path) -> None:
    target = tmp_path / "captions.txt"
    assert run("missing.wav", "--output", target).code == 1
    assert not target.exists()
    target.write_text("old")
    assert run("missing.wav", "--output", target).code == 1
    assert target.read_text() == "old"
    assert run("--format", "json", "missing.wav", "--output", target).code == 1
    assert "error" in json.loads(target.read_text())[0]


def test_output_into_a_folder_that_is_not_there(run: Run, recording: Path, tmp_path: Path) -> None:
    outcome = run(recording, "--output", f"{tmp_path}/new/")
    assert outcome.code == 2
    assert "is a folder" in outcome.err
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES])
def test_output_that_cannot_be_written_is_no_misuse(
    run: Run, recording: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "replace", fail)
    outcome = run(recording, "--output", tmp_path / "captions.txt")
    assert outcome.code == 1
    assert "cannot be written" in outcome.err
    assert outcome.err.count("\n") == 1


@posix
def test_output_through_links_that_lead_nowhere(run: Run, recording: Path, tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    outcome = run(recording, "--output", tmp_path / "a")
    assert outcome.code == 2
    assert outcome.err.count("\n") == 1
    assert (tmp_path / "a").is_symlink()


@posix
def test_output_from_a_folder_that_is_gone(
    run: Run, recording: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    outcome = run(recording, "--output", "captions.txt")
    assert outcome.code == 2
    assert outcome.err.count("\n") == 1
    assert run(recording, "missing.wav", "--output", tmp_path / "captions.txt").code == 1
    assert LINE.fullmatch((tmp_path / "captions.txt").read_text().removeprefix(f"{recording}: "))


@posix
def test_output_never_replaces_a_pipe(run: Run, recording: Path, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    # Held open and full, so that whoever reads it, against what is tested, need not wait.
    held = os.open(pipe, os.O_RDWR | os.O_NONBLOCK)
    os.write(held, b"x" * 65536)
    outcome = run(recording, "--output", pipe)
    os.close(held)
    assert outcome.code == 2
    assert pipe.is_fifo()


def test_output_follows_a_link(run: Run, recording: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "true.txt")
    assert run(recording, "--output", tmp_path / "link").code == 0
    assert (tmp_path / "link").is_symlink()
    assert LINE.fullmatch((tmp_path / "true.txt").read_text())


@pytest.mark.parametrize(("kind", "said"), BROKEN.items())
def test_a_broken_file_costs_one_sentence_and_only_itself(
    run: Run, recording: Path, tmp_path: Path, kind: str, said: str
) -> None:
    (tmp_path / "broken").mkdir()
    path = broken(tmp_path / "broken", kind)
    outcome = run(path, recording)
    assert outcome.code == 1
    assert LINE.fullmatch(outcome.out.removeprefix(f"{recording}: "))
    assert outcome.err.startswith(str(path))
    assert said in outcome.err
    assert outcome.err.endswith(".\n")
    assert outcome.err.count("\n") == 1


@pytest.mark.parametrize("name", ["missing.wav", ".", "", "-", "\x1b[31m\n.wav", "x" * 300, "日本語.flac"])
def test_names_without_a_recording(
    run: Run, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = run("--", name)
    assert outcome.code == 1
    assert outcome.out == ""
    assert outcome.err.endswith(".\n")
    assert outcome.err.count("\n") == 1
    assert "\x1b" not in outcome.err


def odd(tmp_path: Path, channels: int = 1) -> Path:
    path = tmp_path / "odd.mp3"
    soundfile.write(path, np.random.default_rng(0).normal(size=(80000, channels)) * 0.1, 16000)
    path.write_bytes(path.read_bytes()[:-900])
    return path


def test_what_is_odd_is_said_once_and_written_down(run: Run, tmp_path: Path, recording: Path) -> None:
    path = odd(tmp_path)
    note = "it holds 4.83 s of the 5.08 s that its header announces"
    for form in ("text", "json", "jsonl", "csv"):
        outcome = run(path, recording, "--format", form)
        assert outcome.code == 0
        assert outcome.err == f"{path}: {note}.\n"
        if form == "json":
            assert [entry["notes"] for entry in json.loads(outcome.out)] == [[note], []]
        if form == "csv":
            assert [row["notes"] for row in csv.DictReader(io.StringIO(outcome.out))] == [note, ""]


def test_strict_makes_failures_of_notes(run: Run, tmp_path: Path, recording: Path) -> None:
    path = odd(tmp_path)
    outcome = run("--strict", path, recording, "--format", "json")
    assert outcome.code == 1
    failed, fine = json.loads(outcome.out)
    assert failed == {"file": str(path), "error": outcome.err.removesuffix("\n")}
    assert "that its header announces" in failed["error"]
    assert fine["caption"]
    assert run("--strict", recording).code == 0


def test_channels(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "two.wav"
    soundfile.write(path, np.random.default_rng(0).normal(size=(16000, 2)) * 0.1, 16000)
    each = json.loads(run("--channel", "each", path, "--format", "json").out)
    assert [entry["channel"] for entry in each] == [1, 2]
    (second,) = json.loads(run("--channel", "2", path, "--format", "json").out)
    assert second == each[1]
    assert "channel" not in json.loads(run(path, "--format", "json").out)[0]
    outcome = run("--channel", "each", odd(tmp_path, 2), path)
    assert outcome.err.count("its header announces") == 1
    lines = run("--channel", "each", path).out.splitlines()
    assert [line.split(": ")[0] for line in lines] == [f"{path}, channel 1", f"{path}, channel 2"]
    rows = csv.DictReader(io.StringIO(run("--channel", "each", path, "--format", "csv").out))
    assert [row["channel"] for row in rows] == ["1", "2"]
    outcome = run("--channel", "3", path)
    assert (outcome.code, outcome.err) == (1, f"{path} has 2 channels; there is no channel 3.\n")
    for channel in ("0", "left", "-1", "1.5", ""):
        outcome = run(f"--channel={channel}", path)
        assert outcome.code == 2
        assert "There is no channel" in outcome.err


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return a folder of 70 recordings, so three groups; two are broken."""
    monkeypatch.chdir(tmp_path)
    Path("sounds/inner").mkdir(parents=True)
    for number in range(70):
        write(Path("sounds", "inner" if number % 3 else ".", f"{number:02}.wav"), number)
    Path("sounds/inner/50.wav").write_text("no recording")
    Path("sounds/33.wav").write_text("no recording")
    Path("sounds/notes.txt").write_text("no recording either")
    return "sounds"


def test_a_folder_is_all_recordings_in_it(run: Run, folder: str) -> None:
    outcome = run(folder, "--format", "jsonl")
    assert outcome.code == 1
    files = [json.loads(line)["file"] for line in outcome.out.splitlines()]
    assert files == list(map(str, sorted(Path(folder).rglob("*.wav"), key=lambda file: file.parts)))
    assert outcome.out == run(*files, "--format", "jsonl").out
    assert len(outcome.err.splitlines()) == 2
    Path("empty").mkdir()
    outcome = run("empty", folder)
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err.startswith("empty holds no recording: ")


@pytest.mark.parametrize("form", ["jsonl", "csv", "text"])
def test_shares_one_after_the_other_are_all(run: Run, folder: str, form: str) -> None:
    run(folder, "--format", form, "-o", "all")
    codes = [
        run(folder, "--format", form, "--shard", f"{number}/2", "-o", f"part-{number}").code
        for number in (1, 2)
    ]
    assert codes == [1, 1]
    first, second = (Path(f"part-{number}").read_bytes() for number in (1, 2))
    _, _, rest = second.partition(b"\r\n")
    assert Path("all").read_bytes() == first + (rest if form == "csv" else second)
    assert first
    assert rest if form == "csv" else second


@pytest.mark.parametrize(
    ("form", "held"),
    [("text", ""), ("json", "[]\n"), ("jsonl", ""), ("csv", None)],
)
def test_an_empty_share_has_an_empty_table(
    run: Run, recording: Path, tmp_path: Path, form: str, held: str | None
) -> None:
    target = tmp_path / "captions"
    target.write_text("of before")
    outcome = run(recording, "--format", form, "--shard", "1/3", "--output", target)
    assert (outcome.code, outcome.out, outcome.err) == (0, "", "")
    if held is None:
        held = run(recording, "--format", form).out.splitlines(keepends=True)[0]
    assert target.read_bytes().decode() == held
    assert run(recording, "--shard", "3/3").out == run(recording).out


@pytest.mark.parametrize("form", ["jsonl", "csv", "json", "text"])
def test_a_cluster_gives_what_one_process_gives(
    run: Run, folder: str, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def two_processes(address: str, threads: int) -> object:
        asked.append((address, threads))
        return in_processes(2), 2

    monkeypatch.setattr("otoscribe.spread.ray_cluster.on_ray", two_processes)
    arguments = (folder, "--format", form, "--candidates", "2")
    alone, outcome = run(*arguments), run(*arguments, "--ray", "head:6379", "--threads", "1")
    assert outcome == alone
    assert asked == [("head:6379", 1)]
    misused = run(*arguments, "--ray", "head:6379", "--beam", "0")
    assert (misused.code, misused.out) == (2, "")
    assert "beam must be" in misused.err


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (["--shard", "0/3"], 2, "'0/3' is no share. Write NUMBER/OF, from 1/16 to 16/16.\n"),
        (["--shard", "4/3"], 2, "'4/3' is no share. "),
        (["--shard", "x"], 2, "'x' is no share. "),
        (["--shard", ""], 2, "'' is no share. "),
        (["--shard", "1/2", "-"], 2, "Standard input cannot be shared out. "),
        (["--ray", "auto", "-"], 2, "Standard input cannot be shared out. "),
        (["--ray", "auto"], 1, "otoscribe caption needs Ray: pip install 'otoscribe[ray]'\n"),
    ],
)
def test_shares_and_clusters_that_cannot_be(
    run: Run, recording: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], code: int, said: str
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    outcome = run(recording, *options)
    assert (outcome.code, outcome.out) == (code, "")
    assert outcome.err.startswith(said)
    assert outcome.err.count("\n") == 1


LOADED = """
import sys
from otoscribe.cli.main import main
try:
    main(sys.argv[1:])
finally:
    heavy = ("otoscribe.spread", "otoscribe.text.names", "multiprocessing", "ray")
    print([name for name in sys.modules if name.startswith(heavy)])
"""


def test_who_names_files_waits_for_nothing_that_shares_out_work(tiny: Path, recording: Path) -> None:
    start = [sys.executable, "-c", LOADED, "caption", "--model", str(tiny), str(recording)]
    done = subprocess.run(start, capture_output=True, text=True)
    assert (done.returncode, done.stdout.splitlines()[1:]) == (0, ["[]"]), done.stderr
    done = subprocess.run([*start, "--shard", "1/1"], capture_output=True, text=True)
    assert "otoscribe.spread.shard" in done.stdout


def test_standard_input(run: Run, recording: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = json.loads(run(recording, "--format", "json").out)[0]
    read, written = os.pipe()
    with os.fdopen(written, "wb") as pipe:
        pipe.write(recording.read_bytes())
    with os.fdopen(read) as pipe:
        monkeypatch.setattr("sys.stdin", pipe)
        outcome = run("-", "--format", "json")
    assert outcome.err == ""
    assert json.loads(outcome.out)[0]["caption"] == expected["caption"]
    monkeypatch.setattr("sys.stdin", None)
    outcome = run("-")
    said = "Standard input is closed; send it a recording: otoscribe caption - < FILE.\n"
    assert (outcome.code, outcome.err) == (2, said)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "Missing argument"),
        (["--format", "xml", "x.wav"], "'xml' is not one of 'text', 'json', 'jsonl', 'csv'"),
        (["--threads", "0", "x.wav"], "--threads"),
        (["--threads", "1.5", "x.wav"], "--threads"),
        (["--beam", "0", "x.wav"], "beam must be"),
        (["--beam", "many", "x.wav"], "beam"),
        (["--candidates", "0", "x.wav"], "candidates must be"),
        (["--candidates", "3", "--beam", "2", "x.wav"], "set beam to 3"),
        (["--capton", "x.wav"], "No such option"),
        (["--output"], "requires an argument"),
    ],
)
def test_misuse_exits_with_2(run: Run, arguments: list[str], said: str) -> None:
    outcome = run(*arguments)
    assert outcome.code == 2
    assert said in outcome.err
    assert "Traceback" not in outcome.err
    assert outcome.out == ""


@pytest.mark.parametrize("model", ["missing", ".", "{recording}", "nul\0"])
def test_model_that_is_none(run: Run, recording: Path, tmp_path: Path, model: str) -> None:
    outcome = run(recording, "--model", model.format(recording=recording))
    assert outcome.code == 1
    assert outcome.err.count("\n") == 1
    assert outcome.out == ""


def test_version_and_help(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, said in (
        (["--version"], "otoscribe 0."),
        (["--help"], "caption"),
        (["caption", "--help"], "--beam"),
    ):
        with pytest.raises(SystemExit) as end:
            command.main(arguments)
        assert end.value.code == 0
        assert said in capsys.readouterr().out


def test_unknown_command_names_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        command.main(["captoin"])
    assert end.value.code == 2
    assert "caption" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("raised", "code", "said"),
    [
        (KeyboardInterrupt(), 130, ""),
        (BrokenPipeError(32, "Broken pipe"), 141, ""),
        (RunError("It stopped.\nHere."), 1, "It stopped.\\nHere.\n"),
        (
            ModuleNotFoundError("No module named 'torch'", name="torch"),
            1,
            "otoscribe learn needs PyTorch: pip install 'otoscribe[train]'\n",
        ),
    ],
)
def test_how_a_command_ends(
    raised: BaseException,
    code: int,
    said: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(command, "_discard_output", lambda: None)
    app = typer.Typer(cls=command.Commands)

    @app.command()
    def learn() -> None:
        raise raised

    @app.command()
    def other() -> None: ...

    with pytest.raises(SystemExit) as end:
        app(["learn"])
    assert end.value.code == code
    assert capsys.readouterr().err == said


def test_a_reader_may_go_away_before_the_last_flush(monkeypatch: pytest.MonkeyPatch) -> None:
    class Gone(io.StringIO):
        def flush(self) -> None:
            raise BrokenPipeError(32, "Broken pipe")

    app = typer.Typer(cls=command.Commands)

    @app.command()
    def learn() -> None:
        monkeypatch.setattr(command, "_discard_output", lambda: None)
        monkeypatch.setattr(sys, "stdout", Gone())

    @app.command()
    def other() -> None: ...

    with pytest.raises(SystemExit) as end:
        app(["learn"])
    assert end.value.code == 141


def test_an_unknown_missing_module_is_a_defect_and_stays_loud() -> None:
    app = typer.Typer(cls=command.Commands, pretty_exceptions_enable=False)

    @app.command()
    def learn() -> None:
        raise ModuleNotFoundError("No module named 'numpy'", name="numpy")

    @app.command()
    def other() -> None: ...

    with pytest.raises(ModuleNotFoundError):
        app(["learn"])


WITHOUT_EXTRAS = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"torch", "h5py", "onnx", "scipy", "safetensors", "flatbuffers"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Absent())
from otoscribe.cli.main import main
main(sys.argv[1:])
"""


@pytest.mark.parametrize(
    "arguments", ["train s.json --clips a --validation b --weights c", "export run bundle"]
)
def test_learning_without_its_extra_says_what_to_install(arguments: str) -> None:
    start = [sys.executable, "-c", WITHOUT_EXTRAS]
    done = subprocess.run([*start, *arguments.split()], capture_output=True, text=True)
    assert done.returncode == 1
    assert re.fullmatch(r"otoscribe \w+ needs \w+: pip install 'otoscribe\[train\]'\n", done.stderr)


def otoscribe(tiny: Path, *arguments: str | bytes, **options: object) -> subprocess.CompletedProcess[bytes]:
    start = [sys.executable, "-m", "otoscribe", "caption", "--model", str(tiny)]
    return subprocess.run([*start, *arguments], capture_output=True, **options)


@pytest.mark.slow
@posix
def test_odd_names_survive_the_whole_way(tiny: Path, tmp_path: Path) -> None:
    names = [b"-x.wav", b"\xff\xfe.wav", "ü ß.wav".encode(), b"line\nend.wav"]
    for name in names:
        write(tmp_path / os.fsdecode(name))
    environment = os.environ | {"PYTHONUTF8": "1"}
    done = otoscribe(tiny, "--format", "csv", "--", *names, cwd=tmp_path, env=environment)
    assert (done.returncode, done.stderr) == (0, b"")
    rows = csv.reader(io.StringIO(done.stdout.decode("utf-8", "surrogateescape"), newline=""))
    assert [os.fsencode(row[0]) for row in rows][1:] == names
    done = otoscribe(tiny, "--format", "json", "--", *names, cwd=tmp_path, env=environment)
    assert [os.fsencode(entry["file"]) for entry in json.loads(done.stdout)] == names
    done = otoscribe(tiny, "--", *names, cwd=tmp_path, env=environment)
    assert [line.split(b": ")[0] for line in done.stdout.splitlines()] == [*names[:3], b"line\\nend.wav"]


@posix
def test_reader_that_goes_away(tiny: Path, recording: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    start = [sys.executable, "-m", "otoscribe", "caption", "--model", str(tiny), str(recording)]
    done = subprocess.run(start, stdout=writing, stderr=subprocess.PIPE)
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, b"")


@posix
def test_reader_of_the_help_that_goes_away() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    start = [sys.executable, "-m", "otoscribe", "--help"]
    done = subprocess.run(start, stdout=writing, stderr=subprocess.PIPE)
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, b"")


full = pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")


@full
@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["caption", "--help"], ["caption"]])
def test_output_into_a_full_disk(tiny: Path, recording: Path, arguments: list[str]) -> None:
    start = [sys.executable, "-m", "otoscribe", *arguments]
    if arguments == ["caption"]:
        start += ["--model", str(tiny), str(recording)]
    with Path("/dev/full").open("w") as disk:
        done = subprocess.run(start, stdout=disk, stderr=subprocess.PIPE)
    assert done.returncode == 1
    assert done.stderr == b"The output cannot be written: no space left on device.\n"


@full
def test_messages_that_cannot_be_written_cost_no_caption(tiny: Path, recording: Path) -> None:
    start = [sys.executable, "-m", "otoscribe", "caption", "--model", str(tiny)]
    with Path("/dev/full").open("w") as disk:
        done = subprocess.run([*start, "missing.wav", recording], stdout=subprocess.PIPE, stderr=disk)
        misused = subprocess.run([*start, "--beam", "0", recording], stderr=disk)
    assert done.returncode == 1
    assert done.stdout.count(b"confidence") == 1
    assert misused.returncode == 2


def test_standard_error_comes_back_whatever_happens(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full(io.StringIO):
        def fileno(self) -> int:
            return 2

        encoding, errors = "utf-8", "strict"

        def flush(self) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

    error = Full()
    monkeypatch.setattr(sys, "stderr", error)
    with pytest.raises(RunError), terminal.quiet_libraries():  # noqa: PT012
        os.write(2, b"a library")
        print("Python", file=sys.stderr)
        raise RunError("It stopped.")
    assert sys.stderr is error
    os.write(2, b"after")
    assert capfd.readouterr().err == "Python\nafter"


TERMINATED = """
import os, signal, sys
number = int(sys.argv.pop(1))
signal.signal(number, signal.SIG_DFL)  # the tests themselves may run under nohup
os.fsync = lambda _: signal.raise_signal(number)
from otoscribe.cli.main import main
main(sys.argv[1:])
"""


@posix
@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_a_signal_that_ends_the_command_leaves_no_half_file(
    tiny: Path, recording: Path, tmp_path: Path, name: str
) -> None:
    number = getattr(signal, name)
    start = [sys.executable, "-c", TERMINATED, str(int(number)), "caption", "--model", str(tiny)]
    options = ["--output", str(tmp_path / "captions.txt"), str(recording)]
    done = subprocess.run([*start, *options], capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (128 + number, b"", b"")
    assert [path.name for path in tmp_path.iterdir()] == ["rain.wav"]


@posix
@pytest.mark.parametrize(("files", "shown"), [(1, False), (3, True)])
def test_progress_only_for_several_files_in_a_terminal(
    tiny: Path, recording: Path, files: int, shown: bool
) -> None:
    import pty

    master, slave = pty.openpty()
    start = [sys.executable, "-m", "otoscribe", "caption", "--model", str(tiny), *[str(recording)] * files]
    done = subprocess.run(start, stdout=subprocess.PIPE, stderr=slave, env=os.environ | {"TERM": "xterm"})
    os.close(slave)
    seen = b""
    try:
        while block := os.read(master, 65536):
            seen += block
    except OSError:  # how Linux says that nobody holds the other end
        pass
    os.close(master)
    assert done.returncode == 0
    assert (b"listening" in seen) is shown
    assert done.stdout.count(b"confidence") == files
    assert b"listening" not in done.stdout


def test_printable() -> None:
    assert terminal.printable("a\n\x1b[1m\x9b é 日 \udcff") == "a\\n\\x1b[1m\\x9b é 日 \udcff"

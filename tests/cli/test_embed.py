"""`otoscribe embed` and `otoscribe store`: what they print, what training finds, and how they fail."""

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from otoscribe.cli.main import app
from otoscribe.errors import AudioWarning
from otoscribe.spread.backends import Backend, Lost, in_this_process
from otoscribe.train.shards import read_entries, shards_in, values_of
from otoscribe.train.store import KINDS
from support.tiny_encoder import NAME, TinyEncoder, write_weights
from support.tiny_tables import write_table, write_tables

SETTINGS = f"""
[model]
encoder.name = "{NAME}"
adapter = {{name = "mlp", hidden = 8}}
words = {{name = "random", width = 8}}
decoder = {{d_model = 8, heads = 2, head_dim = 4, blocks = 1}}
[training]
maximum_epochs = 1
"""


@pytest.fixture
def tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """Return two tables, and work beside them."""
    monkeypatch.chdir(tmp_path)
    write_weights(Path("weights"), seed=0)
    Path("small.toml").write_text(SETTINGS)
    return write_tables(Path("recordings"))


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, list(map(str, arguments)))


def embed(*tables: Path, options: Sequence[object] = ()) -> Result:
    return run("embed", "small.toml", *tables, "--weights", "weights", "--threads", 1, *options)


def test_each_recording_is_computed_once_and_training_computes_none(
    tables: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    result = embed(*tables)
    assert (result.exit_code, result.stderr) == (0, "")
    (folder,) = Path("features").iterdir()
    assert result.stdout == f"{folder}: 6 of 6 recordings computed\n"
    assert embed(*tables).stdout == f"{folder}: 0 of 6 recordings computed\n"

    monkeypatch.setattr("otoscribe.train.experiment.check_encoder", lambda *_: None)  # which encodes noise
    monkeypatch.setattr(TinyEncoder, "forward", None)
    training, validation = tables
    options = ["--clips", training, "--validation", validation, "--weights", "weights"]
    assert run("train", "small.toml", *options).exit_code == 0


def stored(folder: Path) -> list[tuple[bytes, bytes]]:
    """Return the bytes of all embeddings, by recording."""
    entries = [entry for shard in shards_in(folder) for entry in read_entries(shard)]
    assert None not in entries
    found = []
    for entry in filter(None, entries):
        values = values_of(entry.shard).read_bytes()
        found.append((entry.key, values[entry.start : entry.start + entry.size(KINDS["float32"])]))
    return sorted(found)


@pytest.mark.slow
def test_processes_share_the_work_and_store_what_one_stores(tables: tuple[Path, Path]) -> None:
    embed(*tables)
    (folder,) = Path("features").iterdir()
    result = embed(*tables, options=["--workers", 2, "--features", "by two"])
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == f"{Path('by two') / folder.name}: 6 of 6 recordings computed\n"
    assert stored(Path("by two") / folder.name) == stored(folder)
    assert len(stored(folder)) == 6
    again = embed(*tables, options=["--workers", 2, "--features", "by two"])
    assert again.stdout.endswith(": 0 of 6 recordings computed\n")


def test_shares_are_all_recordings_and_one_without_any_is_no_error(tables: tuple[Path, Path]) -> None:
    counts = []
    for number in range(1, 9):
        result = embed(*tables, options=["--shard", f"{number}/8"])
        assert (result.exit_code, result.stderr) == (0, "")
        counts.append(result.stdout.partition(": ")[2])
    assert sorted(counts) == ["0 of 0 recordings computed\n"] * 2 + ["1 of 1 recordings computed\n"] * 6
    assert embed(*tables).stdout.endswith(": 0 of 6 recordings computed\n")


def test_a_cluster_is_given_the_threads_and_gpus_of_a_process(
    tables: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def cluster(*arguments: object) -> tuple[Backend, int]:
        asked.append(arguments)
        return in_this_process, 2

    monkeypatch.setattr("otoscribe.spread.ray_cluster.on_ray", cluster)
    result = embed(*tables, options=["--ray", "head:6379", "--gpus", 0.25])
    assert result.stdout.endswith(": 6 of 6 recordings computed\n")
    assert asked == [("head:6379", 1, 0.25)]


def test_recordings_that_are_lost_are_counted_and_what_is_odd_is_said(
    tables: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def lossy(work: Callable[[Any], Any], things: Sequence[Any]) -> Iterator[tuple[Any, Any]]:
        assert list(map(len, things)) == [1] * 6
        for place, (thing, result) in enumerate(in_this_process(work, things)):
            yield thing, Lost("NodeDiedError: it burned") if place in (1, 4) else result

    monkeypatch.setattr("otoscribe.spread.ray_cluster.on_ray", lambda *_: (lossy, 2))
    path = tables[0].parent / "low.wav"
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.warns(AudioWarning, match=r"low\.wav: .* that its header announces"):
        result = embed(*tables, options=["--ray", "auto"])
    assert result.exit_code == 1
    said = "2 of 6 recordings were not encoded: NodeDiedError: it burned. The same command goes on.\n"
    assert result.stderr == said


@pytest.mark.parametrize("options", [pytest.param(["--workers", 2], marks=pytest.mark.slow), []])
def test_a_recording_that_cannot_be_read_is_said_from_any_process(
    tables: tuple[Path, Path], options: list[object]
) -> None:
    (tables[0].parent / "low.wav").write_bytes(b"RIFF, but no more")
    result = embed(tables[0], options=options)
    assert result.exit_code == 1
    assert "low.wav" in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (["--shard", "0/3"], 2, "'0/3' is no share. Write NUMBER/OF, from 1/16 to 16/16.\n"),
        (["--shard", "x"], 2, "'x' is no share."),
        (["--workers", 0], 2, "Usage:"),
        (["--ray", "auto"], 1, "otoscribe embed needs Ray: pip install 'otoscribe[ray]'\n"),
    ],
)
def test_shares_and_clusters_that_cannot_be(
    tables: tuple[Path, Path],
    monkeypatch: pytest.MonkeyPatch,
    options: list[object],
    code: int,
    said: str,
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    result = embed(*tables, options=options)
    assert result.exit_code == code
    assert result.stderr.startswith(said)


def test_settings_are_changed_on_the_command_line(tables: tuple[Path, Path]) -> None:
    embed(*tables)
    result = run("embed", "small.toml", tables[0], "--weights", "weights", "--set", "data.precision=float16")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.endswith(": 4 of 4 recordings computed\n")
    assert "float16" in run("store", "verify").stdout
    result = run("embed", "small.toml", tables[0], "--set", "data.precision=float8")
    assert result.exit_code == 2
    assert "small.toml with data.precision=float8 cannot be used. data.precision: Input" in result.stderr


def test_a_tuned_encoder_has_nothing_to_compute_ahead(tables: tuple[Path, Path]) -> None:
    result = run(
        "embed", "small.toml", tables[0], "--weights", "weights", "--set", "model.encoder.tuned=true"
    )
    assert result.exit_code == 2
    assert "changes at every step, so nothing can be computed ahead" in result.stderr
    assert not Path("features").exists()


def test_what_is_missing_is_an_error_or_left_out(tables: tuple[Path, Path]) -> None:
    write_table(tables[1], {"nowhere.wav": ["a tone"], "other.wav": ["a tone"]})
    assert "'nowhere.wav'" in embed(*tables).stderr
    assert not Path("features").exists()
    result = run("embed", "small.toml", *tables, "--weights", "weights", "--skip-missing")
    assert result.exit_code == 0
    assert "5 of 5 recordings" in result.stdout


def test_an_interrupted_embed_goes_on(tables: tuple[Path, Path]) -> None:
    broken = tables[0].parent / "low.wav"
    whole = broken.read_bytes()
    broken.write_bytes(b"RIFF, but no more")
    result = embed(tables[0])
    assert result.exit_code == 1
    assert "low.wav" in result.stderr
    broken.write_bytes(whole)
    assert embed(tables[0]).exit_code == 0
    assert embed(tables[0]).stdout.endswith(": 0 of 4 recordings computed\n")


def test_the_store_is_verified_and_pruned(tables: tuple[Path, Path]) -> None:
    embed(tables[0])
    embed(tables[1])
    (folder,) = Path("features").iterdir()
    what = f"{folder} ({NAME} embeddings 0.0 float32)"
    result = run("store", "verify")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == f"{what}: 6 embeddings, 0.0 MB, 0 damaged\n"
    values = min(folder.glob("*.values"))
    values.write_bytes(values.read_bytes()[:-1])
    result = run("store", "verify", "features", "--format", "json")
    assert result.exit_code == 1
    (row,) = json.loads(result.stdout)
    assert (row["embeddings"], row["damaged"], row["shards"]) == (5, 1, 2)
    assert row["recipe"]["name"] == NAME
    result = run("store", "prune")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == f"{what}: 5 embeddings, 0.0 MB, 1 damaged, 0.0 MB freed\n"
    (row,) = json.loads(run("store", "verify", "--format", "json").stdout)
    assert (row["embeddings"], row["damaged"], row["shards"]) == (5, 0, 1)
    embed(*tables)
    assert run("store", "verify").stdout.startswith(f"{what}: 6 embeddings")


def test_embeddings_of_an_earlier_version_are_pruned(
    tables: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    embed(*tables)
    assert run("store", "prune").exit_code == 0
    assert len(list(Path("features").iterdir())) == 1
    monkeypatch.setattr("otoscribe.train.embed.READING", 3)
    assert "0.0 MB freed" in run("store", "prune").stdout
    assert list(Path("features").iterdir()) == []


def test_a_store_that_is_not_there_fails_in_a_sentence(tmp_path: Path) -> None:
    for command in ("verify", "prune"):
        result = run("store", command, tmp_path / "nowhere")
        assert result.exit_code == 1
        assert result.stderr.startswith(f"There is no folder {tmp_path / 'nowhere'}.")

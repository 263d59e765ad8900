"""The store of embeddings: each is written once, found by any process, and none is taken for another."""

import json
import subprocess
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch

from otoscribe.errors import RunError
from otoscribe.train import shards
from otoscribe.train.shards import RECORD, Embedding, index_of, values_of
from otoscribe.train.store import Store
from support.embeddings import DESCRIPTION, WIDTH, KilledError, equal, filled, key, made, the_shard


def test_what_was_added_is_found_by_the_same_and_by_another_process(tmp_path: Path) -> None:
    # A new store stands for a new process.
    for store in (filled(tmp_path), Store(tmp_path, DESCRIPTION)):
        for number in range(3):
            assert key(number) in store
            assert equal(store[key(number)], made(number))
        assert key(3) not in store
        with pytest.raises(KeyError):
            store[key(3)]
    assert json.loads((the_shard(tmp_path).parent / "recipe.json").read_text()) == {
        **DESCRIPTION,
        "format": 1,
        "stored": "float32",
    }


def test_what_another_process_adds_is_seen_at_once(tmp_path: Path) -> None:
    early = Store(tmp_path, DESCRIPTION)
    assert key(0) not in early
    with Store(tmp_path, DESCRIPTION) as writer:
        for number in range(5):
            writer.add(key(number), made(number))
            assert equal(early[key(number)], made(number))
            assert equal(early[key(0)], made(0))


@pytest.mark.parametrize(
    "change", [{"encoder": "two"}, {"overlap": 0.0}, {"version": 2}, {"more": None}], ids=str
)
def test_whatever_is_described_is_in_the_key(tmp_path: Path, change: dict[str, object]) -> None:
    filled(tmp_path)
    other = Store(tmp_path, {**DESCRIPTION, **change})
    assert key(0) not in other
    other.add(key(0), made(7))
    assert equal(other[key(0)], made(7))
    assert equal(Store(tmp_path, DESCRIPTION)[key(0)], made(0))
    assert len(list(tmp_path.iterdir())) == 2


def test_half_precision_is_stored_apart_and_rounded(tmp_path: Path) -> None:
    filled(tmp_path)
    half = Store(tmp_path, DESCRIPTION, "float16")
    assert key(1) not in half
    half.add(key(1), made(1))
    found = half[key(1)]
    assert found.values.dtype == np.float16
    assert (found.values == made(1).values.astype(np.float16)).all()
    assert (found.times == made(1).times).all()
    with pytest.raises(RunError, match="holds numbers that float16 cannot"):
        half.add(key(2), Embedding(np.full((1, WIDTH), 1e5, np.float32), made(0).times))


def test_reading_copies_nothing_and_writing_reaches_no_disk(tmp_path: Path) -> None:
    filled(tmp_path)
    before = values_of(the_shard(tmp_path)).read_bytes()
    store = Store(tmp_path, DESCRIPTION)
    first, second = store[key(1)].values, store[key(2)].values
    assert np.shares_memory(first, store[key(1)].values)  # one map
    assert not first.flags.owndata
    tensor = torch.from_numpy(second)  # no warning: it may be written to
    assert tensor.data_ptr() == second.ctypes.data
    assert second.ctypes.data % 16 == 0
    tensor.zero_()
    assert values_of(the_shard(tmp_path)).read_bytes() == before


def resident(folder: Path) -> int:
    """Return how many kB of the embeddings in a folder this process holds in memory."""
    total, counts = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if "-" in line.split(" ")[0]:
            counts = line.endswith(".values") and str(folder) in line
        elif counts and line.startswith("Rss:"):
            total += int(line.split()[1])
    return total


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="Only Linux tells what is in memory.")
def test_what_was_read_is_held_until_it_is_released(tmp_path: Path) -> None:
    large = Embedding(np.ones((4000, WIDTH), np.float32), np.zeros((4000, 2)))
    with Store(tmp_path, DESCRIPTION) as store:
        store.add(key(0), large)
        values = store[key(0)].values
        assert resident(tmp_path) == 0
        assert values.sum() == values.size
        assert resident(tmp_path) >= values.nbytes // 1024
        store.release()
        assert resident(tmp_path) == 0
        assert values.sum() == values.size


@pytest.fixture
def killed_after(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Return what lets the process be killed once so many bytes more were written, to either file."""
    write_all = shards.write_all

    def arrange(count: int) -> None:
        left = count

        def write(file: int, data: bytes) -> None:
            nonlocal left
            write_all(file, data[:left])
            left -= len(data)
            if left < 0:
                raise KilledError

        monkeypatch.setattr(shards, "write_all", write)

    return arrange


BODY = 2 * (16 + WIDTH * 4)
"""Bytes of the times and values of embedding 1, which begin at a multiple of 64, 32 after the last one."""


@pytest.mark.parametrize("count", [*range(32 + BODY + RECORD.size + 1)])
def test_a_process_killed_at_any_byte_leaves_what_was_whole(
    tmp_path: Path, killed_after: Callable[[int], None], count: int
) -> None:
    with Store(tmp_path, DESCRIPTION) as store:
        store.add(key(0), made(0))
        killed_after(count)
        if count < 32 + BODY + RECORD.size:
            with pytest.raises(KilledError):
                store.add(key(1), made(1))
        else:
            store.add(key(1), made(1))
    killed_after(1 << 20)
    with Store(tmp_path, DESCRIPTION) as after:
        assert equal(after[key(0)], made(0))
        assert (key(1) in after) == (count == 32 + BODY + RECORD.size)
        for number in (1, 2):
            after.add(key(number), made(number))
    again = Store(tmp_path, DESCRIPTION)
    assert all(equal(again[key(number)], made(number)) for number in range(3))


@pytest.mark.parametrize("file", [values_of, index_of])
def test_a_file_cut_at_any_byte_of_the_last_record_keeps_the_others(
    tmp_path: Path, file: Callable[[Path], Path]
) -> None:
    filled(tmp_path)
    path = file(the_shard(tmp_path))
    whole = path.read_bytes()
    last = 3 * (16 + WIDTH * 4) if file is values_of else RECORD.size
    for size in range(len(whole) - last, len(whole)):
        path.write_bytes(whole[:size])
        store = Store(tmp_path, DESCRIPTION)
        assert equal(store[key(0)], made(0))
        assert equal(store[key(1)], made(1))
        if file is values_of:
            with pytest.warns(UserWarning, match="is damaged and is computed again"):
                assert key(2) not in store
        assert key(2) not in store


@pytest.mark.parametrize("file", [values_of, index_of])
def test_any_flipped_byte_costs_one_embedding_and_gives_no_wrong_one(
    tmp_path: Path, file: Callable[[Path], Path]
) -> None:
    filled(tmp_path)
    path = file(the_shard(tmp_path))
    whole = path.read_bytes()
    for at in range(len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :])
        store = Store(tmp_path, DESCRIPTION)
        with (
            pytest.warns(UserWarning, match="damaged")
            if file is values_of and not is_gap(at)
            else nullcontext()
        ):
            left = [number for number in range(3) if key(number) in store]
        assert len(left) == (3 if file is values_of and is_gap(at) else 2)
        assert all(equal(store[key(number)], made(number)) for number in left)


def is_gap(at: int) -> bool:
    """Tell whether a byte of the values lies between two embeddings."""
    return not any(start <= at < start + size for start, size in ((0, 32), (64, 64), (128, 96)))


def test_a_damaged_embedding_is_reported_once_and_another_copy_found(tmp_path: Path) -> None:
    filled(tmp_path)
    damaged = values_of(the_shard(tmp_path))
    damaged.write_bytes(bytes(damaged.stat().st_size))
    with Store(tmp_path, DESCRIPTION) as store:
        with pytest.warns(UserWarning, match="otoscribe store verify"):
            assert key(0) not in store
        assert key(0) not in store  # and no warning
        store.add(key(0), made(0))
        assert equal(store[key(0)], made(0))


def test_a_recipe_that_was_changed_is_refused(tmp_path: Path) -> None:
    filled(tmp_path)
    recipe = the_shard(tmp_path).parent / "recipe.json"
    recipe.write_text(recipe.read_text().replace("one", "two"))
    with pytest.raises(RunError, match=r"recipe\.json is damaged: .*Delete "):
        Store(tmp_path, DESCRIPTION)


def test_a_full_disk_is_an_error_and_costs_nothing_that_was_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = filled(tmp_path, range(1))
    write_all = shards.write_all

    def full_disk(file: int, data: bytes) -> None:
        write_all(file, data[:-5])
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as during:
        during.setattr(shards, "write_all", full_disk)
        with pytest.raises(RunError, match=r"cannot be stored in .*: no space left on device\. Free space"):
            store.add(key(1), made(1))
    with store:
        store.add(key(2), made(2))  # in a new shard
    after = Store(tmp_path, DESCRIPTION)
    assert [number for number in range(3) if key(number) in after] == [0, 2]
    assert equal(after[key(2)], made(2))


def test_a_folder_that_is_a_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(RunError, match="choose another folder"):
        Store(tmp_path / "file", DESCRIPTION).add(key(0), made(0))


WRITER = """
import sys
from pathlib import Path
sys.path[:] = sys.argv[2:]
from support.embeddings import DESCRIPTION, key, made
from otoscribe.train.store import Store

folder = Path(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
computed = 0
with Store(folder, DESCRIPTION) as store:
    for number in range(200):
        if key(number) not in store:
            store.add(key(number), made(number))
            computed += 1
print(computed)
"""


def test_two_processes_write_at_once(tmp_path: Path) -> None:
    start = [sys.executable, "-c", WRITER, str(tmp_path / "store"), *sys.path]
    writers = [
        subprocess.Popen(start, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    for writer in writers:
        assert writer.stdout
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        assert writer.stdin
        writer.stdin.write("go\n")
        writer.stdin.flush()
    counts = [int(writer.communicate()[0]) for writer in writers]
    assert [writer.returncode for writer in writers] == [0, 0]
    assert 200 <= sum(counts) <= 400
    store = Store(tmp_path / "store", DESCRIPTION)
    assert all(equal(store[key(number)], made(number)) for number in range(200))

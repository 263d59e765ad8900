"""Upkeep of the store: damage is found, what nothing reads is freed, and nothing else is lost."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from otoscribe.errors import RunError
from otoscribe.train import shards
from otoscribe.train.shards import RECORD, index_of, shards_in, values_of
from otoscribe.train.store import Store
from otoscribe.train.upkeep import Contents, prune, verify
from support.embeddings import DESCRIPTION, KilledError, equal, filled, key, made, the_shard


def keep(recipe: Mapping[str, Any]) -> bool:
    return False


def the_contents(folder: Path) -> Contents:
    (contents,) = verify(folder)
    return contents


def has_all(folder: Path, count: int) -> bool:
    store = Store(folder, DESCRIPTION)
    return all(key(number) in store and equal(store[key(number)], made(number)) for number in range(count))


def test_a_whole_store_is_described(tmp_path: Path) -> None:
    filled(tmp_path)
    filled(tmp_path, range(2, 5))
    found = the_contents(tmp_path)
    assert (found.embeddings, found.copies, found.damaged, found.shards) == (5, 1, 0, 2)
    assert found.recipe == {**DESCRIPTION, "format": 1, "stored": "float32"}
    assert found.bytes == sum(path.stat().st_size for path in found.folder.iterdir())


@pytest.mark.parametrize("file", [values_of, index_of])
def test_every_damaged_byte_is_found(tmp_path: Path, file: Callable[[Path], Path]) -> None:
    filled(tmp_path, range(1))
    path = file(the_shard(tmp_path))
    whole = path.read_bytes()
    for at in range(len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 16]) + whole[at + 1 :])
        found = the_contents(tmp_path)
        assert (found.embeddings, found.damaged) == (0, 1)
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        found = the_contents(tmp_path)
        assert found.embeddings == 0
        assert found.damaged == (1 if file is values_of else 0)  # half a record is none
    path.unlink()
    assert the_contents(tmp_path).embeddings == 0


def test_a_damaged_recipe_is_found_and_its_embeddings_go(tmp_path: Path) -> None:
    filled(tmp_path)
    recipe = the_shard(tmp_path).parent / "recipe.json"
    recipe.write_text(recipe.read_text().replace("one", "two"))
    found = the_contents(tmp_path)
    assert (found.recipe, found.embeddings, found.damaged) == (None, 0, 3)
    assert [freed for _, freed in prune(tmp_path, keep)] == [found.bytes]
    assert list(tmp_path.iterdir()) == []


def test_pruning_leaves_one_shard_with_each_whole_embedding_once(tmp_path: Path) -> None:
    filled(tmp_path)
    filled(tmp_path, range(1, 6))
    first = shards_in(the_contents(tmp_path).folder)[0]
    values_of(first).write_bytes(values_of(first).read_bytes() + b"left by a killed process")
    index_of(first).write_bytes(index_of(first).read_bytes() + bytes(RECORD.size - 1))
    (first.parent / "stray.values").write_bytes(b"left by a killed prune")
    before = the_contents(tmp_path)
    ((_, freed),) = prune(tmp_path, keep)
    after = the_contents(tmp_path)
    assert (after.embeddings, after.copies, after.damaged, after.shards) == (6, 0, 0, 1)
    assert freed == before.bytes - after.bytes > 0
    assert has_all(tmp_path, 6)
    shard = the_shard(tmp_path)
    assert [freed for _, freed in prune(tmp_path, keep)] == [0]
    assert the_shard(tmp_path) == shard  # what is tidy is not written again


def test_pruning_frees_what_is_damaged(tmp_path: Path) -> None:
    filled(tmp_path)
    path = values_of(the_shard(tmp_path))
    path.write_bytes(b"!" + path.read_bytes()[1:])
    list(prune(tmp_path, keep))
    found = the_contents(tmp_path)
    assert (found.embeddings, found.damaged) == (2, 0)


def test_outdated_recipes_go(tmp_path: Path) -> None:
    filled(tmp_path)
    with Store(tmp_path, {**DESCRIPTION, "version": 2}) as newer:
        newer.add(key(0), made(0))
    list(prune(tmp_path, lambda recipe: bool(recipe["version"] < 2)))
    assert the_contents(tmp_path).folder == newer.folder


def test_a_shard_that_is_written_to_is_left_alone(tmp_path: Path) -> None:
    filled(tmp_path, range(2))
    writer = Store(tmp_path, DESCRIPTION)
    writer.add(key(2), made(2))
    early = Store(tmp_path, DESCRIPTION)
    view = early[key(0)]
    list(prune(tmp_path, lambda recipe: True))
    assert equal(view, made(0))  # mapped before
    writer.add(key(3), made(3))
    writer.close()
    assert the_contents(tmp_path).embeddings == 2
    found = Store(tmp_path, DESCRIPTION)
    assert equal(found[key(2)], made(2))
    assert equal(found[key(3)], made(3))
    assert key(0) not in found


def test_a_reader_finds_what_was_moved_meanwhile(tmp_path: Path) -> None:
    filled(tmp_path)
    filled(tmp_path, range(3, 6))
    reader = Store(tmp_path, DESCRIPTION)
    assert all(key(number) in reader for number in range(6))  # and nothing is mapped yet
    list(prune(tmp_path, keep))
    assert all(equal(reader[key(number)], made(number)) for number in range(6))


def test_pruning_killed_at_any_write_or_removal_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_all, unlink = shards.write_all, Path.unlink
    steps = 0

    def step(after: int) -> None:
        nonlocal steps
        steps += 1
        if steps > after:
            raise KilledError

    for after in range(40):
        folder = tmp_path / str(after)
        filled(folder, range(4))
        filled(folder, range(2, 6))
        steps = 0
        with monkeypatch.context() as during:

            def writing(file: int, data: bytes, after: int = after) -> None:
                half = len(data) // 2
                write_all(file, data[:half])
                step(after)
                write_all(file, data[half:])

            def unlinking(path: Path, missing_ok: bool = False, after: int = after) -> None:
                step(after)
                unlink(path, missing_ok)

            during.setattr(shards, "write_all", writing)
            during.setattr(Path, "unlink", unlinking)
            try:
                list(prune(folder, keep))
                done = True
            except KilledError:
                done = False
        assert has_all(folder, 6)
        list(prune(folder, keep))
        assert has_all(folder, 6)
        assert the_contents(folder).shards == 1
        if done:
            break
    assert done
    assert after > 10


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    for look in (lambda: verify(tmp_path / "no"), lambda: prune(tmp_path / "no", keep)):
        with pytest.raises(RunError, match="There is no folder"):
            list(look())  # type: ignore[no-untyped-call]

"""What every published data set keeps to; a new one is tested by being there."""

from pathlib import Path

import pytest

from otoscribe.datasets.corpora.base import DATASETS, Dataset, named_splits, read_clips
from otoscribe.errors import TableError, UsageError


@pytest.fixture(params=list(DATASETS))
def dataset(request: pytest.FixtureRequest, tmp_path: Path) -> Dataset:
    return DATASETS[request.param](tmp_path)


def test_it_says_where_it_comes_from(dataset: Dataset) -> None:
    spec = dataset.spec
    assert DATASETS[spec.name] is type(dataset)
    assert spec.recordings
    assert "not stated" not in (spec.citation, spec.licence)
    assert spec.homepage.startswith("https://")
    assert all(count for count in spec.recordings.values())


def test_it_is_fetched_in_a_way_that_can_be_checked_or_says_why_not(dataset: Dataset) -> None:
    spec = dataset.spec
    assert spec.tables or spec.by_hand
    assert spec.archives or spec.by_hand
    files = [*spec.tables, *(archive.file for archive in spec.archives)]
    assert len({file.name for file in files}) == len(files)
    assert len({file.checksum for file in files}) == len(files)
    assert len({archive.folder for archive in spec.archives}) == len(spec.archives)
    assert all(file.urls[0].startswith("https://") for file in files)


def test_without_its_tables_it_says_what_to_do(dataset: Dataset) -> None:
    for split in dataset.spec.recordings:
        with pytest.raises(TableError) as raised:
            dataset.listed(split)
        what = f"otoscribe get {dataset.spec.name}" if dataset.spec.tables else dataset.spec.homepage
        assert what in str(raised.value) or dataset.spec.by_hand in str(raised.value)


def test_a_split_is_named_behind_a_colon(dataset: Dataset) -> None:
    name = dataset.spec.name
    for split, count in dataset.spec.recordings.items():
        (found,) = named_splits(Path(f"{name}:{split}"))
        assert type(found.dataset) is type(dataset)
        assert (found.name, found.split, found.published) == (f"{name}:{split}", split, count)
    assert [found.split for found in named_splits(Path(name))] == list(dataset.spec.recordings)
    with pytest.raises(UsageError, match=f"There is no split of {name} named 'nothing'"):
        read_clips(Path(f"{name}:nothing"))

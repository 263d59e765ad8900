"""Published data sets in their own layouts: captions, recordings and Freesound ids, found by name."""

import json
import shutil
from pathlib import Path

import pytest

from otoscribe.datasets.corpora.audiocaps import AudioCaps
from otoscribe.datasets.corpora.base import DATASETS, Dataset, DatasetSpec, named_splits, read_clips
from otoscribe.datasets.corpora.clotho import Clotho
from otoscribe.datasets.corpora.clotho_v1 import ClothoV1
from otoscribe.datasets.corpora.macs import Macs
from otoscribe.datasets.corpora.wavcaps import WavCaps
from otoscribe.datasets.folder import Listed
from otoscribe.errors import TableError, UsageError
from otoscribe.text.vocabulary import UNKNOWN, Vocabulary


@pytest.fixture(scope="module")
def clotho(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with Clotho's tables."""
    folder = tmp_path_factory.mktemp("clotho")
    for table in (shared_data / "captions").glob("clotho_*.csv"):
        shutil.copy(table, folder)
    return folder


def test_the_splits_of_clotho_are_as_large_as_published(clotho: Path) -> None:
    dataset = Clotho(clotho)
    found = {split: dataset.listed(split).captions for split in dataset.spec.recordings}
    assert {split: len(captions) for split, captions in found.items()} == dict(dataset.spec.recordings)
    assert list(dataset.spec.recordings.values()) == [3839, 1045, 1045]
    assert all(len(texts) == 5 for captions in found.values() for texts in captions.values())
    names = [name for captions in found.values() for name in captions]
    assert len(names) - len(set(names)) == 4  # are in two splits, so each has a folder of its own
    assert " Ambience Birds.wav" in found["development"]  # as it is on the disk


def test_the_vocabulary_of_clotho_is_that_of_its_development_split(clotho: Path) -> None:
    dataset = Clotho(clotho)

    def captions(split: str) -> list[str]:
        return [caption for texts in dataset.listed(split).captions.values() for caption in texts]

    vocabulary = Vocabulary.from_captions(captions("development"))
    assert len(vocabulary) == 4365 + 4
    # Its authors cut the splits so that no word is in another split alone.
    for split in dataset.spec.recordings:
        assert all(UNKNOWN not in vocabulary.encode(caption) for caption in captions(split))
    assert len(Vocabulary.from_captions(captions("evaluation"))) == 3516 + 4


def test_the_tables_of_clotho_are_those_that_were_published(clotho: Path) -> None:
    """Of those at hand, which other tools may have given other ends of lines."""
    for dataset in (Clotho(clotho), ClothoV1(clotho)):
        for file in dataset.spec.tables:
            path = clotho / file.name
            if path.is_file() and not file.is_whole_in(clotho):
                path = path.with_suffix(".crlf")
                path.write_bytes((clotho / file.name).read_bytes().replace(b"\n", b"\r\n"))
                with path.open("rb") as content:
                    whole = file.matches(content)
                # Development is there as version 2.1 has its captions and version 1 its metadata.
                other = "metadata" if isinstance(dataset, Clotho) else "captions"
                assert whole or file.name == f"clotho_{other}_development.csv"


def test_freesound_ids_of_clotho_do_not_overlap(clotho: Path) -> None:
    dataset = ClothoV1(clotho)
    development, evaluation = (dataset.origins(split) for split in dataset.spec.recordings)
    assert development["Distorted AM Radio noise.wav"] == "117790"
    assert (len(development), len(evaluation)) == (2889, 1040)  # of the others, no id was found
    assert not set(development.values()) & set(evaluation.values())


def test_a_clip_of_clotho_is_in_the_folder_of_its_split(tmp_path: Path) -> None:
    (tmp_path / "validation").mkdir()
    (tmp_path / "clotho_captions_validation.csv").write_bytes(
        b"file_name,caption_1,caption_2\r\n rain.wav,Rain,Wet\r\n"
    )
    (tmp_path / "clotho_metadata_validation.csv").write_bytes(
        b"file_name,keywords,sound_id\r\n rain.wav,caf\xe9,123 \r\nother.wav,,Not found\r\n"
    )
    dataset = Clotho(tmp_path)
    with pytest.raises(TableError, match="None of the 1 recordings"):
        dataset.listed("validation").clips()
    (tmp_path / "validation" / " rain.wav").write_bytes(b"")
    (clip,) = dataset.listed("validation").clips()
    assert clip.path == tmp_path / "validation" / " rain.wav"
    assert dataset.origins("validation") == {" rain.wav": "123"}
    (tmp_path / "clotho_metadata_validation.csv").write_text("name,id\na,1\n")
    with pytest.raises(TableError, match="no CSV with the columns file_name and sound_id"):
        dataset.origins("validation")


def test_the_captions_of_audiocaps_are_those_that_were_published(shared_data: Path, tmp_path: Path) -> None:
    for split in ("train", "val", "test"):
        shutil.copy(shared_data / "captions" / f"audiocaps_{split}.csv", tmp_path / f"{split}.csv")
    dataset = AudioCaps(tmp_path)
    assert all(file.is_whole_in(tmp_path) for file in dataset.spec.tables)
    for split, count in dataset.spec.recordings.items():
        assert len(dataset.listed(split).captions) == count


def test_recordings_of_audiocaps_are_found_as_people_name_them(tmp_path: Path) -> None:
    (tmp_path / "val").mkdir()
    (tmp_path / "val.csv").write_text(
        "audiocap_id,youtube_id,start_time,caption\n"
        "1,rqfQRErjfk8,170,A crowd\n2,rqfQRErjfk8,170,Cheers\n"
        "3,-9PNqjS3jJE,30,A drone\n4,7fmOlUlwoNg,10,Cans\n"
    )
    for name in ("Yrqfqrerjfk8.wav", "YrqfQRErjfk8.wav", "-9PNqjS3jJE_30.flac"):
        (tmp_path / "val" / name).write_bytes(b"")
    listed = AudioCaps(tmp_path).listed("val")
    assert list(listed.captions) == ["YrqfQRErjfk8.wav", "-9PNqjS3jJE_30.flac", "7fmOlUlwoNg"]
    assert listed.captions["YrqfQRErjfk8.wav"] == ("A crowd", "Cheers")
    with pytest.raises(TableError, match=r"Missing are 1 of 3 .*'7fmOlUlwoNg'"):
        listed.clips()


def test_macs_is_read_from_its_yaml(tmp_path: Path) -> None:
    pytest.importorskip("yaml", reason="MACS needs PyYAML, of the extra [data].")
    (tmp_path / "audio" / "9").mkdir(parents=True)
    (tmp_path / "audio" / "9" / "park-a.wav").write_bytes(b"")
    (tmp_path / "MACS.yaml").write_text(
        "files:\n"
        "- filename: park-a.wav\n  annotations:\n  - annotator_id: 1\n    sentence: birds sing\n"
        "    tags: [birds]\n  - annotator_id: 2\n    sentence: people talk\n    tags: []\n"
        "- filename: airport-b.wav\n  annotations:\n  - {annotator_id: 1, sentence: a call, tags: []}\n"
    )
    listed = Macs(tmp_path).listed("all")
    assert listed.captions == {"9/park-a.wav": ("birds sing", "people talk"), "airport-b.wav": ("a call",)}
    assert listed.path_of("9/park-a.wav") == tmp_path / "audio" / "9" / "park-a.wav"
    (tmp_path / "MACS.yaml").write_text("files: 3\n")
    with pytest.raises(TableError, match=r"is not the MACS\.yaml that was published"):
        Macs(tmp_path).listed("all")


def test_wavcaps_is_read_from_its_json(tmp_path: Path) -> None:
    for split, name, entry in (
        ("FreeSound", "fsd_final.json", {"id": "123", "caption": "Rain."}),
        ("AudioSet_SL", "as_final.json", {"id": "Yabc.wav", "caption": "A dog."}),
    ):
        table = tmp_path / "json_files" / split / name
        table.parent.mkdir(parents=True)
        table.write_text(json.dumps({"num_captions_per_audio": 1, "data": [entry]}))
    dataset = WavCaps(tmp_path)
    assert dataset.listed("FreeSound").captions == {"123.flac": ("Rain.",)}
    assert dataset.listed("FreeSound").folder == tmp_path / "FreeSound"
    assert dataset.origins("FreeSound") == {"123.flac": "123"}
    assert dataset.listed("AudioSet_SL").captions == {"Yabc.flac": ("A dog.",)}
    assert dataset.origins("AudioSet_SL") == {}
    table.write_text("{}")
    with pytest.raises(TableError, match="is not the table that was published"):
        dataset.listed("AudioSet_SL")


class Mine(Dataset):
    """One of somebody's own."""

    spec = DatasetSpec(name="mine", recordings={"all": None, "none": 0})

    def listed(self, split: str) -> Listed:
        return Listed(Path("table"), self.folder, {"a.wav": ("Rain",)})


def test_one_of_your_own_is_named_by_its_module(own_cache: None, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "my_data", sys.modules[__name__])
    (found,) = named_splits(Path("my_data:Mine:all"))
    assert type(found.dataset) is Mine
    assert (found.published, found.origins()) == (None, {})
    assert [split.name for split in named_splits(Path("my_data:Mine"))] == [
        "my_data:Mine:all",
        "my_data:Mine:none",
    ]
    found.dataset.folder.mkdir(parents=True)
    (found.dataset.folder / "a.wav").write_bytes(b"")
    (clip,) = read_clips(Path("my_data:Mine:all"))
    assert clip.captions == ("Rain",)


def test_a_path_comes_before_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert "clotho" in DATASETS
    for name in ("clotho", "clotho:development", "recordings:old", "recordings/new:1/table.csv"):
        Path(name).mkdir(parents=True)
        assert named_splits(Path(name)) == []
    assert named_splits(Path("recordings/new:1/no.csv")) == []


def test_of_several_splits_one_must_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        UsageError, match=r"clotho_v1 is a data set\. Name one .*: clotho_v1:development, clotho_v1:ev"
    ):
        read_clips(Path("clotho_v1"))
    with pytest.raises(TableError, match=r"There is no .*MACS\.yaml"):  # it has only one
        read_clips(Path("macs"))

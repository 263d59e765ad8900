"""MACS: 10 s of a city's airports, parks and squares each, with two to five captions."""

from pathlib import Path

from otoscribe.datasets.corpora.base import Dataset, DatasetSpec
from otoscribe.datasets.folder import Listed
from otoscribe.datasets.zenodo import published
from otoscribe.errors import TableError
from otoscribe.fetch.collection import Archive
from otoscribe.text.tables import Captions

_PARTS = {
    1: "aca4ebfd9ed03d5f747d6ba8c24bc728",
    2: "c4f170408ce77c8c70c532bf268d7be0",
    3: "c7214a07211f10f3250290d05e72c37e",
    9: "3c32a693a6b111ffb957be3c1dd22e9b",
    10: "0ffbf60006da520cc761fb74c878b98b",
    11: "599055d93b4c11057c29be2df54538d4",
    12: "98b8d162ff3665695c4c910e6c372cc8",
    13: "a356c08b1a5a21d433eba37ef87587f4",
}
"""MD5 of the archives of TAU Urban Acoustic Scenes 2019 that hold recordings of MACS."""

SPEC = DatasetSpec(
    name="macs",
    citation="Martin, Mesaros: Diversity and bias in audio captioning datasets. DCASE 2021",
    licence="non-commercial",
    homepage="https://zenodo.org/records/5114771",
    recordings={"all": 3930},
    # MD5s as Zenodo shows them.
    tables=(
        published(5114771, "LICENSE.txt", None, "d3086f4517cccc32c1bb3a081b07cfa1"),
        published(5114771, "MACS.yaml", None, "23fcb2ebd0b109094034ef9e87972256"),
        published(5114771, "MACS_competence.csv", None, "4dfe9f951f0af9f29cb7952ec030370a"),
    ),
    archives=tuple(
        Archive(
            published(2589280, f"TAU-urban-acoustic-scenes-2019-development.audio.{part}.zip", None, md5),
            f"audio/{part}",
        )
        for part, md5 in _PARTS.items()
    ),
)


class Macs(Dataset):
    """MACS, as `otoscribe get macs` brings it."""

    spec = SPEC

    def listed(self, split: str) -> Listed:
        """Read the captions, and find in which archive's folder each recording is."""
        table = self.table("MACS.yaml")
        folder = self.folder / "audio"
        there = {path.name: path.relative_to(folder).as_posix() for path in folder.glob("*/*.wav")}
        captions = _read_captions(table)
        return Listed(table, folder, {there.get(name, name): texts for name, texts in captions.items()})


def _read_captions(table: Path) -> Captions:
    """Read `files: [{filename: ..., annotations: [{sentence: ...}, ...]}, ...]`."""
    import yaml

    try:
        # The same reader in C, where it was built: ten times as fast.
        content = yaml.load(table.read_bytes(), getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        return {
            str(file["filename"]): tuple(str(one["sentence"]) for one in file["annotations"])
            for file in content["files"]
        }
    except (OSError, UnicodeError, yaml.YAMLError, KeyError, TypeError) as error:
        raise TableError(f"{table} is not the MACS.yaml that was published. Get it again.") from error

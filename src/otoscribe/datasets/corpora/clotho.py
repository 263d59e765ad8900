"""Clotho 2.1: recordings of Freesound, 15 to 30 s, each with five captions."""

from otoscribe.datasets.corpora.base import Dataset, DatasetSpec
from otoscribe.datasets.folder import Listed
from otoscribe.datasets.freesound import freesound_ids
from otoscribe.datasets.zenodo import published
from otoscribe.fetch.collection import Archive
from otoscribe.text.tables import read_references

SPEC = DatasetSpec(
    name="clotho",
    citation="Drossos, Lipping, Virtanen: Clotho: an audio captioning dataset. ICASSP 2020. arXiv:1910.09387",
    licence="non-commercial; recordings CC, each its own",
    homepage="https://zenodo.org/records/4783391",
    recordings={"development": 3839, "validation": 1045, "evaluation": 1045},
    tables=(
        published(4783391, "clotho_captions_development.csv", 1_336_762, "d4090b39ce9f2491908eebf4d5b09bae"),
        published(4783391, "clotho_captions_validation.csv", 367_649, "5879e023032b22a2c930aaa0528bead4"),
        published(4783391, "clotho_captions_evaluation.csv", 361_995, "1b16b9e57cf7bdb7f13a13802aeb57e2"),
        published(4783391, "clotho_metadata_development.csv", 830_797, "170d20935ecfdf161ce1bb154118cda5"),
        published(4783391, "clotho_metadata_validation.csv", 224_803, "2e010427c56b1ce6008b0f03f41048ce"),
        published(4783391, "clotho_metadata_evaluation.csv", 225_311, "13946f054d4e1bf48079813aac61bf77"),
    ),
    archives=(
        Archive(
            published(
                4783391, "clotho_audio_development.7z", 4_541_582_263, "c8b05bc7acdb13895bb3c6a29608667e"
            ),
            "development",
        ),
        Archive(
            published(
                4783391, "clotho_audio_validation.7z", 1_260_701_425, "7dba730be08bada48bd15dc4e668df59"
            ),
            "validation",
        ),
        Archive(
            published(4783391, "clotho_audio_evaluation.7z", None, "4569624ccadf96223f19cb59fe4f849f"),
            "evaluation",
        ),
    ),
)


class Clotho(Dataset):
    """Version 2.1, which the paper of this system uses."""

    spec = SPEC

    def listed(self, split: str) -> Listed:
        """Read the captions; the recordings are in the folder that is named by the split."""
        table = self.table(f"clotho_captions_{split}.csv")
        return Listed(table, self.folder / split, read_references(table))

    def origins(self, split: str) -> dict[str, str]:
        """Read the Freesound ids."""
        return freesound_ids(self.table(f"clotho_metadata_{split}.csv"))

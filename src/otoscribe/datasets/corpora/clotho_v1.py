"""Clotho 1: the first version, with a smaller development split and none for validation."""

from otoscribe.datasets.corpora.base import Dataset, DatasetSpec
from otoscribe.datasets.folder import Listed
from otoscribe.datasets.freesound import freesound_ids
from otoscribe.datasets.zenodo import published
from otoscribe.fetch.collection import Archive
from otoscribe.text.tables import read_references

SPEC = DatasetSpec(
    name="clotho_v1",
    citation="Drossos, Lipping, Virtanen: Clotho: an audio captioning dataset. ICASSP 2020. arXiv:1910.09387",
    licence="non-commercial; recordings CC, each its own",
    homepage="https://zenodo.org/records/3490684",
    recordings={"development": 2893, "evaluation": 1045},
    tables=(
        published(3490684, "clotho_captions_development.csv", None, "dd568352389f413d832add5cf604529f"),
        published(3490684, "clotho_captions_evaluation.csv", 361_995, "1b16b9e57cf7bdb7f13a13802aeb57e2"),
        published(3490684, "clotho_metadata_development.csv", 624_848, "582c18ee47cebdbe33dce1feeab53a56"),
        published(3490684, "clotho_metadata_evaluation.csv", 225_311, "13946f054d4e1bf48079813aac61bf77"),
    ),
    archives=(
        Archive(
            published(3490684, "clotho_audio_development.7z", None, "e3ce88561b317cc3825e8c861cae1ec6"),
            "development",
        ),
        Archive(
            published(3490684, "clotho_audio_evaluation.7z", None, "4569624ccadf96223f19cb59fe4f849f"),
            "evaluation",
        ),
    ),
)


class ClothoV1(Dataset):
    """Version 1; its evaluation split is that of version 2.1."""

    spec = SPEC

    def listed(self, split: str) -> Listed:
        """Read the captions; the recordings are in the folder that is named by the split."""
        table = self.table(f"clotho_captions_{split}.csv")
        return Listed(table, self.folder / split, read_references(table))

    def origins(self, split: str) -> dict[str, str]:
        """Read the Freesound ids."""
        return freesound_ids(self.table(f"clotho_metadata_{split}.csv"))

"""WavCaps: 400,000 recordings of four sources, with captions that a language model made of their texts."""

import json
from pathlib import Path

from otoscribe.datasets.corpora.base import Dataset, DatasetSpec
from otoscribe.datasets.folder import Listed
from otoscribe.errors import TableError
from otoscribe.text.tables import Captions

_TABLES = {
    "AudioSet_SL": "as_final.json",
    "BBC_Sound_Effects": "bbc_final.json",
    "FreeSound": "fsd_final.json",
    "SoundBible": "sb_final.json",
}

SPEC = DatasetSpec(
    name="wavcaps",
    citation="Mei et al.: WavCaps: a ChatGPT-assisted weakly-labelled audio captioning dataset for "
    "audio-language multimodal research. IEEE/ACM TASLP 2024. arXiv:2303.17395",
    licence="CC BY 4.0 by its tag, academic use by its text",
    homepage="https://huggingface.co/datasets/cvssp/WavCaps",
    # As others counted the entries of its tables; its card says 31,291 for the BBC.
    recordings={"AudioSet_SL": 108317, "BBC_Sound_Effects": 31201, "FreeSound": 262300, "SoundBible": 1232},
    by_hand="No checksum of its files is known here, so nothing is fetched. Copy json_files and Zip_files "
    "from its homepage (huggingface-cli download --repo-type dataset cvssp/WavCaps), join and unpack the "
    "archives (zip -FF SOURCE.zip --out JOINED.zip), and put the .flac files into folders AudioSet_SL, "
    "BBC_Sound_Effects, FreeSound and SoundBible beside json_files.",
)


class WavCaps(Dataset):
    """WavCaps, unpacked by hand."""

    spec = SPEC

    def listed(self, split: str) -> Listed:
        """Read the captions; the recordings are in the folder that is named by the source."""
        table = self.table(f"json_files/{split}/{_TABLES[split]}")
        captions: Captions = {f"{name}.flac": (text,) for name, text in _read_captions(table).items()}
        return Listed(table, self.folder / split, captions)

    def origins(self, split: str) -> dict[str, str]:
        """Return the ids, which name the recordings of Freesound."""
        if split != "FreeSound":
            return {}
        return {name: name.removesuffix(".flac") for name in self.listed(split).captions}


def _read_captions(table: Path) -> dict[str, str]:
    """Read `{"data": [{"id": ..., "caption": ...}, ...]}`."""
    try:
        entries = json.loads(table.read_text(encoding="utf-8"))["data"]
        return {str(entry["id"]).removesuffix(".wav"): str(entry["caption"]) for entry in entries}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TableError(f"{table} is not the table that was published. Get it again.") from error

"""AudioCaps: 10 s of YouTube each, labelled in AudioSet, with one caption in training and five elsewhere."""

from otoscribe.datasets.corpora.base import Dataset, DatasetSpec
from otoscribe.datasets.folder import Listed
from otoscribe.fetch.published import PublishedFile
from otoscribe.text.names import match
from otoscribe.text.tables import clip_starts, read_references

_URL = "https://raw.githubusercontent.com/cdjkim/audiocaps/d004db3ea1b01cf4fd0347dd8d27db90cadc8809/dataset/"


def _published(name: str, size: int, sha256: str) -> PublishedFile:
    return PublishedFile(name, (f"{_URL}{name}",), size, f"sha256:{sha256}")


SPEC = DatasetSpec(
    name="audiocaps",
    citation="Kim, Kim, Lee, Kim: AudioCaps: generating captions for audios in the wild. NAACL-HLT 2019",
    licence="MIT, academic purposes only",
    homepage="https://github.com/cdjkim/audiocaps",
    # Version 1. Clips, of which many are gone from YouTube by now.
    recordings={"train": 49838, "val": 495, "test": 975},
    # SHA-256 of the files at that commit, as computed from it; GitHub itself shows none.
    tables=(
        _published(
            "train.csv", 3_576_723, "c0c5223db682b3bf724ce7e7ce58d5b36929f74572e8526a7211f92d2eef7c8e"
        ),
        _published("val.csv", 171_918, "dab1c96641d5f3053ddb99dca3949450da9a75737bda53e11cc0aa8b102be0c3"),
        _published("test.csv", 402_246, "b91c4b7ded2f4f6e7db5b9c4983dc1e1dca3d556f505b61e3fd65cac7e1c638a"),
    ),
    by_hand="It brings the captions; nobody may publish the recordings. Put those that you have into a "
    "folder train, val or test beside the tables, named by the YouTube id: <id>.wav, Y<id>.flac, "
    "<id>_<start>.wav.",
)


class AudioCaps(Dataset):
    """Captions from `otoscribe get audiocaps`, recordings from elsewhere."""

    spec = SPEC

    def listed(self, split: str) -> Listed:
        """Read the captions, and find the recording of each clip by its YouTube id and start."""
        table = self.table(f"{split}.csv")
        folder = self.folder / split
        captions = read_references(table)
        there = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
        files = {clip: name for name, clip in match(there, captions, clip_starts(table)).items()}
        return Listed(table, folder, {files.get(clip, clip): texts for clip, texts in captions.items()})

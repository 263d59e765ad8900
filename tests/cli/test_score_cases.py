"""Tables that people report elsewhere to fail, scored by the command."""

import csv
from pathlib import Path

import pytest
from typer.testing import CliRunner

from otoscribe.cli.main import app
from otoscribe.metrics import Scorer

CASES = Path(__file__).parent / "cases"
DOG_AND_RAIN = (["A dog barks", "Rain falls"], ["a dog barks", "rain falls"])
METRICS = "bleu_1,rouge_l,cider_d"


@pytest.mark.parametrize(
    ("candidates", "references", "texts", "names", "message"),
    [
        ("F09_two_headers", "F09_ref", DOG_AND_RAIN, ["a.wav", "b.wav"], ""),
        (
            "F10_name_not_utf8",
            "F10_ref",
            (["Rain falls"], ["rain falls"]),
            ["b.wav"],
            "Left out, because no reference is about them: 1 of 2 candidates, 'bad\\udcff.wav'.\n",
        ),
        ("F21_absolute", "F21_ref", DOG_AND_RAIN, ["park/a.wav", "street/a.wav"], ""),
        ("F21_dot", "F21_ref", DOG_AND_RAIN, ["park/a.wav", "street/a.wav"], ""),
        ("F22_nfd", "F22_nfc_ref", (["People talk"], ["people talk"]), ["Caf\xe9.wav"], ""),
        ("F22_nfc_ref", "F22_nfd", (["people talk"], ["People talk"]), ["Cafe\u0301.wav"], ""),
    ],
)
def test_a_case_is_scored_as_its_texts_are(
    tmp_path: Path,
    candidates: str,
    references: str,
    texts: tuple[list[str], list[str]],
    names: list[str],
    message: str,
) -> None:
    per_clip = tmp_path / "clips.csv"
    tables = [str(CASES / f"{name}.csv") for name in (candidates, references)]
    ran = CliRunner().invoke(app, ["score", *tables, "--metrics", METRICS, "--per-clip", str(per_clip)])
    assert ran.exit_code == 0
    assert ran.stderr.startswith(message)
    with Scorer([[text] for text in texts[0]], METRICS.split(",")) as scorer:
        expected = scorer.score(texts[1])
    for metric in METRICS.split(","):
        assert f"{metric:7}  {expected[metric].value:6.4f}" in ran.stdout
    with per_clip.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["file_name"] for row in rows] == names
    assert [float(row["cider_d"]) for row in rows] == list(expected.per_clip["cider_d"])


def test_a_name_that_is_no_text_comes_out_as_it_went_in(tmp_path: Path) -> None:
    references, per_clip = tmp_path / "references.csv", tmp_path / "clips.csv"
    references.write_bytes(b"file_name,caption_1\nb.wav,Rain falls\nbad\xff.wav,A dog barks\n")
    tables = [str(CASES / "F10_name_not_utf8.csv"), str(references)]
    ran = CliRunner().invoke(app, ["score", *tables, "--metrics", "bleu_1", "--per-clip", str(per_clip)])
    assert (ran.exit_code, ran.stderr) == (0, "")
    assert b"\nbad\xff.wav,0.99999" in per_clip.read_bytes()

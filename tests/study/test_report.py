"""A report: the published Table 2, honest marks, odd names, well-formed files that need nothing else."""

import csv
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest

from otoscribe.errors import OtoscribeError, UsageError
from otoscribe.study.findings import Findings, NotRun, Report, Sample
from otoscribe.study.published import TABLE_2
from otoscribe.study.report import write_report
from otoscribe.study.scores import Score, ScoreTable, read_scores
from otoscribe.study.sections import text_of
from otoscribe.study.statistics import Comparison
from otoscribe.study.wording import setting_name
from support.made_up_study import PAPER_AXES, PAPER_GRID, made_up_scores, paper_scores

VOID = {"meta", "br", "hr", "img", "input", "link"}


class Reading(HTMLParser):
    """Reads a page strictly: every element is closed in its order. Keeps tables, texts and attributes."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tables: dict[str, list[list[str]]] = {}
        self.attributes: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.caption = ""
        self.feed(html)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "caption":
            self.caption = ""
        elif tag == "tr":
            self.tables[self.caption].append([])
        elif tag in ("td", "th"):
            self.tables[self.caption][-1].append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag
        if tag == "caption":
            self.tables[self.caption] = []

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("style", "script"):
            self.text.append(data)
        if "caption" in self.open:
            self.caption += data
        elif "tr" in self.open and self.open[-1] in ("td", "th", "code"):
            self.tables[self.caption][-1][-1] += data


def report_of(folder: Path, table: ScoreTable, **more: object) -> Reading:
    """Write a report, and check what every report must be."""
    findings = Findings(Report(table, **more))  # type: ignore[arg-type]
    write_report(findings, folder)
    page = Reading((folder / "report.html").read_text(encoding="utf-8"))
    ids = [str(attributes["id"]) for _, attributes in page.attributes if "id" in attributes]
    assert len(ids) == len(set(ids))
    for tag, attributes in page.attributes:
        assert tag not in ("link", "img", "iframe", "object", "embed")
        for name, value in attributes.items():
            if name in ("src", "href", "xlink:href", "aria-labelledby", "clip-path"):
                for target in re.findall(r"url\((.*)\)", value or "") or (value or "").split():
                    assert target.removeprefix("#") in ids, (tag, name, value)
            assert not name.startswith("on")
        assert tag != "th" or attributes["scope"] in ("row", "col")
    assert not re.search(
        r"@import|url\(\s*['\"]?(http|//)", (folder / "report.html").read_text(encoding="utf-8")
    )
    markdown = (folder / "report.md").read_text(encoding="utf-8")
    for block in re.findall(r"(?:^\|.*\n)+", markdown, re.MULTILINE):
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}) == 1, block
    for figure in re.findall(r"\]\((figures/.*)\)", markdown):
        drawn = ElementTree.parse(folder / figure).getroot()
        assert drawn.tag == "{http://www.w3.org/2000/svg}svg"
        assert {child.tag.split("}")[1] for child in drawn} >= {"title", "desc"}
    assert read_scores(folder / "scores.csv") == table
    for text in (*page.text, markdown, (folder / "settings.csv").read_text(encoding="utf-8")):
        assert not re.search(r"\b(nan|inf|None)\b", text)
    json.dumps(findings.as_json(), allow_nan=False)
    return page


def published_scores() -> ScoreTable:
    """Return scores whose best settings have the mean and SD of the paper's Table 2."""
    scores = []
    for setting in PAPER_GRID:
        best = TABLE_2[setting[0]]
        is_best = setting[1:] == ("0.5" if best.overlap else "0.0", "attention", "bert", "false")
        mean = best.mean if is_best else best.mean - 0.02
        # Two runs at mean ± SD / sqrt(2) have that SD.
        scores += [Score(setting, at, mean + sign * best.sd / 2**0.5) for at, sign in enumerate((-1, 1))]
    return ScoreTable(PAPER_AXES, "spider", tuple(scores))


def test_the_published_table_2_is_laid_out(tmp_path: Path) -> None:
    page = report_of(tmp_path, published_scores(), planned=2640)
    table = page.tables["The setting of the highest mean for each value of encoder"]
    ours = [[cell.replace("\u00a0", " ") for cell in row] for row in table]
    bert = ["attention", "bert", "fixed"]
    assert [row[:6] + row[-1:] for row in ours[1:]] == [
        ["yamnet †", "50 %", *bert, "0.1793 ± 0.0066", "0.1793 ± 0.0066 †"],
        ["vggish *", "none", *bert, "0.1677 ± 0.0052", "0.1677 ± 0.0052 *"],
        ["openl3 *", "none", *bert, "0.1620 ± 0.0051", "0.1620 ± 0.0051 *"],
        ["coala †", "50 %", *bert, "0.1495 ± 0.0044", "0.1495 ± 0.0044 †"],
    ]
    text = "".join(page.text)
    assert "the best single run had 0.1914" in text
    assert "W = 84, p < 8.08\u00d710⁻⁷" in text.replace(
        "\u00a0", " "
    )  # with nothing at which a line may break
    assert "this report rests on 528 of 2640 planned runs" in text
    assert "chosen by the same mean" in text
    assert "made-up" not in text
    assert {drawn.name for drawn in (tmp_path / "figures").iterdir()} == {
        "box-1.svg",
        "box-2.svg",
        "box-3.svg",
    }


def test_another_metric_has_no_published_figures(tmp_path: Path) -> None:
    table = published_scores()
    page = report_of(tmp_path, ScoreTable(table.axes, "fense", table.scores))
    assert "published" not in "".join(page.text)


@pytest.mark.parametrize(
    ("old", "new", "more"),
    [
        ("mlp", "evidence", {}),  # of scores from anywhere, all values have to be the paper's
        ("0.5", "0.25", {}),
        ("", "", {"on_clotho": False}),
    ],
)
def test_other_data_have_no_published_figures(
    tmp_path: Path, old: str, new: str, more: dict[str, bool]
) -> None:
    table = published_scores()
    scores = [
        replace(score, setting=tuple(value.replace(old, new) if old else value for value in score.setting))
        for score in table.scores
    ]
    page = report_of(tmp_path, ScoreTable(table.axes, "spider", tuple(scores)), **more)
    assert "published" not in "".join(page.text)


def test_clothos_own_split_has_the_published_figures_whatever_else_is_compared(tmp_path: Path) -> None:
    scores = (Score(("yamnet", "9"), 0, 0.1), Score(("aisfx", "9"), 0, 0.2))
    page = report_of(tmp_path, ScoreTable(("encoder", "layers"), "spider", scores), on_clotho=True)
    best = page.tables["The setting of the highest mean for each value of encoder"]
    assert [row[-1] for row in best] == ["published", "\u2013", "0.1793 ± 0.0066 †"]


def test_values_that_the_paper_has_one_word_for_stay_apart(tmp_path: Path) -> None:
    settings = [(value, words) for value in ("0", "0.0", "0.5", "-1") for words in ("a", "b")]
    scores = tuple(Score(setting, 0, at / 10) for at, setting in enumerate(settings))
    page = report_of(tmp_path, ScoreTable(("overlap", "words"), "spider", scores))
    (rows,) = (rows for caption, rows in page.tables.items() if caption.startswith("All"))
    assert {row[1] for row in rows[1:]} == {"0", "0.0", "50\u00a0%", "-1"}
    drawn = (tmp_path / "figures" / "box-1.svg").read_text(encoding="utf-8")
    assert drawn.count(" of 1;") + drawn.count(" of 1.") == 8


def test_what_people_write_for_overlap_and_tuned_is_understood(tmp_path: Path) -> None:
    words = {"0.0": "0 %", "0.5": "50%", "false": "fixed", "true": "tuned"}
    scores = []
    for score in published_scores().scores:
        scores.append(replace(score, setting=tuple(words.get(value, value) for value in score.setting)))
    page = report_of(tmp_path, ScoreTable(PAPER_AXES, "spider", tuple(scores)))
    assert "0.1793 ± 0.0066 †" in page.tables["The setting of the highest mean for each value of encoder"][1]
    scores = [
        replace(score, setting=(*score.setting[:-1], "n/a")) if "bert" in score.setting else score
        for score in scores
    ]
    page = report_of(tmp_path, ScoreTable(PAPER_AXES, "spider", tuple(scores)))
    tests = page.tables["Claims and their tests"]
    assert [row[:3] for row in tests[1:]] == [
        *(
            ["tuned > fixed", f"words {word}", "24"]
            for word in ("random", "cbow", "word2vec", "glove", "fasttext")
        ),
        *(
            ["overlap: 50\u00a0% > none", f"encoder {one}", "33"]
            for one in ("coala", "openl3", "vggish", "yamnet")
        ),
    ]
    best = page.tables["The setting of the highest mean for each value of encoder"]
    assert best[1][:2] == ["yamnet †", "50\u00a0%"]
    findings = Findings(Report(ScoreTable(PAPER_AXES, "spider", tuple(scores))))
    names = [setting_name(findings, one.setting) for one in findings.settings]
    assert names[0] == "encoder yamnet, overlap 50\u00a0%, adapter attention, words bert, tuned n/a"
    assert {name.rpartition(", ")[2] for name in names[1:]} == {"tuned n/a", "tuned", "fixed"}


def test_very_many_pairs_have_legible_numbers(tmp_path: Path) -> None:
    settings = [(encoder, f"{at}") for encoder in ("a", "b") for at in range(2100)]
    scores = tuple(Score((one, at), 0, int(at) // 2 + (one == "a")) for one, at in settings)
    claims = (Comparison("encoder", "a", "b"), Comparison("encoder", "b", "a"))
    page = report_of(tmp_path, ScoreTable(("encoder", "at"), "m", scores), comparisons=claims)
    up, down = page.tables["Claims and their tests"][1:]
    assert up[5:8] == ["0", "<\u00a01.0\u00d710⁻³⁰⁰", "<\u00a01.0\u00d710⁻³⁰⁰"]
    assert down[5:8] == ["2206050", "1.0000", "1.0000"]


def test_numbers_of_an_axis_are_sorted_as_numbers(tmp_path: Path) -> None:
    axes = ("overlap", "training.dropout", "words")
    settings = [("0.0", "0.25", "1"), ("0.5", "0.5", "a"), ("0.5", "-1e-05", "b")]
    scores = tuple(Score(setting, 0, 0.1) for setting in settings)
    report_of(tmp_path, ScoreTable(axes, "spider", scores))
    table = (tmp_path / "report.html").read_text(encoding="utf-8").split("lines drawn from")[-1]
    heads = re.findall(r'<th scope="col"( class="number")?>([\w.]+)</th>', table)
    assert [name for numeric, name in heads if numeric][:3] == ["rank", *axes[:2]]
    assert ("", "words") in heads
    rows = [re.findall(r'data-order="(.*?)"', row) for row in table.split("<tr>")[2:]]
    assert [row[1:3] for row in rows] == [["0.0", "0.25"], ["0.5", "0.5"], ["0.5", "-1e-05"]]


def test_planted_effects_are_what_the_report_says(tmp_path: Path) -> None:
    table = paper_scores({"true": 0.01, "bert": 0.05, "attention": 0.01, "yamnet": 0.01})
    page = report_of(tmp_path, table)
    tests = page.tables["Claims and their tests"]
    assert tests[0] == [
        *("claim", "within", "pairs", "n", "difference", "W", "p", "p (Holm)", "effect", "published")
    ]
    assert [row[:4] for row in tests[1:3]] == [
        ["tuned > fixed", "words random", "24", "24"],
        ["tuned > fixed", "words cbow", "24", "24"],
    ]
    assert tests[6][:4] == ["overlap: 50\u00a0% > none", "encoder coala", "33", "33"]
    first = next(
        row for caption, rows in page.tables.items() if caption.startswith("All") for row in rows[1:]
    )
    assert (first[0], first[1], *first[3:6]) == ("1", "yamnet", "attention", "bert", "fixed")
    with (tmp_path / "tests.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 9
    assert all(float(row["holm"]) < 0.05 and float(row["effect"]) > 0.7 for row in rows[:5])
    with (tmp_path / "settings.csv").open(encoding="utf-8", newline="") as file:
        best = next(csv.DictReader(file))
    assert (best["encoder"], best["words"], best["n"], best["made_up_runs"]) == ("yamnet", "bert", "3", "0")


def test_the_same_scores_give_the_same_bytes(tmp_path: Path) -> None:
    settings = [(encoder, adapter) for encoder in ("a", "b") for adapter in ("c", "d")]
    table = made_up_scores(settings, ("encoder", "adapter"), {})
    curves = {setting: [[3.0, 2.0, 1.5], [3.0, 1.0]] for setting in settings}
    for name in ("first", "second"):
        write_report(Findings(Report(table, curves=curves)), tmp_path / name)
    first, second = (sorted(path for path in (tmp_path / name).rglob("*.*")) for name in ("first", "second"))
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
    assert len(first) == 7


def test_figures_of_an_earlier_report_do_not_stay(tmp_path: Path) -> None:
    wide = made_up_scores([("a", "c", "e"), ("b", "d", "f")], ("encoder", "size", "data"), {})
    write_report(Findings(Report(wide, curves={("a", "c", "e"): [[3.0, 2.0]]})), tmp_path)
    (tmp_path / "figures" / "mine.svg").write_text("<svg/>")
    assert len(list((tmp_path / "figures").iterdir())) == 4
    write_report(Findings(Report(made_up_scores([("a",), ("b",)], ("encoder",), {}))), tmp_path)
    assert {path.name for path in (tmp_path / "figures").iterdir()} == {"box-1.svg", "mine.svg"}


def test_made_up_weights_are_marked_wherever_they_are(tmp_path: Path) -> None:
    table = made_up_scores(PAPER_GRID, PAPER_AXES, {}, seeds=2, made_up=["vggish"])
    page = report_of(tmp_path, table)
    assert "Not a result: 132 of 528 runs used made-up weights" in "".join(page.text)
    for rows in page.tables.values():
        about_vggish = [row for row in rows if any("vggish" in cell for cell in row)]
        assert about_vggish
        assert all(any("made-up" in cell for cell in row) for row in about_vggish)
        assert not any(
            "made-up" in cell for row in rows if "encoder yamnet" in row or "yamnet" in row for cell in row
        )
    coloured = sum(attributes.get("class") == "made-up" for tag, attributes in page.attributes if tag == "tr")
    assert coloured == 1 + 5 + 1 + 66  # best of its encoder; tests of word embeddings and of vggish; settings
    markdown = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert markdown.index("> **Not a result:") < 100
    for line in markdown.splitlines():
        assert "vggish" not in line or not line.startswith("|") or "made-up" in line
    for figure in (tmp_path / "figures").iterdir():
        assert "not a result: made-up weights" in figure.read_text(encoding="utf-8")
    assert text_of(Findings(Report(table)))[0].startswith("Not a result")


def test_what_else_a_study_knows_is_shown(tmp_path: Path) -> None:
    table = paper_scores(seeds=2)
    findings = Findings(Report(table))
    curves = {one.setting: [[4.0, 3.5, 3.25], [4.1, 3.6]] for one in findings.settings}
    missing = [
        NotRun(("aisfx", overlap, "mlp", "glove", "true"), "aisfx/weights.pt", "otoscribe get aisfx")
        for overlap in ("0.0", "0.5")
    ]
    missing.append(replace(missing[0], missing="glove.zip", command="otoscribe get glove"))
    page = report_of(
        tmp_path,
        table,
        title="Ours",
        data="Clotho",
        planned=540,
        failed=2,
        not_run=tuple(missing),
        curves=curves,
        samples=(Sample("rain.wav", ("It rains.", "Rain | falls"), "rain falls", "a man speaks"),),
    )
    text = "".join(page.text)
    assert "rests on 528 of 540 planned runs" in text
    assert "Runs that failed and are left out: 2" in text
    assert "Settings that were not run, and are not in this report: 2." in page.text
    row, _ = page.tables["Settings that were not run"][1:]
    assert row == [
        "encoder aisfx, adapter mlp, words glove, tuned",
        "2",
        "aisfx/weights.pt",
        "otoscribe get aisfx",
    ]
    assert page.tables["Captions of the best and the worst setting beside references"][1] == [
        *("rain.wav", "It rains.\nRain | falls", "rain falls", "a man speaks")
    ]
    curve = (tmp_path / "figures" / "curves.svg").read_text(encoding="utf-8")
    assert curve.count("lowest 3.250") == 5  # the best of each encoder, and the worst


@pytest.mark.parametrize(
    "values",
    [[0.1], [0.1, 0.2, 0.3], [0.0], [-3.0, -5.0], [1e-9, 2e-9], [1e6, 2e6], [-1e100, 1e100], [1e-300]],
)
def test_one_setting_alone(tmp_path: Path, values: list[float]) -> None:
    scores = tuple(Score(("only",), seed, value) for seed, value in enumerate(values))
    page = report_of(tmp_path, ScoreTable(("system",), "score", scores))
    assert "Best setting of each system" in page.text
    assert not any("Claims" in caption for caption in page.tables)


def test_equal_scores_and_few_pairs_say_so(tmp_path: Path) -> None:
    settings = [("a", "x", "1"), ("a", "y", "1"), ("b", "x", "1"), ("b", "y", "1"), ("b", "x", "2")]
    scores = [
        Score(setting, 0, 0.5 if setting[0] == "a" else len(setting[1] + setting[2]) / 7)
        for setting in settings
    ]
    scores[2] = Score(settings[2], 0, 0.1)
    claim = Comparison("k", "y", "x", "g")
    table = ScoreTable(("g", "k", "v"), "m", tuple(scores))
    page = report_of(tmp_path, table, comparisons=(claim,))
    equal, few = page.tables["Claims and their tests"][1:]
    assert equal[-1] == "no pair differs, so there is nothing to test"
    assert few[-1] == "too few pairs: p cannot be below 0.5000; left out, as they have no partner: 1 settings"


def test_odd_names_stay_what_they_are(tmp_path: Path) -> None:
    odd = [
        '<script>alert("1")</script>',
        "a | b `c` *d* $x_1$ & <br>",
        "ü 音 🔊 \u202e",
        "x" * 600,
        "two\nlines",
        "' onclick='x",
        "<!-- ]]> -->",
        "a\0b\x07c\ufffe",
    ]
    axes = ("<b>kind</b>", "k|nd $2$")
    scores = tuple(
        Score((first, second), seed, 0.1 + seed) for first in odd for second in odd[:3] for seed in (1, 2)
    )
    claim = Comparison(axes[0], odd[0], odd[1])
    title = "\"A\" <title> & 'more' \udcff"
    table = ScoreTable(axes, "<metric>", scores)
    sample = Sample("</td>.wav", ("<i>",), "</table>", "*")
    report_of(tmp_path, table, title=title, comparisons=(claim,), samples=(sample,))
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert html.count("<script") == 1
    page = Reading(html)
    assert page.text.count(title.replace("\udcff", "\ufffd")) == 2
    odd[-1] = "a\ufffdb\ufffdc\ufffd"
    assert "a | b `c` *d* $x_1$ & <…" in page.text  # in a figure
    assert {
        row[1] for caption, rows in page.tables.items() if caption.startswith("All") for row in rows[1:]
    } == set(odd)


def test_long_names_that_begin_alike_stay_apart_in_figures(tmp_path: Path) -> None:
    names = ("my_package.encoders:BeatsLarge", "my_package.encoders:BeatsSmall", "x" * 30)
    scores = tuple(Score((name, name), 0, 0.1) for name in names)
    report_of(tmp_path, ScoreTable(("encoder", "adapter"), "spider", scores))
    drawn = re.findall(r">([^<]*…[^<]*)</text>", (tmp_path / "figures" / "box-1.svg").read_text("utf-8"))
    labels = ["my_package.…s:BeatsLarge", "my_package.…s:BeatsSmall", f"{'x' * 23}…"]
    assert sorted(drawn) == sorted(2 * labels)


def test_own_axes_have_figures_of_the_first_by_each_other(tmp_path: Path) -> None:
    settings = [(size, rate, kind) for size in ("s", "l") for rate in ("1", "2") for kind in ("p", "q")]
    table = made_up_scores(settings, ("size", "rate", "kind"), {"l": 0.01}, metric="cider")
    page = report_of(tmp_path, table, best_by="kind")
    text = "".join(page.text)
    assert "By size and rate" in text
    assert "By size and kind" in text
    assert "The setting of the highest mean for each value of kind" in page.tables
    assert "†" not in text
    with pytest.raises(UsageError, match=r"no axis named 'sise'\. Did you mean 'size'"):
        Report(table, best_by="sise")


def test_figures_that_nobody_could_read_are_left_out(tmp_path: Path) -> None:
    settings = [(f"{number}", kind) for number in range(101) for kind in ("p", "q")]
    scores = tuple(Score(setting, 0, at / 1000) for at, setting in enumerate(settings))
    page = report_of(tmp_path, ScoreTable(("number", "kind"), "spider", scores))
    assert any("Figures of axes with very many values are left out." in text for text in page.text)
    assert not (tmp_path / "figures").exists()


def test_the_first_axis_has_figures_besides_the_papers(tmp_path: Path) -> None:
    settings = [("a", "random", "true"), ("b", "random", "true"), ("a", "cbow", "false")]
    scores = tuple(Score(setting, 0, 0.1) for setting in settings)
    report_of(tmp_path, ScoreTable(("adapter", "words", "tuned"), "spider", scores))
    titles = re.findall(r"\*By (.*)\*", (tmp_path / "report.md").read_text(encoding="utf-8"))
    assert titles == [
        "adapter and words",
        "adapter and tuned",
        "words and tuned, as in Figure 4 of Weck et al. (2021)",
    ]


def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "report").write_text("a file")
    with pytest.raises(OtoscribeError, match=r"report\.html cannot be written: .*Choose another folder"):
        write_report(Findings(Report(paper_scores(seeds=1))), tmp_path / "report")

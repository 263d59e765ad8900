"""Which settings a study has: the paper's 264 x 10, and those of a study that was cut, extended or ruled."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from otoscribe.errors import OtoscribeError, SettingsError, UsageError
from otoscribe.settings import run_id
from otoscribe.study.engine.grid import Setting, settings_of
from otoscribe.study.engine.settings import StudySettings, read_study
from support.tiny_study import STUDY, write_study


@pytest.fixture(scope="module")
def paper() -> list[Setting]:
    return settings_of(read_study("paper"))


def labels(study: StudySettings) -> list[tuple[str, ...]]:
    return [setting.labels for setting in settings_of(study)]


def test_the_papers_study_has_264_settings_and_2640_runs_with_ids_of_their_own(paper: list[Setting]) -> None:
    study = read_study("paper")
    assert tuple(study.axes) == ("encoder", "overlap", "adapter", "words", "tuned")
    assert study.seeds == 10
    assert len(paper) == len({setting.labels for setting in paper}) == 264
    ids = set()
    for setting in paper:
        training = setting.experiment.training
        for seed in range(study.seeds):
            own = training.model_copy(update={"seed": seed})
            ids.add(run_id(setting.experiment.model_copy(update={"training": own})))
    assert len(ids) == 2640


def test_the_papers_words_are_fixed_and_tuned_and_bert_fixed_only(paper: list[Setting]) -> None:
    counts = Counter(setting.labels[3:] for setting in paper)
    words = ("random", "cbow", "word2vec", "glove", "fasttext")
    assert counts == {
        **{(name, tuned): 24 for name in words for tuned in ("false", "true")},
        ("bert", "false"): 24,
    }
    for setting in paper:
        model = setting.experiment.model
        found: tuple[Any, ...] = (
            model.encoder.name,
            model.encoder.overlap,
            model.adapter.name,
            model.words.name,
        )
        assert tuple(map(str, found)) == setting.labels[:4]
        assert str(getattr(model.words, "tuned", False)).lower() == setting.labels[4]


@pytest.mark.parametrize(
    ("cut", "count"),
    [
        ({"only": ["encoder=yamnet"]}, 66),
        ({"only": ["encoder=yamnet,vggish", "overlap=0.5"]}, 66),
        ({"only": ["overlap=0"]}, 132),
        ({"only": ["encoder=yamnet", "encoder=vggish"]}, 132),
        ({"only": ["tuned=true"]}, 120),
        ({"only": ["words=bert"]}, 24),
        ({"add": ["encoder=aisfx"]}, 330),
        ({"add": ["encoder=aisfx"], "only": ["encoder=aisfx"]}, 66),
        ({"add": ["training.learning_rate=1e-3,1e-4"]}, 528),
    ],
)
def test_an_axis_is_cut_and_extended(cut: dict[str, list[str]], count: int) -> None:
    assert len(labels(read_study("paper", **cut))) == count


def test_seeds_and_settings_are_changed_for_the_moment() -> None:
    study = read_study(
        "paper", seeds=3, changes=["training.maximum_epochs=5", "model.encoder.weights=formula"]
    )
    assert study.seeds == 3
    for setting in settings_of(study):
        assert setting.experiment.training.maximum_epochs == 5
        assert setting.experiment.model.encoder.weights == "formula"


def test_any_setting_is_an_axis_and_rules_say_what_is_different(tmp_path: Path) -> None:
    axes = '"training.learning_rate" = [1e-3, 1e-4]\n"model.encoder.output" = ["embeddings", "scores"]'
    rules = """
[[rules]]
when = {"training.learning_rate" = 1e-4, "model.encoder.output" = "scores"}
skip = true
[[rules]]
when = {"model.encoder.output" = ["scores"]}
set = {"training.patience" = 3}
"""
    path = write_study(tmp_path, STUDY.partition("[axes]")[0] + f"[axes]\n{axes}\n{rules}")
    found = settings_of(read_study(str(path)))
    assert [setting.labels for setting in found] == [
        ("0.001", "embeddings"),
        ("0.001", "scores"),
        ("0.0001", "embeddings"),
    ]
    assert [setting.experiment.training.patience for setting in found] == [10, 3, 10]
    assert [setting.experiment.training.learning_rate for setting in found] == [1e-3, 1e-3, 1e-4]
    assert [setting.experiment.model.encoder.output for setting in found][1] == "scores"


def test_paths_of_a_study_are_relative_to_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_study(tmp_path / "there")
    monkeypatch.chdir(tmp_path)
    study = read_study("there/study.toml")
    assert Path(study.base).samefile("there/base.toml")
    assert Path(study.data.training).samefile("there/recordings/training.csv")
    assert len(labels(study)) == 4


@pytest.mark.parametrize(
    ("given", "kind", "message"),
    [
        ({"chosen": "papr"}, UsageError, "There is no study named 'papr'. Did you mean 'paper'?"),
        ({"only": ["encodr=yamnet"]}, UsageError, "no axis named 'encodr'. Did you mean 'encoder'?"),
        ({"only": ["encoder=yamnt"]}, UsageError, "named 'yamnt'. Did you mean 'yamnet'?"),
        ({"only": ["encoder"]}, SettingsError, "'encoder' names no axis with values. Write AXIS=VALUE,VALUE"),
        ({"only": ["overlap=true"]}, UsageError, "no value of the axis overlap named 'true'"),
        ({"add": ["learning_rate=1"]}, UsageError, "such as training.learning_rate"),
        ({"add": ["overlap=0.0"]}, SettingsError, "The axis overlap has a value twice: 0.0, 0.5, 0.0"),
        ({"add": ["encoder=yamnut"]}, UsageError, "no encoder named 'yamnut'. Did you mean 'yamnet'?"),
        ({"changes": ["training.sead=3"]}, SettingsError, "there is no such setting (did you mean seed?)"),
        (
            {"add": ["training.patience=10,11"], "only": ["words=bert", "tuned=true"]},
            SettingsError,
            "No setting",
        ),
    ],
)
def test_what_cannot_be_meant_is_an_error(
    given: dict[str, Any], kind: type[OtoscribeError], message: str
) -> None:
    with pytest.raises(kind) as caught:
        settings_of(read_study(**{"chosen": "paper", **given}))
    assert message in str(caught.value)


OVERLAPS = 'overlap = [0.0, 0.5]\n"model.encoder.overlap" = [0.0, 0.5]'


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("seeds = 2", "seed = 2", "seed: there is no such key (did you mean seeds?)"),
        (
            "seeds = 2",
            "a = 1\nb = 2\nc = 3\nd = 4\ne = 5\nf = 6\ng = 7",
            "e: there is no such key; and 2 problems more.",
        ),
        ("seeds = 2", "seeds = 0", "seeds: Input should be greater than 0"),
        ("seeds = 2", "seeds = two", "is not TOML"),
        ('metric = "cider_d"', 'metric = "cider"', "no metric named 'cider'. Did you mean 'cider_d'?"),
        ("beam = 2", "beam = 0", "beam must be a whole number from 1 to 1000, not 0"),
        ('"mlp"]', '"mlp", "mlp"]', "The axis adapter has a value twice: identity, mlp, mlp"),
        ('"mlp"]', '"mlp"]\n[[rules]]\nwhen = {adaptr = "mlp"}', "no axis named 'adaptr'"),
        ("overlap = [0.0, 0.5]", '"training.seed" = [0, 1]', "The seed is no axis"),
        ("overlap = [0.0, 0.5]", "overlap = [0, 0.0]", "The axis overlap has a value twice: 0, 0.0"),
        ("overlap = [0.0, 0.5]", "overlap = []", "axes.overlap: name one or more."),
        ("overlap = [0.0, 0.5]", "overlap = 0.5", "axes.overlap: write a list, in square brackets."),
        (
            "overlap = [0.0, 0.5]",
            "overlap = [[0.5], {a = 1}]",
            "used. axes.overlap.0: a value is a text, a number, true or false; axes.overlap.1: a value is a "
            "text, a number, true or false.",
        ),
        ("overlap = [0.0, 0.5]", OVERLAPS, "The axes overlap and model.encoder.overlap set the same"),
        ("seeds = 2", "seeds = 1_000_000_000", "make 4,000,000,000 runs; 100,000 are allowed. Cut an axis"),
        ("seeds = 2", 'changes = ["training.seed=3"]', "The seed cannot be set. Say how many"),
        (
            "seeds = 2",
            'changes = ["model.encoder.overlap = 0.5"]',
            "would change nothing, as overlap is an axis of the study. Cut the axis: --only overlap=VALUE",
        ),
        ('"tiny"', '"a/b"', "name: a name is up to 100 letters, digits"),
        ('"tiny"', f'"{"a" * 101}"', "name: a name is up to 100 letters, digits"),
        ('"base.toml"', '""', "base: String should have at least 1 character"),
        ("validation =", "validaton =", "data.validaton: there is no such key (did you mean validation?)"),
        ("beam = 2", "beem = 2", "study.toml cannot be used. The search cannot be read at 'beem'"),
        *[
            ('"mlp"]', f'"mlp"]\n[[rules]]\n{rule}', message)
            for rule, message in (
                ("skip = true", "rules.0.when: Field required"),
                ("when = {}", "rules.0.when: name one or more"),
                ("when = {adapter = []}", "rules.0.when.adapter: a value is a text, a number, true"),
                (
                    'when = {adapter = "mlp"}\nskp = true',
                    "rules.0.skp: there is no such key (did you mean skip?)",
                ),
                ('when = {adapter = "mpl"}\nskip = true', "axis adapter named 'mpl'. Did you mean 'mlp'?"),
                ('when = {adapter = ["mlp", true]}\nskip = true', "axis adapter named 'true'"),
                ('when = {adapter = "mlp"}', "A rule does nothing: give it skip = true, unset or set"),
                ('when = {adapter = "mlp"}\nset = {"training.seed" = 1}', "The seed cannot be set"),
                (
                    'when = {adapter = "mlp"}\nset = {"model.encoder.overlap" = 0.5}',
                    "A rule sets model.encoder.overlap, which the axis overlap sets",
                ),
            )
        ],
    ],
)
def test_what_is_wrong_in_a_file_is_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = write_study(tmp_path, STUDY.replace(old, new))
    with pytest.raises(UsageError) as caught:
        settings_of(read_study(str(path)))
    assert message in str(caught.value)


def test_rules_are_about_the_whole_study_and_take_a_number_however_it_is_written(tmp_path: Path) -> None:
    path = str(write_study(tmp_path, f"{STUDY}\n[[rules]]\nwhen = {{overlap = 0}}\nskip = true\n"))
    assert {overlap for overlap, _ in labels(read_study(path))} == {"0.5"}
    assert len(labels(read_study(path, only=["overlap=0.5"]))) == 2


def test_a_byte_order_mark_is_no_part_of_a_study(tmp_path: Path) -> None:
    path = write_study(tmp_path)
    path.write_text(STUDY, encoding="utf-8-sig")
    assert len(labels(read_study(str(path)))) == 4


def test_two_settings_that_are_the_same_are_refused(tmp_path: Path) -> None:
    rule = '\n[[rules]]\nwhen = {adapter = "mlp"}\nunset = ["overlap"]\n'
    path = write_study(tmp_path, STUDY + rule)
    with pytest.raises(SettingsError, match=r"are the same: 0\.0, mlp and 0\.5, mlp"):
        settings_of(read_study(str(path)))

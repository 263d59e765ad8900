import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from otoscribe.bundle.bundle import Bundle
from otoscribe.bundle.manifest import CARD, FILES, MANIFEST, write_manifest
from otoscribe.errors import BundleError, UsageError
from otoscribe.text.vocabulary import Vocabulary
from support.tiny_bundle import SEARCH, WORDS, write_adapter, write_step, write_tiny_bundle


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_bundle(tmp_path_factory.mktemp("bundle") / "tiny")


@pytest.fixture
def copy(tiny: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny, tmp_path / "copy"))


@pytest.fixture(scope="module")
def bundle(tiny: Path) -> Bundle:
    return Bundle.open(tiny)


def rewrite_manifest(folder: Path, **changes: object) -> None:
    content = json.loads((folder / MANIFEST).read_text("utf-8"))
    (folder / MANIFEST).write_text(json.dumps(content | changes), "utf-8")


def seal(folder: Path, **changes: object) -> None:
    """Write a manifest that fits the files, so that only what is tested is wrong."""
    options = {"name": "t", "version": "1", "sample_rate": 8000, "frame_seconds": 0.1, "settings": {}}
    write_manifest(folder, search=SEARCH, longest_seconds=60.0, **(options | changes))


def test_what_was_written_is_read(bundle: Bundle) -> None:
    assert bundle.manifest.name == "tiny"
    assert bundle.manifest.sample_rate == 8000
    assert bundle.manifest.search.beam == SEARCH.beam
    assert bundle.manifest.settings == {"seed": 1}
    assert bundle.vocabulary.words == WORDS
    assert bundle.card.startswith("# tiny")
    assert set(bundle.manifest.files) == set(FILES)


@settings(max_examples=150, deadline=None)
@given(data=st.data(), name=st.sampled_from([MANIFEST, *FILES]))
def test_any_flipped_byte_is_refused(
    tiny: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, name: str
) -> None:
    folder = tmp_path_factory.getbasetemp() / "flipped"
    shutil.copytree(tiny, folder, dirs_exist_ok=True)
    content = bytearray((folder / name).read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    (folder / name).write_bytes(content)
    try:
        manifest = Bundle.open(folder).manifest
    except BundleError as error:
        assert str(folder) in str(error)  # noqa: PT017
    else:
        # The manifest's own values may be edited, as long as they are possible ones.
        assert name == MANIFEST
        assert manifest.files == Bundle.open(tiny).manifest.files


@pytest.mark.parametrize("name", [MANIFEST, *FILES])
@pytest.mark.parametrize("damage", ["missing", "renamed", "emptied", "cut", "extended", "folder"])
def test_incomplete_bundles_are_refused(copy: Path, name: str, damage: str) -> None:
    path = copy / name
    content = path.read_bytes()
    if damage == "renamed":
        path.rename(copy / f"{name}.bak")
    elif damage in ("missing", "folder"):
        path.unlink()
        if damage == "folder":
            path.mkdir()
    else:
        path.write_bytes({"emptied": b"", "cut": content[:-1], "extended": content + b"!"}[damage])
    if name == MANIFEST and damage == "cut":  # the last byte is a line end
        assert Bundle.open(copy)
        return
    with pytest.raises(BundleError, match="copy") as error:
        Bundle.open(copy)
    assert str(error.value).endswith(".")


def test_what_else_lies_in_the_folder_is_no_matter(copy: Path) -> None:
    """A hub's snapshot holds a licence, pictures and settings of its own."""
    for name in (".gitattributes", "LICENSE", "config.json"):
        (copy / name).write_bytes(b"\0")
    (copy / "pictures").mkdir()
    assert Bundle.open(copy)


def test_the_card_may_be_edited_or_missing(copy: Path) -> None:
    (copy / CARD).write_bytes(b"# Our own \xff")
    assert Bundle.open(copy).card.startswith("# Our own")
    (copy / CARD).unlink()
    assert Bundle.open(copy).card == ""


def test_the_default_decoding_may_be_edited(copy: Path) -> None:
    chosen = json.loads((copy / MANIFEST).read_text("utf-8"))["search"]
    rewrite_manifest(copy, search=chosen | {"beam": 7})
    assert Bundle.open(copy).manifest.search.beam == 7


@pytest.mark.parametrize(
    "name", ["../encoder.onnx", "/etc/passwd", "sub/encoder.onnx", "..", "C:\\encoder.onnx", ""]
)
def test_file_names_cannot_leave_the_folder(copy: Path, name: str) -> None:
    files = json.loads((copy / MANIFEST).read_text("utf-8"))["files"]
    rewrite_manifest(copy, files=files | {name: files["step.onnx"]})
    with pytest.raises(BundleError, match="must list exactly"):
        Bundle.open(copy)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"format": 1}, "has format 1; this otoscribe reads format 4"),
        ({"format": "1"}, "has format '1'"),
        ({"name": 5}, "not valid at 'name'"),
        ({"unknown": 1}, "not valid at 'unknown'"),
        ({"sample_rate": 0}, "not valid at 'sample_rate'"),
        ({"sample_rate": 16000.0}, "not valid at 'sample_rate'"),
        ({"frame_seconds": 0}, "not valid at 'frame_seconds'"),
        ({"frame_seconds": 1e9}, "not valid at 'frame_seconds'"),
        ({"longest_seconds": 0}, "not valid at 'longest_seconds'"),
        ({"receptive_field": {"hop": 0, "before": 0, "after": 1}}, "not valid at 'receptive_field.hop'"),
        ({"receptive_field": {"hop": 800, "before": 0}}, "not valid at 'receptive_field.after'"),
        ({"search": {"beams": 2}}, "impossible search: The search cannot be read at 'beams'"),
        ({"search": 3}, "impossible search"),
        ({"files": {}}, "must list exactly"),
    ],
)
def test_manifest_is_validated(copy: Path, changes: dict[str, object], said: str) -> None:
    rewrite_manifest(copy, **changes)
    with pytest.raises(BundleError, match=said):
        Bundle.open(copy)


def test_impossible_default_search_is_refused(copy: Path) -> None:
    chosen = json.loads((copy / MANIFEST).read_text("utf-8"))["search"]
    rewrite_manifest(copy, search=chosen | {"beam": 0})
    with pytest.raises(BundleError, match="asks for an impossible search: beam must be"):
        Bundle.open(copy)


@pytest.mark.parametrize("text", ["", "[]", "null", "{", "[" * 100_000, '{"format": 1'])
def test_manifest_that_is_no_object(copy: Path, text: str) -> None:
    (copy / MANIFEST).write_text(text)
    with pytest.raises(BundleError, match=r"manifest\.json"):
        Bundle.open(copy)


def test_paths_that_are_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="There is no model at"):
        Bundle.open(tmp_path / "missing")
    with pytest.raises(BundleError, match=r"it has no manifest\.json"):
        Bundle.open(tmp_path)
    with pytest.raises(BundleError, match="An empty model name"):
        Bundle.open("")
    with pytest.raises(BundleError, match="cannot be read: file name too long"):
        Bundle.open("m" * 300)
    (tmp_path / MANIFEST).write_bytes(b" " * (1 << 21))
    with pytest.raises(BundleError, match="more than 1048576 bytes"):
        Bundle.open(tmp_path)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no named pipes in folders")
@pytest.mark.parametrize("name", [MANIFEST, "step.onnx"])
@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_pipes_and_devices_are_refused(copy: Path, name: str, kind: str) -> None:
    (copy / name).unlink()
    if kind == "pipe":
        os.mkfifo(copy / name)
    else:
        (copy / name).symlink_to("/dev/zero")
    with pytest.raises(BundleError, match="is not a regular file"):
        Bundle.open(copy)


def test_a_larger_file_than_stated_is_not_read_whole(copy: Path) -> None:
    with (copy / "step.onnx").open("r+b") as file:
        file.truncate(1 << 40)
    with pytest.raises(BundleError, match=f"has {1 << 40} bytes, the manifest says"):
        Bundle.open(copy)


@pytest.mark.parametrize("threads", [0, -1, 1.5, "2", 10**9])
def test_impossible_threads(tiny: Path, threads: object) -> None:
    with pytest.raises(UsageError, match="threads must be a whole number from 1 to"):
        Bundle.open(tiny, threads)


def test_memory_that_runs_out_is_named(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full:
        def run(self, outputs: object, inputs: object) -> None:
            raise RuntimeError("Non-zero status code returned while running Add node: std::bad_alloc")

    monkeypatch.setattr(bundle.encoder, "_session", Full())
    with pytest.raises(BundleError, match="needs more memory than there is; cut"):
        bundle.listen([np.zeros(8000, dtype=np.float32)])


def test_nothing_is_left_in_the_home_folder(tiny: Path, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.sin(np.arange(8000) / 3), 8000)
    home = tmp_path / "home"
    home.mkdir()
    environment = {key: value for key, value in os.environ.items() if key != "ORT_DISABLE_TELEMETRY"}
    kept = ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME")
    subprocess.run(
        [sys.executable, "-m", "otoscribe", "caption", "--model", tiny, tmp_path / "a.wav"],
        env={key: value for key, value in environment.items() if key not in kept} | {"HOME": str(home)},
        check=True,
        capture_output=True,
    )
    assert not list(home.iterdir())


def test_vocabulary_of_another_size_is_refused(copy: Path) -> None:
    (copy / "vocabulary.json").write_text(Vocabulary((*WORDS, "more")).to_json(), "utf-8")
    seal(copy)
    with pytest.raises(BundleError, match=r"chooses among 15 words, but vocabulary\.json has 16"):
        Bundle.open(copy)


def test_graph_with_other_inputs_is_refused(copy: Path) -> None:
    model = onnx.load(copy / "encoder.onnx")
    model.graph.input[0].name = model.graph.node[0].input[0] = "audio"
    for node in model.graph.node:
        node.input[:] = ["audio" if name == "waveforms" else name for name in node.input]
    onnx.save(model, copy / "encoder.onnx")
    seal(copy)
    with pytest.raises(BundleError, match="has the inputs"):
        Bundle.open(copy)


def test_graph_that_is_no_graph_is_refused(copy: Path) -> None:
    (copy / "step.onnx").write_bytes(b"no protobuf")
    seal(copy)
    with pytest.raises(BundleError, match="not a graph that ONNX Runtime can load"):
        Bundle.open(copy)


def test_swapped_graphs_are_refused(copy: Path) -> None:
    shutil.copy(copy / "step.onnx", copy / "adapter.onnx")
    seal(copy)
    with pytest.raises(BundleError, match=r"adapter.onnx has the inputs"):
        Bundle.open(copy)


def test_manifest_is_not_written_for_an_incomplete_folder(copy: Path) -> None:
    (copy / "step.onnx").unlink()
    before = (copy / MANIFEST).read_bytes()
    with pytest.raises(BundleError, match=r"it has no step\.onnx"):
        seal(copy)
    assert (copy / MANIFEST).read_bytes() == before


def test_manifest_is_not_written_with_a_value_that_would_be_refused(copy: Path) -> None:
    with pytest.raises(BundleError, match="'sample_rate'"):
        seal(copy, sample_rate=1)


def test_a_batch_is_heard_as_each_clip_alone(bundle: Bundle) -> None:
    noise = np.random.default_rng(0).uniform(-1, 1, (3, 4000)).astype(np.float32)
    together = bundle.listen(list(noise))
    for waveform, clip in zip(noise, together, strict=True):
        (alone,) = bundle.listen([waveform])
        np.testing.assert_allclose(clip.keys, alone.keys, atol=1e-6)
        np.testing.assert_allclose(clip.values, alone.values, atol=1e-6)
        assert (clip.seconds, clip.places, clip.sources) == (0.5, 6, None)
    assert np.abs(together[0].keys - together[1].keys).max() > 1e-3


def test_sources_come_with_the_places_that_they_belong_to(tmp_path: Path) -> None:
    bundle = Bundle.open(write_tiny_bundle(tmp_path / "with sources", sources=True))
    (clip,) = bundle.listen([np.ones(2000, dtype=np.float32)])
    assert clip.sources is not None
    np.testing.assert_allclose(clip.sources, [[0.5, 0.5, 0], [0, 0.5, 0.5], [0, 0, 0.5]])


def test_masked_places_are_left_out(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    shape = (2, 2, 3, 2, 4)  # layers, clips, places, heads, head_dim
    keys = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    mask = np.array([[True, False, True], [True, True, True]])
    found = {"memory_keys": keys, "memory_values": -keys, "memory_mask": mask}
    monkeypatch.setattr(bundle.adapter, "run", lambda inputs: found)
    first, second = bundle.listen([np.zeros(800, dtype=np.float32)] * 2)
    for clip, number, places in ((first, 0, [0, 2]), (second, 1, [0, 1, 2])):
        np.testing.assert_array_equal(clip.keys, keys[:, number, places])
        np.testing.assert_array_equal(clip.values, -keys[:, number, places])
    mask[0] = False
    with pytest.raises(BundleError, match="gave a memory of the shape"):
        bundle.listen([np.zeros(800, dtype=np.float32)] * 2)


def test_graph_that_fails_says_so(bundle: Bundle) -> None:
    with pytest.raises(BundleError, match="could not be run"):
        bundle.encoder.run({"waveforms": np.zeros(8000, dtype=np.float32)})


def test_step_graph_without_fixed_heads_is_refused(copy: Path) -> None:
    write_step(copy / "step.onnx", len(WORDS))
    model = onnx.load(copy / "step.onnx")
    for node in model.graph.input:
        if node.name == "keys.1":
            node.type.tensor_type.shape.dim[2].dim_param = "heads"
    onnx.save(model, copy / "step.onnx")
    seal(copy)
    with pytest.raises(BundleError, match="with one number each for head_dim, heads"):
        Bundle.open(copy)


def test_a_training_run_is_no_model_yet(tmp_path: Path) -> None:
    (tmp_path / "settings.json").write_text("{}")
    with pytest.raises(BundleError, match=r"is a training run\. Make a model of it: otoscribe export"):
        Bundle.open(tmp_path)


def test_graphs_of_different_models_are_refused(copy: Path) -> None:
    write_adapter(copy / "adapter.onnx", layers=3)
    seal(copy)
    with pytest.raises(BundleError, match=r"adapter\.onnx has layers of 3, step\.onnx of 2"):
        Bundle.open(copy)


def test_a_style_is_the_place_that_is_kept_of_those_of_all_styles(copy: Path) -> None:
    rewrite_manifest(copy, styles=["brief", "detailed", "shouted"])
    bundle = Bundle.open(copy)
    assert bundle.manifest.styles == ("brief", "detailed", "shouted")
    waveform = np.linspace(-0.5, 0.5, 8000, dtype=np.float32)
    (every,) = Bundle.open(copy).listen([waveform])
    (detailed,) = bundle.listen([waveform], "detailed")
    kept = [1, *range(3, every.places)]
    np.testing.assert_array_equal(detailed.keys, every.keys[:, kept])
    np.testing.assert_array_equal(detailed.values, every.values[:, kept])


def test_a_style_that_the_model_has_not_is_refused(bundle: Bundle, copy: Path) -> None:
    silence = [np.zeros(8000, np.float32)]
    with pytest.raises(UsageError, match="tiny has one way of writing only; name no style"):
        bundle.listen(silence, "brief")
    rewrite_manifest(copy, styles=["brief", "detailed"])
    with pytest.raises(UsageError, match=r"no style named 'Detailled'\. Did you mean 'detailed'"):
        Bundle.open(copy).listen(silence, "Detailled")

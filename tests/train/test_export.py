"""Export: the bundle says and scores what the torch model does, and nothing is written otherwise."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from otoscribe.audio import pieces, reading
from otoscribe.audio.pieces import ReceptiveField
from otoscribe.bundle.bundle import Bundle
from otoscribe.bundle.onnx_stepper import OnnxStepper
from otoscribe.errors import BundleError, RunError, WeightsError
from otoscribe.listen import hearing
from otoscribe.model.caption_model import CaptionModel
from otoscribe.model.encoders import yamnet, yamnet_voice
from otoscribe.model.encoders.base import FORMULA, Encoder, load_encoder
from otoscribe.model.torch_stepper import TorchStepper
from otoscribe.search.beam import Hypothesis, search
from otoscribe.search.options import Search
from otoscribe.text.vocabulary import START, Vocabulary
from otoscribe.train import export as exporter
from otoscribe.train.batches import pad
from otoscribe.train.export import (
    LONGEST_IN_ONE_PASS,
    LONGEST_SECONDS,
    TOLERANCE,
    export,
    largest_difference,
)
from otoscribe.train.run import load_run, save_tensors
from otoscribe.train.settings import ExperimentSettings
from support.tiny_trunk import TinyTrunk

pytestmark = pytest.mark.slow

SETTINGS = {
    "model": {
        "encoder": {"name": "yamnet", "weights": FORMULA},
        "adapter": {"name": "attention", "d_model": 32, "heads": 2, "head_dim": 16, "ff": 64},
        "words": {"name": "random", "width": 128, "spread": 0.1},
        "decoder": {"d_model": 128, "heads": 4, "head_dim": 32, "ff": 256, "blocks": 2, "tied": True},
    },
    "training": {},
    "data": {"fingerprint": "0" * 64},
}
EVIDENCE = SETTINGS["model"] | {
    "encoder": {"name": "yamnet_voice", "weights": FORMULA},
    "adapter": {"name": "evidence", "d_model": 64, "heads": 2, "head_dim": 32, "ff": 64},
    "decoder": {"d_model": 128, "heads": 2, "head_dim": 64, "blocks": 1},
}
"""A model whose adapter masks parts of the memory of a clip without padding."""


@pytest.fixture(scope="module", autouse=True)
def small() -> Iterator[None]:
    """Spare every export here most of its time; an encoder's trunk is nothing that export knows of."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(yamnet, "Trunk", TinyTrunk)
        patch.setattr(yamnet_voice, "Trunk", TinyTrunk)
        yield


def write_run(folder: Path, model: dict[str, object] = SETTINGS["model"]) -> Path:
    """Write a run as the trainer leaves it, of random weights: decoding must agree on any."""
    settings = ExperimentSettings.model_validate_json(json.dumps(SETTINGS | {"model": model}))
    vocabulary = Vocabulary.from_captions([f"word{index}" for index in range(300)])
    torch.manual_seed(0)
    whole = CaptionModel(settings.model, vocabulary)
    folder.mkdir(parents=True)
    (folder / "settings.json").write_text(settings.model_dump_json())
    (folder / "vocabulary.json").write_text(vocabulary.to_json())
    save_tensors(folder / "model.safetensors", whole.state_dict(), {})
    return folder


def loaded(run: Path) -> tuple[Encoder, CaptionModel]:
    """Return the encoder and the model of a run."""
    model, _, settings = load_run(run)
    return load_encoder(settings.model.encoder), model


def features(run: Path, waveform: np.ndarray) -> torch.Tensor:
    with torch.inference_mode():
        return loaded(run)[0].features(torch.from_numpy(waveform)[None])[0]


def in_8_bits(encoder: Encoder) -> Encoder:
    """Round an encoder's matrices to what 8 bits hold."""
    for weight in encoder.parameters():
        if weight.ndim > 1:
            scale = weight.abs().amax(dim=1, keepdim=True) / 127
            weight.copy_((weight / scale).round() * scale)
    return encoder


@pytest.fixture(scope="module")
def run(small: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("runs") / "run")


@pytest.fixture(scope="module")
def exported(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundles") / "whole"
    assert export(run, folder, search=Search(beam=2), card="Made for a test.\n") <= TOLERANCE
    return folder


@pytest.fixture(scope="module")
def label_run(small: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("runs") / "labels", model=EVIDENCE)


@pytest.fixture(scope="module")
def half(label_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundles") / "half"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exporter, "load_encoder", lambda *chosen: in_8_bits(load_encoder(*chosen)))
        assert export(label_run, folder, float16=True) <= TOLERANCE
    return folder


def waveforms() -> list[np.ndarray]:
    noise = np.random.default_rng(5)
    return [
        (0.2 * noise.standard_normal(samples)).astype(np.float32) for samples in (50_000, 1, 15_600, 90_000)
    ]


def test_the_bundle_opens_with_what_it_was_given(run: Path, exported: Path) -> None:
    bundle = Bundle.open(exported)
    assert (bundle.manifest.name, bundle.manifest.sample_rate, bundle.manifest.search.beam) == (
        "whole",
        16_000,
        2,
    )
    assert bundle.card == "Made for a test.\n"
    assert bundle.vocabulary == load_run(run)[1]
    assert ExperimentSettings.model_validate(bundle.manifest.settings) == load_run(run)[2]


def test_memory_equals_torch_for_any_length_of_waveform(run: Path, exported: Path) -> None:
    bundle, (_, model) = Bundle.open(exported), loaded(run)
    for waveform in waveforms():
        (clip,) = bundle.listen([waveform])
        with torch.inference_mode():
            keys, values, _ = model.remember(features(run, waveform)[None], None)
        np.testing.assert_allclose(clip.keys, keys[:, 0], atol=1e-5)
        np.testing.assert_allclose(clip.values, values[:, 0], atol=1e-5)
        assert clip.sources is None


@pytest.mark.parametrize("clips", [1, 2, 5])
def test_a_batch_of_waveforms_is_heard_as_each_alone(half: Path, exported: Path, clips: int) -> None:
    noise = np.random.default_rng(3).uniform(-0.5, 0.5, (clips, 40_000)).astype(np.float32)
    noise *= np.linspace(0.1, 1, clips, dtype=np.float32)[:, None]
    for bundle in (Bundle.open(half), Bundle.open(exported)):
        for waveform, clip in zip(noise, bundle.listen(list(noise)), strict=True):
            (alone,) = bundle.listen([waveform])
            np.testing.assert_allclose(clip.keys, alone.keys, atol=1e-5)
            np.testing.assert_allclose(clip.values, alone.values, atol=1e-5)


def test_steps_with_cache_equal_torch_on_whole_captions(run: Path, exported: Path) -> None:
    bundle, (_, model) = Bundle.open(exported), loaded(run)
    stepper = OnnxStepper(bundle, [bundle.listen([waveform])[0] for waveform in waveforms()])
    words = np.random.default_rng(1).integers(4, len(bundle.vocabulary), (4, 1, 9))
    words[..., 0] = START
    padded, mask = pad([features(run, waveform) for waveform in waveforms()])
    with torch.inference_mode():
        expected = model.log_probabilities(padded, mask, torch.from_numpy(words[:, 0]), range(4))
        keys, values, places = model.remember(padded, mask)
    state = stepper.start()
    torch_stepper = TorchStepper(model, keys, values, places)
    torch_state = torch_stepper.start()
    for time in range(1, 10):
        history = words[..., :time]
        found, attention, state = stepper.attend(state, history)
        np.testing.assert_allclose(found[:, 0], expected[:, time - 1], atol=1e-4)
        with torch.inference_mode():
            _, shares, torch_state = model.step(torch.from_numpy(history), torch_state)
        np.testing.assert_allclose(attention, shares, atol=1e-5)


def both(run: Path, folder: Path, sounds: list[np.ndarray]) -> tuple[list[list[Hypothesis]], ...]:
    bundle, (_, model) = Bundle.open(folder), loaded(run)
    options = Search(beam=3, candidates=3, maximum_words=8)
    with torch.inference_mode():
        memory = model.remember(*pad([features(run, sound) for sound in sounds]))
    return (
        search(TorchStepper(model, *memory), options),
        search(OnnxStepper(bundle, [bundle.listen([sound])[0] for sound in sounds]), options),
    )


def test_search_finds_the_same_captions_with_torch_and_with_onnx(
    run: Path, exported: Path, shared_data: Path
) -> None:
    recordings = sorted((shared_data / "pairs" / "audiocaps").glob("*.flac"))[:4]
    torch_found, onnx_found = both(run, exported, [reading.load(one, 16_000).waveform for one in recordings])
    for expected, found in zip(torch_found, onnx_found, strict=True):
        assert [one.tokens for one in found] == [one.tokens for one in expected]
        for ours, theirs in zip(found, expected, strict=True):
            assert ours.log_probability == pytest.approx(theirs.log_probability, abs=1e-4)


def stored(path: Path, data_type: int) -> dict[str, np.ndarray]:
    """Return the constants of a graph that are stored in a type, by the names of the values they become."""
    graph = onnx.load(path).graph
    return {
        one.name.rpartition(".")[0]: onnx.numpy_helper.to_array(one)
        for one in graph.initializer
        if one.data_type == data_type
    }


def test_float16_takes_half_the_room_and_8_bits_a_quarter(label_run: Path, half: Path) -> None:
    encoder, model = loaded(label_run)

    def weights(*modules: torch.nn.Module) -> int:
        return sum(parameter.nbytes for module in modules for parameter in module.parameters())

    expected = {
        "step.onnx": weights(model.words, model.decoder) / 2,
        # The tables of the front end and of the pitch stay as they are.
        "encoder.onnx": weights(encoder) / 4 + sum(buffer.nbytes for buffer in encoder.buffers()),
        # Which class explains another is known in steps of 1/127.
        "adapter.onnx": weights(model.adapter) / 2 + model.adapter.get_buffer("explains").nbytes / 4,
    }
    for name, size in expected.items():
        assert 0.9 * size < (half / name).stat().st_size < 1.1 * size + 100_000


def test_float16_weights_are_cast_once_loaded(half: Path) -> None:
    names = stored(half / "step.onnx", onnx.TensorProto.FLOAT16)
    assert len(names) >= 8
    nodes = onnx.load(half / "step.onnx").graph.node
    users = {node.op_type for node in nodes if {f"{name}.float16" for name in names} & set(node.input)}
    assert users == {"Cast"}
    assert Bundle.open(half).listen(waveforms()[:1])[0].keys.dtype == np.float32


def test_an_8_bit_encoder_is_stored_exactly(label_run: Path, half: Path) -> None:
    encoder = in_8_bits(loaded(label_run)[0])
    codes, floats = (
        stored(half / "encoder.onnx", data_type)
        for data_type in (onnx.TensorProto.INT8, onnx.TensorProto.FLOAT)
    )
    found = [code * floats[name] for name, code in codes.items()]
    weights = [weight.numpy() for weight in encoder.parameters() if weight.ndim > 1]
    assert len(weights) == 2
    for weight in weights:
        # The exporter may turn a matrix round.
        same = [one if one.shape == weight.shape else one.T for one in found if one.size == weight.size]
        assert len(same) == 1
        np.testing.assert_allclose(same[0], weight, rtol=5e-7, atol=0)


def test_float16_rounds_weights_by_little(label_run: Path, half: Path) -> None:
    encoder, model = loaded(label_run)
    assert TOLERANCE < largest_difference(in_8_bits(encoder), model, Bundle.open(half)) < 0.1


def test_memory_holds_no_places_that_the_adapter_masks(label_run: Path, half: Path) -> None:
    encoder, model = loaded(label_run)
    for waveform in waveforms():
        with torch.inference_mode():
            heard = in_8_bits(encoder).features(torch.from_numpy(waveform)[None])
            _, mask, sources, *_ = model.adapter(heard, None)
        (clip,) = Bundle.open(half).listen([waveform])
        assert clip.places == int(mask.sum()) < mask.shape[1]
        np.testing.assert_allclose(clip.sources, sources[mask], atol=1e-5)


def test_the_manifest_says_how_long_a_frame_is_and_how_far_it_sees(exported: Path, half: Path) -> None:
    manifest = Bundle.open(exported).manifest
    assert manifest.frame_seconds == pytest.approx(0.96)
    assert manifest.receptive_field == ReceptiveField(hop=15360, before=0, after=2)


def test_a_long_recording_is_taken_where_no_memory_grows_with_its_square(exported: Path, half: Path) -> None:
    # The one model's adapter compares each frame with each.
    longest = [Bundle.open(folder).manifest.longest_seconds for folder in (exported, half)]
    assert longest == [LONGEST_IN_ONE_PASS, LONGEST_SECONDS]


def test_a_long_recording_is_encoded_in_pieces_as_in_one_pass(
    half: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle, noise = Bundle.open(half), np.random.default_rng(8)
    waveform = (np.linspace(0.01, 0.15, 500_000) * noise.standard_normal(500_000)).astype(np.float32)
    monkeypatch.setattr(pieces, "PIECE_SECONDS", 7.0)
    sound = hearing.from_array(bundle, waveform, 16_000)
    assert isinstance(sound, hearing.Features)
    found, (expected,) = hearing.encoded(bundle, sound, None), bundle.listen([waveform])
    assert found.seconds == expected.seconds
    np.testing.assert_allclose(found.keys, expected.keys, atol=1e-5)
    np.testing.assert_allclose(found.values, expected.values, atol=1e-5)
    np.testing.assert_allclose(found.sources, expected.sources, atol=1e-5)


def test_graphs_hold_no_trace_of_the_machine_they_were_made_on(exported: Path) -> None:
    for name in ("encoder.onnx", "adapter.onnx", "step.onnx"):
        content = (exported / name).read_bytes()
        for trace in (b".py", b"site-packages", b'File "', str(Path.home()).encode() + b"/"):
            assert trace not in content


def test_axes_have_names(exported: Path) -> None:
    graph = onnx.load(exported / "step.onnx").graph
    shapes = {
        value.name: [axis.dim_param or axis.dim_value for axis in value.type.tensor_type.shape.dim]
        for value in (*graph.input, *graph.output)
    }
    assert shapes["history"] == ["clips", "beam", "time"]
    assert shapes["memory_keys.1"] == ["clips", 4, 32, "places"]
    assert shapes["memory_values.0"] == ["clips", 4, "places", 32]
    assert shapes["next_values.1"] == ["clips", "beam", 4, "time", 32]
    assert shapes["log_probabilities"] == ["clips", "beam", 304]


def test_tied_weights_are_stored_once(exported: Path) -> None:
    graph = onnx.load(exported / "step.onnx").graph
    assert sum(304 in one.dims and 128 in one.dims for one in graph.initializer) == 1


def test_an_existing_bundle_is_left_alone(run: Path, exported: Path) -> None:
    with pytest.raises(RunError, match="whole exists already"):
        export(run, exported)


def test_other_weights_than_the_runs_become_no_bundle(run: Path, tmp_path: Path) -> None:
    settings = json.loads((run / "settings.json").read_text())
    settings["model"]["encoder"]["weights"] = f"sha256:{64 * '0'}"
    other = tmp_path / "other"
    other.mkdir()
    for file in run.iterdir():
        (other / file.name).write_bytes(file.read_bytes())
    (other / "settings.json").write_text(json.dumps(settings))
    with pytest.raises(WeightsError, match="weights of yamnet are not in"):
        export(other, tmp_path / "bundle", weights=tmp_path)
    assert not (tmp_path / "bundle").exists()


def test_graphs_that_differ_from_the_model_become_no_bundle(
    run: Path, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def moved(name: str) -> Callable[..., onnx.ModelProto]:
        def graph(*arguments: object) -> onnx.ModelProto:
            made = onnx.load(exported / name)
            norm = next(one for one in made.graph.initializer if one.name.endswith("norm.weight"))
            values = onnx.numpy_helper.to_array(norm).copy()
            values[7] += 0.01
            norm.CopyFrom(onnx.numpy_helper.from_array(values, norm.name))
            return made

        return graph

    monkeypatch.setattr(exporter, "_step_graph", moved("step.onnx"))
    for name in ("encoder", "adapter"):
        same = onnx.load(exported / f"{name}.onnx")
        monkeypatch.setattr(exporter, f"_{name}_graph", lambda *arguments, same=same: same)
    with pytest.raises(RunError, match=r"differ from the model by [0-9.]+e-0[12] in log-probability"):
        export(run, tmp_path / "bundle")
    assert list(tmp_path.iterdir()) == []


def test_damage_after_export_is_found(exported: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in exported.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    Bundle.open(copy)
    content = bytearray((copy / "step.onnx").read_bytes())
    content[len(content) // 2] ^= 1
    (copy / "step.onnx").write_bytes(content)
    with pytest.raises(BundleError, match=r"step\.onnx is damaged"):
        Bundle.open(copy)


def test_a_style_of_the_bundle_is_that_of_the_adapter(label_run: Path, half: Path) -> None:
    encoder, model = loaded(label_run)
    bundle = Bundle.open(half)
    assert bundle.manifest.styles == model.adapter.styles == ("brief", "detailed")
    waveform = waveforms()[0]
    with torch.inference_mode():
        memory, mask, *_ = model.adapter(encoder.features(torch.from_numpy(waveform)[None]), None)
        keys, _ = model.decoder.memory_cache(memory)
    assert mask is not None
    for style in (None, "brief", "detailed"):
        (clip,) = bundle.listen([waveform], style)
        places = mask[0].clone()
        places[:2] = torch.tensor([style != "detailed", style == "detailed"])
        np.testing.assert_allclose(clip.keys, keys[:, 0, places], atol=0.02)

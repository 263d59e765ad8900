"""Training runs on disk: their settings, their folder, their weights.

A run folder, `runs/<run id>/`:

    settings.json        what decides the result: data, model and training, all resolved
    vocabulary.json      words of the training captions
    words.json           which of them begin at random, and whether the vectors leak
    model.safetensors    weights of the best epoch so far; a frozen encoder's are known by name and hash
    log.csv              losses of every epoch
    tensorboard/         the same losses, and a sample caption of every epoch, for TensorBoard
    last.safetensors     weights and optimiser after the last epoch, and the history; deleted when done
    done                 written when training has ended
    failed               why training stopped half-way, until it goes on
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim import Optimizer

from otoscribe.errors import RunError
from otoscribe.files import write_text, written_whole
from otoscribe.model.caption_model import CaptionModel
from otoscribe.model.words.base import WORDS, Beginning, Origin, load_words
from otoscribe.settings import id_of, run_id
from otoscribe.text.vocabulary import Vocabulary
from otoscribe.train.settings import ExperimentSettings, parse_settings


def claim(path: Path, text: str) -> None:
    """Write a file that all of a run's processes share, or require that it is the same."""
    if not path.exists():
        write_text(path, text)
    elif _text(path) != text:
        raise RunError(
            f"The run in {path.parent} has another {path.name}, so it cannot go on. "
            f"Choose another folder of runs, or delete this run."
        )


def load_run(run: Path, words: Path | None = None) -> tuple[CaptionModel, Vocabulary, ExperimentSettings]:
    """Rebuild the best epoch's model of a run, in evaluation mode; with its encoder if that was tuned.

    Args:
        run: the run's folder.
        words: folder of the word embedding's published files, see `load_words`; looked at only if the run
            does not hold the vectors itself.

    Raises:
        RunError: a file is missing, damaged, or does not fit the settings.
        WeightsError: the word embedding's files are needed, and not there or others than the run's.
    """
    texts = []
    for name in ("settings.json", "vocabulary.json"):
        if not (run / name).is_file():
            raise RunError(f"{run} is not a training run: it has no {name}. Name a folder inside runs/.")
        texts.append(_text(run / name))
    settings = parse_settings(texts[0], run / "settings.json")
    if not settings.is_resolved:
        raise RunError(
            f"{run / 'settings.json'} names no data, weights or vectors, as that of a run does. "
            f"Restore it from a copy, or train again."
        )
    vocabulary = Vocabulary.from_json(texts[1])
    beginning = None
    if WORDS[settings.model.words.name].needs_files(settings.model.words):
        beginning = load_words(settings.model.words, vocabulary.words, Origin(folder=words))
    # As written: settings that there were not yet when the run was made are no change to it.
    trained = identity(id_of(json.loads(texts[0])), vocabulary)
    return _loaded(run, trained, settings, vocabulary, beginning), vocabulary, settings


def load_model(
    run: Path, settings: ExperimentSettings, vocabulary: Vocabulary, beginning: Beginning | None
) -> CaptionModel:
    """Rebuild the best epoch's model of a run whose settings and words are known; see `load_run`."""
    return _loaded(run, identity(run_id(settings), vocabulary), settings, vocabulary, beginning)


def _loaded(
    run: Path,
    trained: str,
    settings: ExperimentSettings,
    vocabulary: Vocabulary,
    beginning: Beginning | None,
) -> CaptionModel:
    weights, notes = load_tensors(run / "model.safetensors")
    if notes.get("run") not in (None, trained):
        raise RunError(
            f"The settings or the vocabulary in {run} are not those that its weights were trained with: one "
            f"of the files was changed. Restore it from a copy, or train again."
        )
    model = CaptionModel(settings.model, vocabulary, beginning)
    restore(model, weights, run / "model.safetensors")
    return model.eval()


def identity(run: str, vocabulary: Vocabulary) -> str:
    """Return what the weights of a run note, so that they are not taken for those of another one.

    Args:
        run: its id.
        vocabulary: its words.
    """
    words = hashlib.sha256(vocabulary.to_json().encode()).hexdigest()
    return f"{run} {words}"


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise RunError(
            f"{path} is damaged: it is no UTF-8 text. Restore it from a copy, or train again."
        ) from error


def restore(model: nn.Module, weights: dict[str, Tensor], path: Path) -> None:
    """Give a model the weights read from `path`.

    Raises:
        RunError: names or shapes differ.
    """
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise RunError(
            f"The weights in {path} do not fit the run's settings and vocabulary: one of the files was "
            f"changed. Restore it from a copy, or delete the run's folder and train again."
        ) from error


def save_checkpoint(path: Path, model: nn.Module, optimiser: Optimizer, notes: Mapping[str, Any]) -> None:
    """Write what training needs to go on: weights, the optimiser's state, and JSON-able notes."""
    tensors = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    for index, state in optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser.{index}.{name}": tensor for name, tensor in state.items()}
    save_tensors(path, tensors, notes)


def load_checkpoint(path: Path, model: nn.Module, optimiser: Optimizer) -> dict[str, Any] | None:
    """Restore what `save_checkpoint` wrote, and return its notes; None, and nothing done, without a file.

    Raises:
        RunError: the file is damaged, or its weights are another model's.
    """
    if not path.is_file():
        return None
    tensors, notes = load_tensors(path)
    weights: dict[str, Tensor] = {}
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        part, _, rest = name.partition(".")
        if part == "model":
            weights[rest] = tensor
        elif part == "optimiser":
            index, key = rest.split(".")
            state.setdefault(int(index), {})[key] = tensor
    restore(model, weights, path)
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})
    return notes


def save_tensors(path: Path, tensors: Mapping[str, Tensor], notes: Mapping[str, Any]) -> None:
    """Write tensors and JSON-able notes; a reader sees the old file or the new one."""
    stored = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    text = json.dumps(notes, sort_keys=True)
    # One entry of metadata: of several, safetensors writes the order anyhow, and equal runs differ in bytes.
    with written_whole(path) as temporary:
        save_file(stored, temporary, metadata={"notes": json.dumps([text, _digest(stored, text)])})


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what `save_tensors` wrote.

    Raises:
        RunError: the file is missing, damaged, or was not written by `save_tensors`.
    """
    if not path.is_file():
        raise RunError(f"There is no {path}, so this is not a finished training run. Train it (again).")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors: dict[str, Tensor] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        text, stated = json.loads(metadata["notes"])
        if stated != _digest(tensors, text):
            raise ValueError("its checksum differs")
        return tensors, json.loads(text)
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise RunError(
            f"{path} is damaged ({error}). "
            f"Restore it from a copy, or delete the run's folder and train again."
        ) from error


def _digest(tensors: Mapping[str, Tensor], text: str) -> str:
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()

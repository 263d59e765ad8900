"""The two networks of FENSE, built from the files that their authors published.

Both are BERTs over lower-case word pieces. The fluency error detector (Zhou et al. 2022) is bert-base-uncased
with a linear layer of six outputs on the first word piece; the sentence encoder is paraphrase-TinyBERT-L6-v2
(Reimers and Gurevych 2019), of six layers. Nothing here reaches the network, and nothing is read whose
checksum is not the published one.
"""

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from otoscribe import files
from otoscribe.errors import MetricError
from otoscribe.fetch.assets import FileSet
from otoscribe.fetch.published import PublishedFile

if TYPE_CHECKING:
    import torch
    from tokenizers import BertWordPieceTokenizer

ERRORS = ("add_tail", "repeat_event", "repeat_adv", "remove_conj", "remove_verb", "error")
"""What the detector's outputs find, in order. Only the last counts: whether anything is wrong."""
HEAD_SIZE = 64
"""The width of an attention head in every BERT. All other sizes are read off the weights."""
INSTALL = "otoscribe get fense"
"""What to type if a file is missing."""

_ENCODER = (
    "https://huggingface.co/sentence-transformers/paraphrase-TinyBERT-L6-v2/resolve/"
    "abd4049810603ad804fcb2b415805ddfdca13873"
)


DETECTOR = PublishedFile(
    "echecker_clotho_audiocaps_base.ckpt",
    ("https://github.com/blmoistawinde/fense/releases/download/V0.1/echecker_clotho_audiocaps_base.ckpt",),
    None,
    "sha256:1a719f090af70614bbdb9f9437530b7e133c48cfa4a58d964de0d47fc974a2fa",
)
"""The detector's weights, about 440 MB, MIT, saved by PyTorch. The checksum is `fense/evaluator.py`'s."""
ENCODER = PublishedFile(
    "paraphrase-TinyBERT-L6-v2.safetensors",
    (f"{_ENCODER}/model.safetensors",),
    None,
    "sha256:271b4d1464007725e4daec2b561bf9f4552c8a4aa09721f46c8c0165f0f16068",
)
"""The encoder's weights, 268 MB, Apache-2.0. The checksum is the one that Hugging Face shows."""
VOCABULARY = PublishedFile(
    "vocab.txt",
    (f"{_ENCODER}/vocab.txt",),
    231_508,
    "sha256:07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
)
"""The word pieces, one a line. The checksum is bert-base-uncased's, as both networks must share the file."""
FILES = (DETECTOR, ENCODER, VOCABULARY)
"""All that is to be put into `folder()`."""


def folder() -> Path:
    """Return the folder where the published files are kept."""
    return files.cache_folder() / "fense"


def asset() -> FileSet:
    """Return what `otoscribe get fense` gets."""
    return FileSet(
        name="fense",
        purpose="metrics FENSE and SPIDEr-FL: two networks",
        licence="MIT, Apache-2.0",
        bytes=706_000_000,  # about: nobody states those of the first two
        folder=folder(),
        ways=(FILES,),
    )


def require_packages() -> None:
    """Check that PyTorch and transformers are installed, without importing them.

    Raises:
        MetricError: they are not.
    """
    if any(find_spec(name) is None for name in ("torch", "transformers")):
        raise MetricError(
            "FENSE and SPIDEr-FL need PyTorch and transformers. Type: pip install 'otoscribe[fense]'"
        )


def device() -> str:
    """Return where to compute: on a GPU if there is one."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def load_detector() -> "torch.nn.ModuleDict":
    """Return the fluency error detector: "encoder", a BERT, and "clf", from its width to `ERRORS`.

    Raises:
        MetricError: the file is missing, or not what was published.
    """
    return _load(_verified(DETECTOR), _read_checkpoint, outputs=len(ERRORS))


def load_encoder() -> "torch.nn.ModuleDict":
    """Return the sentence encoder: "encoder", a BERT.

    Raises:
        MetricError: the file is missing, or not what was published.
    """
    return _load(_verified(ENCODER), _read_safetensors, outputs=0)


def load_word_pieces(longest: int) -> "BertWordPieceTokenizer":
    """Return what cuts texts into word pieces and fills a batch up to its longest text.

    Args:
        longest: how many pieces of a text are kept, the marks of its beginning and end included.

    Raises:
        MetricError: the file is missing, or not what was published.
    """
    from tokenizers import BertWordPieceTokenizer

    lines = _verified(VOCABULARY).read_text(encoding="utf-8").removesuffix("\n").split("\n")
    pieces = BertWordPieceTokenizer({line: number for number, line in enumerate(lines)}, lowercase=True)
    pieces.enable_truncation(longest)
    pieces.enable_padding(pad_id=lines.index("[PAD]"), pad_token="[PAD]")
    return pieces


def _verified(file: PublishedFile) -> Path:
    path = folder() / file.name
    if not path.is_file():
        absent = [other.name for other in FILES if not (folder() / other.name).is_file()]
        if len(absent) == len(FILES):
            raise MetricError(
                f"The networks of FENSE and SPIDEr-FL are not installed in {path.parent}. Type: {INSTALL}"
            )
        names = ", ".join(absent)
        raise MetricError(
            f"FENSE and SPIDEr-FL need files that are not in {path.parent}: {names}. Type: {INSTALL}"
        )
    try:
        with path.open("rb") as content:
            whole = file.matches(content)
    except OSError as error:
        raise MetricError(f"{path} cannot be read: {(error.strerror or str(error)).lower()}.") from error
    if not whole:
        raise MetricError(
            f"{path} is not the published file, whose checksum is {file.checksum}. "
            f"Delete it, then type: {INSTALL}"
        )
    return path


def _read_checkpoint(path: Path) -> "dict[str, torch.Tensor]":
    """Read what PyTorch saved; `weights_only` lets nothing but tensors, numbers and texts through."""
    import torch

    state: dict[str, torch.Tensor] = torch.load(path, map_location="cpu", weights_only=True)["state_dict"]
    return state


def _read_safetensors(path: Path) -> "dict[str, torch.Tensor]":
    from safetensors.torch import load_file

    return {f"encoder.{name}": tensor for name, tensor in load_file(path).items()}


def _load(
    path: Path, read: "Callable[[Path], dict[str, torch.Tensor]]", outputs: int
) -> "torch.nn.ModuleDict":
    """Build the network whose weights a file holds.

    Args:
        path: the file.
        read: gives its tensors by name: BERT's begin with "encoder.", the linear layer's with "clf.".
        outputs: of the linear layer; 0 if there is none.

    Raises:
        MetricError: the tensors are not those of such a network, all of them and no more.
    """
    import torch
    from transformers import BertConfig, BertModel

    try:
        state = read(path)
        # Numbers from 0 upwards, which transformers keeps beside the weights no more.
        state.pop("encoder.embeddings.position_ids", None)
        words, width = state["encoder.embeddings.word_embeddings.weight"].shape
        config = BertConfig(
            vocab_size=words,
            hidden_size=width,
            num_hidden_layers=sum(name.endswith(".intermediate.dense.bias") for name in state),
            num_attention_heads=width // HEAD_SIZE,
            intermediate_size=len(state["encoder.encoder.layer.0.intermediate.dense.bias"]),
            max_position_embeddings=len(state["encoder.embeddings.position_embeddings.weight"]),
            type_vocab_size=len(state["encoder.embeddings.token_type_embeddings.weight"]),
            hidden_act="gelu",
            layer_norm_eps=1e-12,
        )
        # A new network draws random numbers, which are the caller's.
        with torch.random.fork_rng(devices=[]):
            network = torch.nn.ModuleDict({"encoder": BertModel(config)})
            if outputs:
                network["clf"] = torch.nn.Linear(width, outputs)
        network.load_state_dict(state)
    except Exception as error:  # of any class: each way of being no such file raises another
        raise MetricError(
            f"{path} is as published, but PyTorch {torch.__version__} makes no network of it. "
            "Type: pip install --upgrade 'otoscribe[fense]'"
        ) from error
    return network.eval().to(device())

"""Small files of word vectors as gensim, fastText and transformers write them, and what these read back.

    pip install gensim fasttext-wheel transformers torch && python tests/golden/words/make_words.py

The files bear the names of the published ones, so the folder can stand in for theirs.
"""

import json
from pathlib import Path

import fasttext
import numpy as np
import torch
from gensim.models import KeyedVectors
from transformers import BertConfig, BertModel

FOLDER = Path(__file__).resolve().parent
WIDTH = 8
WORDS = ["in", "dog", "barks", "rain", "falls", "while", "on", "the", "bird", "Dog", "café", "high-pitched"]
CAPTIONS = ["a dog barks loudly while rain falls", "rain falls on the roof", "a bird sings in the café"]
PIECES = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    "-",
    "a",
    "dog",
    "bark",
    "##s",
    "##ing",
    "rain",
    "fall",
    "on",
]
PIECES += ["while", "the", "roof", "bird", "sing", "high", "pitch", "##ed", "low", "tone", "cafe"]
ASKED = ["dog", "café", "a", "barking", "über", "x", "high-pitched"]


def main() -> None:
    """Write the files."""
    vectors = KeyedVectors(WIDTH)
    random = np.random.default_rng(0)
    vectors.add_vectors(WORDS, random.standard_normal((len(WORDS), WIDTH)).astype(np.float32))
    vectors.save_word2vec_format(str(FOLDER / "GoogleNews-vectors-negative300.bin"), binary=True)
    vectors.save_word2vec_format(str(FOLDER / "glove.6B.300d.txt"), binary=False, write_header=False)

    text = FOLDER / "captions.txt"
    text.write_text("\n".join(CAPTIONS * 50), encoding="utf-8")
    model = fasttext.train_unsupervised(
        str(text), model="cbow", dim=WIDTH, minn=3, maxn=5, bucket=200, minCount=1, epoch=5, thread=1
    )
    text.unlink()
    path = FOLDER / "crawl-300d-2M-subword.bin"
    model.save_model(str(path))
    model = fasttext.load_model(str(path))
    expected = {
        "word2vec": {word: vectors[word].tolist() for word in WORDS},
        "fasttext": {word: model.get_word_vector(word).tolist() for word in ASKED},
    }
    torch.manual_seed(0)
    sizes = BertConfig(
        vocab_size=len(PIECES),
        hidden_size=16,
        num_hidden_layers=3,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
        initializer_range=0.5,  # so that pieces matter to each other
    )
    BertModel(sizes).save_pretrained(FOLDER)
    (FOLDER / "vocab.txt").write_text("\n".join(PIECES) + "\n", encoding="utf-8")
    text = json.dumps(expected, indent=1, ensure_ascii=False) + "\n"
    (FOLDER / "expected.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()

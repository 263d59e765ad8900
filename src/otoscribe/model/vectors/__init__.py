"""Files of word vectors in the layouts that their publishers chose, read without loading them."""

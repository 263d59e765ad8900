"""FENSE and SPIDEr-FL: similarity of meaning, and errors of fluency."""

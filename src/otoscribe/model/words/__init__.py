"""Word embeddings, one file each."""

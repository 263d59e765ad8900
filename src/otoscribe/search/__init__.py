"""Next-word probabilities → captions."""

"""Caption metrics, each in a file of its own."""

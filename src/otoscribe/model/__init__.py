"""The model's one definition, in PyTorch."""

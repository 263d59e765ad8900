"""The learning half: PyTorch modules, training and export."""

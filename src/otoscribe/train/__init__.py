"""Settings and recordings → a run → a bundle."""

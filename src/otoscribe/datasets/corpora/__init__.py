"""Published data sets: one file is one of them."""

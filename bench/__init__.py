"""Side-by-side measurements against peers, in one run on one machine; each a `make` target."""

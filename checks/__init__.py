"""Long checks against programs and data of others, each a `make` target."""

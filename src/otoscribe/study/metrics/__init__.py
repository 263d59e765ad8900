"""Metrics of a study's own."""

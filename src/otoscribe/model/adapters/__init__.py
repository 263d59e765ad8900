"""Adapters, one file each."""

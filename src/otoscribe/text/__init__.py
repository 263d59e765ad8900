"""Captions as text, ids and tables."""

"""Recordings with captions."""

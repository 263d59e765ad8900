"""Recordings → captions: the listening half in one object."""

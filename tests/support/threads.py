"""Threads that should be gone."""

import threading


def own_threads() -> list[threading.Thread]:
    """Return those that work for captioning many recordings."""
    return [thread for thread in threading.enumerate() if thread.name.startswith("otoscribe")]

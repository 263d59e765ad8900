"""Settings: frozen, validated, and named by the hash of everything that decides a result."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict

SCHEMA = 2
"""Raised whenever a setting's meaning changes, so that old run ids never pass for new ones."""


class Frozen(BaseModel):
    """Base of every settings object: immutable, no unknown keys, no coercion of types."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


def run_id(settings: Frozen) -> str:
    """Return 12 hexadecimal digits that name `settings` as fully resolved, defaults included."""
    # As any: a field declared by a base class must not leave out what the settings in it add to the base.
    return id_of(settings.model_dump(mode="json", serialize_as_any=True))


def id_of(values: Mapping[str, Any]) -> str:
    """Return what `run_id` does, of settings as they were written, which may lack what came later."""
    resolved = {"schema": SCHEMA, "settings": values}
    text = json.dumps(resolved, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]

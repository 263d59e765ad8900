"""Freesound ids of recordings, as Clotho's tables of metadata state them."""

import csv
import io
from pathlib import Path

from otoscribe.errors import TableError


def freesound_ids(table: Path) -> dict[str, str]:
    """Read which sound of Freesound each recording was cut from.

    Args:
        table: a CSV with the columns `file_name` and `sound_id`, in UTF-8 or ISO-8859-1.

    Returns:
        Ids by name, without the recordings of which no id is known ("Not found").

    Raises:
        TableError: the file cannot be read, or has other columns.
    """
    try:
        data = table.read_bytes()
    except OSError as error:
        raise TableError(f"{table} cannot be read: {(error.strerror or str(error)).lower()}.") from error
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:  # version 2.1, of which any byte is a letter
        text = data.decode("iso-8859-1")
    try:
        rows = [(row["file_name"], row["sound_id"]) for row in csv.DictReader(io.StringIO(text), strict=True)]
    except (KeyError, csv.Error) as error:
        raise TableError(f"{table} is no CSV with the columns file_name and sound_id.") from error
    return {name: number.strip() for name, number in rows if number and number.strip().isdecimal()}

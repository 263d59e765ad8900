"""Files of a record of Zenodo, which shows the MD5 of each."""

from otoscribe.fetch.published import PublishedFile


def published(record: int, name: str, size: int | None, md5: str) -> PublishedFile:
    """Describe a file.

    Args:
        record: number of the record.
        name: of the file.
        size: in bytes; None if it is not known here.
        md5: 32 hexadecimal digits, as Zenodo shows them.
    """
    url = f"https://zenodo.org/records/{record}/files/{name}?download=1"
    return PublishedFile(name, (url,), size, f"md5:{md5}")

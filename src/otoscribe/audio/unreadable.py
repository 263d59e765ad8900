"""What a file is that no decoder knows, and what helps."""

from otoscribe.audio.sources import Part

_HEAD = 4096

_OTHERS = {
    b"\x89PNG": "a PNG picture",
    b"\xff\xd8\xff": "a JPEG picture",
    b"GIF8": "a GIF picture",
    b"%PDF": "a PDF document",
    b"PK\x03\x04": "a ZIP archive (or an office document); unpack it",
    b"\x1f\x8b": "a gzip archive; unpack it",
    b"7z\xbc\xaf": "a 7-Zip archive; unpack it",
    b"Rar!": "a RAR archive; unpack it",
    b"MThd": "a MIDI file, which holds notes and no sound; render it",
    b"\x7fELF": "a program",
    b"SQLite format 3": "a database",
    b"\x93NUMPY": "a numpy array; give the array itself to caption_waveform",
    b"\x89HDF": "an HDF5 file",
}

_LISTS = (b"#EXTM3U", b"[playlist]", b"ffconcat", b"<MPD", b"v=0", b"<asx", b"[Reference]")


def reason(part: Part) -> str:
    """Return the rest of the sentence that begins with the file's name, and what to do."""
    head = part.at(0, _HEAD)
    if not part.size:
        return "is empty (0 bytes)."
    if head and not any(head) and not any(part.at(part.size - _HEAD, _HEAD) if part.size > _HEAD else b""):
        return "holds nothing but zeros, as after a copy that failed; copy or download it again."
    for magic, what in _OTHERS.items():
        if head.startswith(magic):
            return f"is no recording but {what}."
    if head[4:8] in (b"ftyp", b"mdat", b"free", b"wide"):
        return (
            "cannot be decoded: its index (moov) is missing or damaged, after a download that was cut or a "
            "recorder that never finished. Copy it again, or repair it with untrunc and another recording."
        )
    text = _text(head)
    if text is not None:
        if b"git-lfs.github.com" in head:
            return "is a Git LFS pointer, not the recording itself; type git lfs pull."
        if any(sign.lower() in head[:1024].lower() for sign in _LISTS):
            return "is a playlist, which names recordings and holds none; give the recordings themselves."
        if "<html" in text.lower() or "<!doctype" in text.lower():
            return "is a web page, not a recording; download the recording itself."
        return "is text, not a recording."
    return (
        "cannot be decoded: it is damaged from its beginning, or in a format that is not known. If another "
        "program plays it, save it there as WAV or FLAC."
    )


def _text(head: bytes) -> str | None:
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 4:  # a character may be cut at the end
            return None
        text = head[: error.start].decode("utf-8")
    return text if text and all(mark.isprintable() or mark in "\r\n\t\f" for mark in text) else None

"""Every caption of the test material through our tokeniser and through the Java one of pycocoevalcap.

    python -m checks.tokens

About 90,000 different texts: `$OTOSCRIBE_DATA/captions`, candidates and references of
`$OTOSCRIBE_DATA/golden/metrics`. Ends with 1 if the tokens of any differ or are refused. Takes seconds.
"""

import csv
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from checks.material import DATA, systems
from otoscribe.errors import MetricError
from otoscribe.metrics.java.runtime import jars, java
from otoscribe.metrics.tokenizer import tokenize

SHOWN = 20


def material() -> Iterator[str]:
    """Yield every caption, as its author wrote it."""
    for table in sorted((DATA / "captions").glob("*.csv")):
        with table.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                yield from (text for column, text in row.items() if column.startswith("caption"))
    for system in systems():
        yield from system.candidates.values()
        for references in system.references.values():
            yield from references
    for item in json.loads((DATA / "golden" / "metrics" / "golden.json").read_text("utf-8"))["items"]:
        yield item["candidate"]
        yield from item["references"]


def program_command() -> tuple[list[str], Path]:
    """Return the program's command line and the folder in which pycocoevalcap starts it."""
    folder = jars() / "tokenizer"
    name = "edu.stanford.nlp.process.PTBTokenizer"
    return [str(java()), "-cp", "stanford-corenlp-3.4.1.jar", name, "-preserveLines", "-lowerCase"], folder


def program_tokens(texts: Sequence[str]) -> list[list[str]]:
    """Tokenise captions with the program, each on a line of its own, as pycocoevalcap does."""
    # Imported here: the list that the two tokenisers are to share, from the one that is not ours.
    from pycocoevalcap.tokenizer.ptbtokenizer import PUNCTUATIONS

    command, folder = program_command()
    # The line between keeps the program from taking the next caption's beginning for a sentence's.
    lines = "".join(text.replace("\n", " ") + "\na\n" for text in texts)
    answer = subprocess.run(command, cwd=folder, input=lines.encode(), capture_output=True, check=True).stdout
    answers = answer.decode().split("\n")
    if answers[1::2] != ["a"] * len(texts):
        sys.exit("A caption holds a character that the program takes for the end of a line.")
    return [
        [token for token in line.rstrip().split(" ") if token and token not in PUNCTUATIONS]
        for line in answers[: 2 * len(texts) : 2]
    ]


def main() -> None:
    """Compare, and print what differs."""
    texts = list(dict.fromkeys(material()))
    wrong = []
    for text, theirs in zip(texts, program_tokens(texts), strict=True):
        try:
            ours = tokenize(text)
        except MetricError as error:
            wrong.append(f"{text!r}\n  refused: {error}")
            continue
        if ours != theirs:
            wrong.append(f"{text!r}\n  ours: {ours}\n  program: {theirs}")
    print("\n".join(wrong[:SHOWN]))
    print(f"{len(texts)} different texts, {len(wrong)} of them with other tokens than the program's.")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()

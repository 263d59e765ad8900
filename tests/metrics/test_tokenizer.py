# ruff: noqa: RUF001, SIM905
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otoscribe.errors import MetricError
from otoscribe.metrics import tokenizer
from otoscribe.metrics.java import runtime
from otoscribe.metrics.tokenizer import tokenize

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "metrics" / "golden.json").read_text("utf-8"))

# What the Java program gave, with a bar for each blank between tokens. Punctuation that it drops is gone.
PLANTED = {
    "A dog barks.": "a|dog|barks",
    "A dog barks, then  howls": "a|dog|barks|then|howls",
    "": "",
    " ... !": "",
    "a dog\nbarks": "a|dog|barks",
    # contractions
    "It's a dog's bark; don't stop": "it|'s|a|dog|'s|bark|do|n't|stop",
    "They’re can’t I’d WE'LL HE'S": "they|'re|ca|n't|i|'d|we|'ll|he|'s",
    "cannot gonna. Cannot-do": "can|not|gon|na|cannot-do",
    "'tis 'twas y'all c'mon": "'t|is|'t|was|y'|all|c'mon",
    "rock 'n' roll, rock'n'roll": "rock|'n'|roll|rock|'n'|roll",
    "l'amour o'clock O'Brien ma'am": "l'amour|o'clock|o'brien|ma'am",
    "the birds' song 'loud' echo'd": "the|birds|song|loud|echo|'d",
    "the '90s, '90 or 1990's": "the|'90s|'90|or|1990|'s",
    # quotation marks and brackets
    "\"Go\" he said “Stop” ‘now’ ``x''": "go|he|said|stop|now|x",
    "a “‘nested’” one": "a|```|nested|'''|one",
    "(a) [b] {c} <unk>": "-lrb-|a|-rrb-|-lsb-|b|-rsb-|-lcb-|c|-rcb-|<unk>",
    # numbers
    "1,000.5 at 5:30pm, 2nd of 12/25": "1,000.5|at|5:30|pm|2nd|of|12/25",
    "½ or 1 1/2 or -5%": "1/2|or|1\xa01/2|or|-5|%",
    "$5, £5, €5, US$5, 5¢": "$|5|#|5|$|5|us$|5|5|cents",
    "call 555-123-4567 or (555) 123-4567": "call|555-123-4567|or|-lrb-555-rrb-\xa0123-4567",
    # hyphens, slashes, capitals
    "walkie-talkie – e-mail -- 10-20 - co-": "walkie-talkie|e-mail|10-20|co",
    "and/or w/o his/her-like a_b": "and/or|w/o|his/her-like|a_b",
    "barks.Then wow!What wind,high-pitched wind,knocking": (
        "barks.then|wow!what|wind,high-pitched|wind|knocking"
    ),
    "AT&T, R&B, r&b, C# C++": "at&t|r&b|r|&|b|c#|c++",
    # abbreviations
    "Mr. Bean at 5 p.m. etc.": "mr.|bean|at|5|p.m.|etc.",
    "to B. Mr. Bean with B. Mrs. Bean and B. Ms. Bean": "to|b|mr.|bean|with|b.|mrs.|bean|and|b|ms.|bean",
    "PLAN A. THE END": "plan|a|the|end",
    "plan a. the end": "plan|a.|the|end",
    "plan b. Then plan b. then No. 5 no. five": "plan|b|then|plan|b.|then|no.|5|no|five",
    "wait... wait… hm..": "wait|wait|hm",
    "so loud!! really?! dogs., cats": "so|loud|!!|really|?!|dogs.|cats",
    # other writing
    "café naïve Müller ΩΔ 犬 cafe\u0301": "café|naïve|müller|ωδ|犬|cafe\u0301",
    "dog🐶barks ♫ a\u200bb 5°C": "dog|barks|♫|a|b|5|°|c",
    "a\tb\xa0c\u2003d\u3000e": "a|b|c|d|e",
    "#dogs @dog :) ^_^": "#dogs|@dog|:-rrb-|^_^",
    "*gulp* dog| ~5 8.wav": "*|gulp|*|dog|||~|5|8.wav",
}


@pytest.mark.parametrize("text", PLANTED)
def test_planted_tokens(text: str) -> None:
    assert "|".join(tokenize(text)) == PLANTED[text]


def test_golden_captions() -> None:
    for item in GOLDEN["items"]:
        assert tokenize(item["candidate"]) == item["candidate_tok"].split()
        assert [tokenize(text) for text in item["references"]] == [
            text.split() for text in item["references_tok"]
        ]


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("a\rb", r"the character '\\r'"),
        ("a\u2028b", r"the character '\\u2028'"),
        ("a\x00b", r"the character '\\x00'"),
        ("a dog\x85", r"the character '\\x85'"),
        ("bar\xadking", r"the character '\\xad'"),
        ("a\ud800b", r"the character '\\ud800'"),
        ("ΣΣ", "the character 'Σ'"),
        ("कुत्ता", "the character 'क'"),
        ("see https://a.b/c now", "the address of a page 'https://a.b/c'"),
        ("see a-b.com", "the address of a page 'a-b.com'"),
        ("write to me@home.org", "an e-mail address 'me@home.org'"),
        ("salt &amp; pepper", "markup '&amp;'"),
        ("a <b class=x>dog</b>", "markup '<b class=x>'"),
    ],
)
def test_what_cannot_be_matched_is_refused(text: str, part: str) -> None:
    with pytest.raises(MetricError, match=f"^The caption .* holds {part}, which .* write it in plain words"):
        tokenize(text)
    with pytest.raises(MetricError):
        tokenize(text)


def test_a_refusal_shows_the_beginning_of_a_long_text() -> None:
    with pytest.raises(MetricError) as caught:
        tokenize("dog " * 10_000 + "\r")
    assert len(str(caught.value)) < 250


def test_every_accepted_character_has_a_rule() -> None:
    for code in (*range(0x3100), *range(0x4E00, 0x11000, 7)):
        if not tokenizer._UNREADABLE.match(chr(code)):
            tokenize(chr(code))


def test_ten_thousand_words() -> None:
    assert len(tokenize("it's " * 10_000)) == 20_000
    assert len(tokenize("dogs bark, " * 5_000)) == 10_000


class Program:
    """The Java program, asked again and again."""

    # The program reads and writes in blocks: so much must follow before it lets an answer go.
    PADDING = b"a\n" * 20_000

    def __init__(self, command: list[str]) -> None:
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )

    def ask(self, texts: list[str]) -> list[list[str]]:
        from pycocoevalcap.tokenizer.ptbtokenizer import PUNCTUATIONS

        assert self.process.stdin is not None
        assert self.process.stdout is not None
        lines = [text.replace("\n", " ") for text in texts]
        question = "a\nb\n" + "".join(f"{line}\na\n" for line in lines)
        self.process.stdin.write(question.encode() + self.PADDING)
        self.process.stdin.flush()
        # What is left of the last question's padding comes first.
        while (answer := self.process.stdout.readline()) == b"a\n":
            pass
        assert answer == b"b\n"
        answers = [self.process.stdout.readline().decode() for _ in range(2 * len(lines))]
        assert answers[1::2] == ["a\n"] * len(lines), "a line was split"
        return [
            [token for token in line.rstrip().split(" ") if token and token not in PUNCTUATIONS]
            for line in answers[::2]
        ]


@pytest.fixture(scope="module")
def program() -> Iterator[Program]:
    try:
        jar = runtime.jars() / "tokenizer" / "stanford-corenlp-3.4.1.jar"
        start = [str(runtime.java()), "-XX:TieredStopAtLevel=1", "-Xmx256m", "-cp", str(jar)]
    except MetricError as error:
        pytest.skip(str(error))
    running = Program([*start, "edu.stanford.nlp.process.PTBTokenizer", "-preserveLines", "-lowerCase"])
    yield running
    running.process.kill()
    running.process.communicate()


def same(program: Program, texts: list[str]) -> None:
    ours = {}
    for text in texts:
        try:
            ours[text] = tokenize(text)
        except MetricError:
            continue
    assert ours == dict(zip(ours, program.ask(list(ours)), strict=True))


PIECES = (
    "a I A dog Dog cat barks café Ω 犬 we the The Then don can cannot gonna lemme n't N'T 's 'S 're 'll "
    "'d 'tis 'em 'til 'cause n 'n' o' l' y' y'all c'mon be'a G'day . . , , ! ? ; : .. ... …  - -- --- – "
    "— ‐ / \\ ( ) [ ] { } < > & + * _ # $ % ^ ~ | = ' ' ’ ‘ ` \" “ ” « » '' 1 2 12 123 5.5 1,000 ½ 1/2 "
    "5:30 555 1234 +1 '90s '20 80s € £ § ° 🐶 p.m. U.S. etc. Mr. mr. no. No. Jan. Inc. Ph.D. mar. R&B "
    "AT&T C# walkie-talkie co-op x s t m é \u0301 \u200b \u2009 \xa0 \t \u3000 :) ;D x_x ^_^ wav 8.x "
    "kHz"
).split(" ")
pieces = st.lists(st.sampled_from([*PIECES, *" " * 40]), max_size=9).map("".join)
letters = st.text(
    st.sampled_from("".join(map(chr, range(32, 127))) + "aeinost  ''..,,--" + "“”’‘…–é½€"), max_size=12
)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.lists(pieces | letters, min_size=20, max_size=100))
def test_equals_the_program(program: Program, texts: list[str]) -> None:
    same(program, texts)


words = st.sampled_from(
    "A dog dogs bark barks loudly and the wind while rain it I speech then Then on".split()
)
ends = st.sampled_from(["", "", "", ",", ".", "...", "'s", "'", "!", ")", '"', ":", ";", "-like", "/hum"])
starts = st.sampled_from(["", "", "", "", "(", '"', "'", "“", "e-", "$", "2", "#"])
english = st.lists(st.builds("{}{}{}".format, starts, words, ends), max_size=12).map(" ".join)


@settings(max_examples=8, deadline=None, derandomize=True)
@given(st.lists(english, min_size=20, max_size=100))
def test_english_is_never_refused(program: Program, texts: list[str]) -> None:
    assert [tokenize(text) for text in texts] == program.ask(texts)


@pytest.mark.slow
def test_characters_equal_the_program(program: Program) -> None:
    # Chinese and Korean letters are too many to ask for each.
    characters = [
        chr(c) for c in (*range(0x20, 0x3100), *range(0x4E00, 0xD7A4, 297), *range(0xF900, 0x1FB00, 49))
    ]
    known = [c for c in characters if c != "\n" and not tokenizer._UNREADABLE.match(c)]
    assert len(known) > 4000
    for form in ("a{}b {}", "{}a 1{}2", "A-{}/b"):
        for begin in range(0, len(known), 2000):
            same(program, [form.format(c, c) for c in known[begin : begin + 2000]])

# ruff: noqa: RUF001
"""Penn Treebank tokens of captions, as pycocoevalcap scores them, without Java.

The tokens are those that the PTBTokenizer of CoreNLP 3.4.1 gives, with `-preserveLines -lowerCase`, for a
caption on a line of its own, less pycocoevalcap's list of punctuation (its `ptbtokenizer.py`). They follow
the Penn Treebank ("do n't", "-lrb-") with that program's habits: "walkie-talkie", "and/or" and "barks.then"
stay whole, emoji vanish. The rules were found by testing against the program, and `python -m checks.tokens`
tests them again.

As in the program, the rule that reads furthest wins, what it must see behind its token included; of several
that read equally far it is the first in the list.
"""

import re
from collections.abc import Callable
from itertools import chain
from typing import NamedTuple

from otoscribe.errors import MetricError

# Those of pycocoevalcap that can occur. Its "-LRB-" never does: tokens are lower case, so brackets stay.
_DROPPED = frozenset(["", "''", "'", "``", "`", ".", "?", "!", ",", ":", "-", "--", "...", ";"])

# Latin, Greek, Cyrillic, Hebrew, Arabic, Chinese, Japanese and Korean letters that the program knows as such,
# but not the capital sigma, whose lower case Java and Python choose differently.
_L = (
    r"A-Za-z\xaa\xb5\xba\xc0-\xd6\xd8-\xf6\xf8-\u02c1\u0370-\u0373\u0376\u0377\u0386\u0388-\u038a\u038c"
    r"\u038e-\u03a1\u03a4-\u03f5\u03f7-\u0481\u048a-\u0527\u05d0-\u05ea\u0620-\u064a\u1e00-\u1eff"
    r"\u3005\u3006\u3041-\u3096\u30a1-\u30fa\u30fc-\u30ff\u4e00-\u9fcc\uac00-\ud7a3"
)
_ACCENT = r"\u0300-\u036f"
# Each of these is a token.
_SYMBOL = (
    r"\xa1\xa5-\xa9\xac\xae-\xb4\xb6-\xb9\xbf\xd7\xf7\u2016\u2017\u2020-\u2023\u2030-\u2038\u203b\u203e-\u2042"
    r"\u2044\u2070\u2074-\u207e\u2080-\u208e\u20a4\u2100\u2101\u2103-\u2106\u2108\u2109\u2114\u2116-\u2118"
    r"\u211e-\u2123\u2125\u2127\u2129\u212e\u2155-\u215e\u2190-\u27bf\u2b00-\u2bff\u3001\u3002\u30fb"
    r"\uff01-\uff0f\uff1a-\uff20\uff3b-\uff40\uff5b-\uff65"
)
_SPACE = r" \t\xa0\u2000-\u200a\u3000"
# Left out by the program, which does not know them. They end a token as spaces do.
_UNKNOWN = (
    r"\u200b-\u200f\u2012\u2024\u2025\u2027\u202a-\u202f\u203c\u203d\u2043\u2045-\u206f\u20a1-\u20a3\u20a5-\u20ab"
    r"\u20ad-\u20bf\u300a-\u3011\ufe00-\ufe0f\ufeff\ufffd\U00010000-\U0010ffff"
)
# fmt: off
_WRITTEN = str.maketrans({
    '"': "''", "“": "``", "”": "''", "«": "``", "»": "''", "‘": "`", "’": "'", "‛": "`", "‹": "`", "›": "'",
    "½": "1/2", "¼": "1/4", "¾": "3/4", "⅓": "1/3", "⅔": "2/3", " ": "\xa0",
    "€": "$", "¤": "$", "₠": "$", "£": "#", "¢": "cents",
    "(": "-lrb-", ")": "-rrb-", "[": "-lsb-", "]": "-rsb-", "{": "-lcb-", "}": "-rcb-",
})
# fmt: on


class _Rule(NamedTuple):
    pattern: re.Pattern[str]
    """Group 1 is the token. What the match holds behind it must be there, but belongs to the next token."""
    write: Callable[[str], str]
    """The token as the program writes it; a dropped one if it leaves it out."""
    refused: str
    """What the token is, if the program's ways with it are not matched here; empty otherwise."""


def _rule(pattern: str, write: Callable[[str], str] = str.lower, refused: str = "") -> _Rule:
    return _Rule(re.compile(pattern, re.ASCII), write, refused)


def _leave_out(token: str) -> str:
    return ""


def _translate(token: str) -> str:
    return token.lower().translate(_WRITTEN)


def _smile(token: str) -> str:
    return token.lower().replace("(", "-lrb-").replace(")", "-rrb-")


_APOSTROPHE = "['’`‘‛]"
_LETTERS = rf"[{_L}{_ACCENT}][{_L}{_ACCENT}0-9]*"
_WORD = rf"{_LETTERS}(?:[.!?]{_LETTERS})*"
_ELIDED = rf"(?:[dolDOL]{_APOSTROPHE}[{_L}0-9])?[{_L}0-9]+"
_HYPHENED = rf"{_ELIDED}(?:[-_‐‑]{_ELIDED})*"
_INITIALS = r"[A-Za-z](?:\.[A-Za-z])+\."
_LISTED = rf"[A-Za-z0-9][A-Za-z0-9.,]*+(?:-(?:{_INITIALS}|[A-Za-z0-9]+))+"
_SLASHED = r"[A-Za-z0-9]+(?:-[A-Za-z]+){0,2}"
_JOINED_CAPITALS = r"[A-Z]+(?:[&+][A-Z]+)+"
_UNBROKEN = r'[^ \t\xa0\n"<>|(){}]'
_LABEL = r'[^ \t\xa0\n"<>|.!?(){},]++\.'
_FIRST = (
    r"A|About|According|Additionally|After|An|As|At|But|Earlier|He|Her|Here|However|If|In|It|Last|Many|More|M[rs]\."
    r"|Now|Once|One|Other|Our|She|Since|So|Some|Such|That|The|Their|Then|There|These|They|This|We|What|When|While"
    r"|Yet|You"
)
_SENTENCE_START = rf"[{_SPACE}]+(?:</?[A-Za-z][A-Za-z0-9]*>|(?=[A-Z])(?i:{_FIRST})[{_SPACE}\n])"
_TITLE = (
    r"(?i:adj|adm|adv|alex|assoc|asst|attys?|ave|brig|capt|cf|cie|cmdr|col|comdr|cpl|dept|det|drs?|elec|ens|ft|gen"
    r"|govs?|hon|insp|invt|jos|lieut|lt|maj|messrs|mlle|mme|mrs?|ms|msgr|mt|natl|pfc|ph|pres|profs?|pvt|reps?|rev"
    r"|sens?|sfc|sgt|spc|ste?|supts?|treas|vs|wm)|[Mm]fg|[Mm]tg"
)
_SHORT = (
    r"(?i:al|ala|apr|ariz|assn|aug|bancorp|bhd|bldg|blvd|bros|calif|co|colo|conn|corp|cos|ct|dak|dec|esq|est|etc"
    r"|ext|feb|fla|fri|ga|inc|ind|intl|jan|jr|jul|jun|kans?|ky|ltd|mar|md|mich|minn|mo|mon|mont|neb|nev|nov|oct"
    r"|okla|penn|plc|rd|rt|sept?|seq|sq|sr|sys|tel|tenn|thu|thurs|tues?|univ|va|vt|wed|wisc?|wyo|(?:ed|ph)\.d)"
    r"|(?!ark|az|del|ill|la|mass|miss|ore|pa|tex|wash)(?i:ark|az|del|ill|la|mass|miss|ore|pa|tex|wash)"
    r"|[Pp]p?t[ey]s?"
)
_EXTENSION = (
    r"(?i:bat|bmp|c|cgi|class|cpp|dll|docx?|exe|gif|gz|h|html?|jar|java|jpe?g|mov|mp3|pdf|php|pl|png|ppt|ps|py|sql"
    r"|tar|txt|wav|x|xml|zip)"
)

_RULES = (
    # Words, and what contracted words begin with.
    _rule(r"(?i)(can(?=not)|(?:gon|wan)(?=na)|got(?=ta)|(?:lem|gim)(?=me))(?:not|na|ta|me)"),
    _rule(r"(?i)('t)(?:is|was)"),
    _rule(rf"({_WORD})['’](?i:[msd]|re|ve|ll)"),
    _rule(rf"([A-Za-z]*[A-MO-Za-mo-z])[Nn]{_APOSTROPHE}[Tt]"),
    _rule(rf"({_WORD})"),
    _rule(rf"([A-Za-z0-9](?:(?!@){_UNBROKEN})*+@{_UNBROKEN}+)", refused="an e-mail address"),
    _rule(
        rf"(?i)(https?://{_UNBROKEN}+|(?:www\.(?:{_LABEL})+[a-z]{{2,4}}|(?:{_LABEL})+(?:com|net|org|edu))"
        rf"(?:/{_UNBROKEN}*)?)",
        refused="the address of a page",
    ),
    _rule(
        r"(?i)(['’](?:n['’]?|em|cause|till?|[2-9]0s)|[ldj]['’]|(?:ol|somethin|dunkin)['’]|c'mon|e'er|s'mores"
        r"|ev'ry|li'l|nat'l|nor'easter|cap'n|cont'd\.|o['’`‘‛]o)"
    ),
    _rule(rf"([A-HJ-XZn]{_APOSTROPHE}[{_L}]{{2,}}|[{_L}]+[aeiouyAEIOUY]{_APOSTROPHE}[aeiouA-Z][{_L}]*)"),
    _rule(rf"([yY]['’])[{_L}]"),
    # What contracted words end with; an apostrophe before other letters opens a quotation.
    _rule(r"(?i)(['’](?:[msd]|re|ve|ll))[^A-Za-z]", _translate),
    _rule(rf"([Nn]{_APOSTROPHE}[Tt])", _translate),
    _rule(r"(')[A-Za-z][^ \t\xa0\n]"),
    _rule(r"(?i)(['’](?:[msd]|re|ve|ll))", _translate),
    # Numbers.
    _rule(rf"(['’][0-9]{{2}})[{_SPACE}\n]"),
    _rule(r"([0-9]{1,2}[-/][0-9]{1,2}[-/][0-9]{2,4})"),
    _rule(r"([-+]?(?:[0-9]*(?:[.,:][0-9]+)+|[0-9]+))"),
    _rule(r"((?:[0-9]{1,4}[- \xa0])?[0-9]{1,4}(?:\\?/|⁄)[0-9]{1,4})", _translate),
    _rule(r"([⁺⁻₊₋]?(?:[⁰¹²³⁴-⁹]+|[₀-₉]+))"),
    # Compounds.
    _rule(rf"({_HYPHENED})"),
    _rule(rf"((?:{_WORD}|{_HYPHENED}|{_LISTED}|{_JOINED_CAPITALS})\.)[,;:]"),
    # Abbreviations; a single letter keeps its full stop unless a sentence seems to begin.
    _rule(rf"((?=[A-Za-z]+\.)(?:{_TITLE})\.)"),
    _rule(rf"((?=[A-Za-z]+\.)(?:{_SHORT})\.)(?s:..|)"),
    _rule(rf"(?i)((?:art|ca|figs?|nos?|op|pp|prop)\.)[{_SPACE}]?[0-9]"),
    _rule(rf"([A-Za-z])\.{_SENTENCE_START}"),
    _rule(rf"({_INITIALS}|[A-Za-z]\.)"),
    # Other things that hold letters and digits.
    _rule(rf"((?:[{_L}{_ACCENT}0-9]+\.)+{_EXTENSION})[{_SPACE}\n.?!,]"),
    _rule(rf"({_LISTED})"),
    _rule(rf"({_SLASHED}(?:\\?/{_SLASHED}){{1,2}})"),
    _rule(rf"({_JOINED_CAPITALS}|[CcFf]#|[Cc]\+\+)"),
    _rule(r"([A-Z]*\$)"),
    _rule(rf"(#[{_L}{_ACCENT}]+|@[A-Za-z_][A-Za-z0-9_]*)"),
    _rule(r"(?i)(-[lr][rcs]b-)"),
    _rule(r"(</?[A-Za-z][A-Za-z0-9]*>)"),
    _rule(r"(<[!?/]?[A-Za-z][^<>\n]*>|<!--[^<>\n]*>|&[A-Za-z]+;|&#[0-9]*;?)", refused="markup"),
    # Telephone numbers and smileys.
    _rule(
        r"((?:\([0-9]{2,3}\)[ \xa0]?|\+{0,2}(?:[0-9]{2,4}[- \xa0])?[0-9]{2,4}[- \xa0])"
        r"[0-9]{3,4}[- \xa0]?[0-9]{3,5})",
        write=_translate,
    ),
    _rule(r"(\+{0,2}(?:[0-9]{2,4}\.){1,2}[0-9]{3,4}\.[0-9]{3,5})"),
    _rule(r"([<>]?[:;=][-o*']?[()DPdpO\\{@|\[\]])[^A-Za-z0-9]", write=_smile),
    _rule(r"(\([-^x=~<>'][_.]?[-^x=~<>']\)|[-^x=~<>']_[-^x=~<>'])", write=_smile),
    # Punctuation. Of unknown characters, dots and dashes nothing is left.
    _rule(rf"([{_SPACE}{_UNKNOWN}‐‑]|\.{{3,5}}|\.(?:[ \xa0]\.){{2,4}}|…|-{{1,4}}|[–—―])", write=_leave_out),
    _rule(r"(-{5,}|[?!]+|\*+|\\\*|_+|@+|#+|<<|>>)"),
    _rule(r"""(''|["']|[`‘’‛“”„‚«»‹›]{1,2}|[][(){}½¼¾⅓⅔€¤₠£¢])""", write=_translate),
    _rule(rf"([.,;:%&+=<>/\\|~^{_SYMBOL}{_ACCENT}])"),
)

_UNREADABLE = re.compile(rf"[^\t\n -~‐‑–—―…“”„«»‘’‛‚‹›½¼¾⅓⅔€¤₠£¢{_L}{_ACCENT}{_SYMBOL}{_SPACE}{_UNKNOWN}]")
# Nine captions of ten are one such run: words that nothing in the list above reads otherwise.
_PLAIN = re.compile(
    rf"(?:[A-Za-z]+,? )*(?:[A-Za-z]+\n|(?!(?:{_TITLE}|{_SHORT})\.)[A-Za-z]{{2,}}\.\n)?", re.ASCII
)
_SPLIT = {word: (word[:3], word[3:]) for word in ("cannot", "gonna", "gotta", "wanna", "lemme", "gimme")}


def tokenize(text: str) -> list[str]:
    """Split a caption into the tokens that pycocoevalcap compares.

    Args:
        text: one caption. A line break in it counts as a space, as there.

    Returns:
        Its tokens in lower case, without punctuation; none if it holds no word. A token may hold a no-break
        space ("1 1/2", telephone numbers).

    Raises:
        MetricError: the text holds what is not matched here: control characters and line separators (which
            make the program shift the captions after it), soft hyphens, letters of rarer scripts, addresses
            of pages and mail, markup.
    """
    if not (text.isascii() and text.isprintable()):
        unreadable = _UNREADABLE.search(text)
        if unreadable:
            raise _refusal(text, "the character", unreadable[0])
    line = text.replace("\n", " ") + "\n"
    tokens: list[str] = []
    place = 0
    while True:
        run = _PLAIN.match(line, place)
        assert run is not None, "the pattern matches the empty text"
        if run.end() > place:
            words = run.group().lower().replace(",", "").replace(".", "").split()
            if not _SPLIT.keys().isdisjoint(words):
                words = list(chain.from_iterable(_SPLIT.get(word, (word,)) for word in words))
            tokens += words
            place = run.end()
            if place == len(line):
                return tokens
        while line[place] in " \t\xa0":
            place += 1
        if line[place] == "\n":
            return tokens
        token, place = _next(line, place)
        if token not in _DROPPED:
            tokens.append(token)


def _next(line: str, place: int) -> tuple[str, int]:
    """Return the token that begins at a place, and where the next may begin."""
    furthest = place
    for rule in _RULES:
        match = rule.pattern.match(line, place)
        if match and match.end() > furthest:
            furthest, best, token = match.end(), rule, match
    if best.refused:
        raise _refusal(line[:-1], best.refused, token[1])
    return best.write(token[1]), token.end(1)


def _refusal(text: str, what: str, part: str) -> MetricError:
    start = repr(text if len(text) <= 60 else text[:60] + "...")
    return MetricError(
        f"The caption {start} holds {what} {part!r}, which the tokeniser cannot read as pycocoevalcap does: "
        "write it in plain words, or leave it out."
    )

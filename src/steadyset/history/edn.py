"""A reader of EDN, as Jepsen writes it: one regular expression, positions for error messages.

The kept library on the package index, edn_format, reads 0.27 MB/s and does not say where an error is; a history of a
million ops is some 200 MB, hence this one. Plain maps, which events are, are rewritten as JSON and read as such.
Keywords, symbols and characters become str, sets become lists, tags and record names are dropped except
`jepsen.independent` tuples, which become Python tuples.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

import msgspec

_TOKEN: Final = re.compile(
    r"""
    (?P<space>(?:[\s,]+|;[^\n]*)+)
  | (?P<keyword>:[^\s,;()\[\]{}"]+)
  | (?P<number>[-+]?\d+(?:N|M|(?P<float>\.\d*(?:[eE][-+]?\d+)?M?|[eE][-+]?\d+M?))?(?=[\s,;()\[\]{}"]|$))
  | (?P<open>\#\{|[(\[{])
  | (?P<close>[)\]}])
  | (?P<string>"(?:[^"\\]|\\.)*")
  | (?P<char>\\(?:newline|space|tab|return|u[0-9a-fA-F]{4}|.))
  | (?P<discard>\#_)
  | (?P<tag>\#[A-Za-z][^\s,;()\[\]{}"]*)
  | (?P<symbol>[^\s,;()\[\]{}"#\\:][^\s,;()\[\]{}"]*)
    """,
    re.VERBOSE | re.DOTALL,
)
_PLAIN: Final = re.compile(r"""\{[\w\s:,.\[\]+*/?!<>=-]*(?:"[\w.-]*"[\w\s:,.\[\]+*/?!<>=-]*)*\}""")
_KEYWORD: Final = re.compile(r"(?<![\w.:*/?!<>=+\"-]):([^\s\[\]:,\"]+)")
_NIL: Final = re.compile(r"(?<![^\s\[])nil(?![^\s\]])")
_KNOWN_MAX: Final = 10_000
_known: dict[str, str] = {}
_decode: Final = msgspec.json.Decoder(list[Any]).decode
_CLOSES: Final = {"(": ")", "[": "]", "{": "}", "#{": "}"}
_SYMBOLS: Final = {"nil": None, "true": True, "false": False}
_ESCAPES: Final = {"n": "\n", "t": "\t", "r": "\r", '"': '"', "\\": "\\", "b": "\b", "f": "\f"}
_ESCAPE: Final = re.compile(r"\\(u[0-9a-fA-F]{4}|.)", re.DOTALL)
_INDEPENDENT: Final = "#jepsen.independent"


class EdnError(ValueError):
    """What is wrong, and at which position of the text."""

    def __init__(self, message: str, position: int) -> None:
        super().__init__(message)
        self.position = position


class _Open:
    """A form that is not closed yet."""

    __slots__ = ("bracket", "items", "position", "prefixes")

    def __init__(self, bracket: str, position: int, prefixes: list[str]) -> None:
        self.bracket, self.position, self.prefixes = bracket, position, prefixes
        self.items: list[Any] = []


def _key(value: Any) -> Any:
    return (
        tuple(_key(item) for item in value)
        if isinstance(value, list)
        else str(value)
        if isinstance(value, dict)
        else value
    )


def _closed(form: _Open, position: int) -> Any:
    if form.bracket != "{":
        return form.items
    if len(form.items) % 2:
        raise EdnError("a map needs a value for every key", position)
    keys, values = form.items[::2], form.items[1::2]
    try:
        return dict(zip(keys, values, strict=True))
    except TypeError:
        return dict(zip(map(_key, keys), values, strict=True))


def _string(text: str) -> str:
    inner = text[1:-1]
    if "\\" not in inner:
        return inner
    return _ESCAPE.sub(lambda m: chr(int(m[1][1:], 16)) if m[1][0] == "u" else _ESCAPES.get(m[1], m[1]), inner)


def _atom(kind: str, text: str, is_float: bool) -> Any:
    if kind == "keyword":
        return text[1:]
    if kind == "number":
        return float(text.rstrip("M")) if is_float else int(text.rstrip("NM"))
    if kind == "string":
        return _string(text)
    if kind == "char":
        return text[1:]
    return _SYMBOLS.get(text, text)


def _word(token: str) -> str:
    """A token of a plain map as JSON; keywords and nils are few and remembered."""
    if ":" not in token and "nil" not in token:
        return token
    word = _NIL.sub("null", _KEYWORD.sub(r'"\1"', token))
    if len(_known) < _KNOWN_MAX:
        _known[token] = word
    return word


def _plain(text: str) -> dict[str, Any] | None:
    """A map of keywords, numbers, nil, plain strings and vectors of these; None for what takes the long way."""
    words = [_known[token] if token in _known else _word(token) for token in text[1:-1].replace(",", " ").split()]
    try:
        flat = _decode(f"[{','.join(words)}]")
        return dict(zip(flat[::2], flat[1::2], strict=True))
    except (msgspec.DecodeError, ValueError, TypeError, RecursionError):
        return None


def read_forms(text: str, start: int = 0) -> Iterator[tuple[int, Any]]:  # noqa: PLR0912, PLR0915 - one pass, for speed
    """Every form with its position; a vector or list at the top level gives its elements one by one.

    Raises EdnError for what is not EDN, and for a form that is not closed.
    """
    top = _Open("", start, [])
    stack = [top]
    prefixes: list[str] = []  # tags and discards before the next form
    position = start
    match = _TOKEN.match
    while position < len(text):
        token = match(text, position)
        if token is None:
            raise EdnError(f"cannot read {text[position : position + 20]!r}", position)
        begin, position = position, token.end()
        kind = token.lastgroup or ""
        if kind == "space":
            continue
        if kind == "float":
            kind = "number"
        plain = _PLAIN.match(text, begin) if token[0] == "{" else None
        value: Any = _plain(plain[0]) if plain is not None else None
        if kind == "open" and value is None:
            stack.append(_Open(token[0], begin, prefixes))
            prefixes = []
            continue
        if kind in ("discard", "tag"):
            prefixes = [*prefixes, token[0]]
            continue
        if kind == "close":
            form = stack.pop()
            if not stack or _CLOSES[form.bracket] != token[0]:
                raise EdnError(f"{token[0]} closes nothing here", begin)
            if prefixes:
                raise EdnError(f"{prefixes[-1]} is followed by nothing", begin)
            value, begin, applied = _closed(form, begin), form.position, form.prefixes
        elif plain is not None and value is not None:
            position, applied, prefixes = plain.end(), prefixes, []
        else:
            try:
                value, applied, prefixes = _atom(kind, token[0], token["float"] is not None), prefixes, []
            except ValueError as error:  # a number of thousands of digits
                raise EdnError(str(error), begin) from None
        if applied:
            if "#_" in applied:
                continue
            if isinstance(value, list) and any(tag.startswith(_INDEPENDENT) for tag in applied):
                value = tuple(value)
        parent = stack[-1]
        if parent is top:
            if kind != "close" or not isinstance(value, list) or isinstance(value, tuple):
                yield begin, value
            continue
        if len(stack) == 2 and parent.bracket in ("[", "("):
            yield begin, value
        else:
            parent.items.append(value)
    if len(stack) > 1:
        raise EdnError(
            f"the {stack[-1].bracket} opened here is never closed: the file is cut short", stack[-1].position
        )
    if prefixes:
        raise EdnError(f"{prefixes[-1]} is followed by nothing: the file is cut short", len(text))


def read_one(text: str) -> Any:
    """The single form in `text`, a vector being one form here; EdnError when there is none or more than one."""
    forms = [form for _, form in read_forms(f"{{:form {text}\n}}")]
    if len(forms) != 1 or not isinstance(forms[0], dict) or list(forms[0]) != ["form"]:
        raise EdnError(f"expected one value, seen {text!r}", 0)
    return forms[0]["form"]

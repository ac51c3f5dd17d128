"""Take secrets out of text before it is saved in a run: logs, events, describe output, YAML and JSON dumps.

Two nets: values that are known (read from the cluster's Secrets), in plain text, JSON, URL and base64 form; and shapes
that betray a secret (private keys, Authorization headers, JSON web tokens, `password: …`). It errs on the side of
taking too much.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import quote

MARK = "[REDACTED]"
KNOWN_LENGTH_MIN = 4  # shorter known values occur by chance everywhere; only the shapes catch those
FRAGMENT_LENGTH_MIN = 8  # base64 characters that identify a value inside a longer base64 text

_KEY = (
    r"[\w.-]*(?:passwo?r?d|passwd|passphrase|secret|token|api[_-]?key|access[_-]?key|private[_-]?key|client-key-data"
    r"|credentials?|cookie|pgpass)"
)
_VALUE = r"(?:\\\"(?:[^\"\\]|\\[^\"])*\\\"|\"(?:[^\"\\\n]|\\.)*\"|'[^'\n]*'|[^\s,;&\"'}\])]+)"
_HARMLESS = re.compile(
    r"""^["'\\]*(?:true|false|null|none|nil|<none>|<nil>|<unset>|\[REDACTED\]|)["'\\]*$""", re.IGNORECASE
)


def _keep_key(match: re.Match[str]) -> str:
    value = match.group("value")
    if _HARMLESS.match(value) or value[:1] in "{[(":
        return match.group(0)
    quoting = next((q for q in ('\\"', '"', "'") if value.startswith(q)), "")
    return f"{match.group('key')}{quoting}{MARK}{quoting}"


_SHAPES: list[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]]] = [
    # A private key: to its END line, or, when the text was cut, over everything that looks like base64.
    (
        re.compile(
            r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----"
            r"(?:(?:.|\n)*?-----END [A-Z0-9 ]*PRIVATE KEY-----|(?:[A-Za-z0-9+/=\s]|\\n)*)"
        ),
        MARK,
    ),
    (re.compile(r"LS0tLS1CRUdJTi[A-Za-z0-9+/=]{40,}"), MARK),  # base64 of "-----BEGIN "
    (
        re.compile(
            r"(?P<key>\b(?:proxy-)?authorization\b\\?[\"']?\s*[:=]\s*\[?\s*\\?[\"']?\s*(?:(?:bearer|basic|digest|negotiate)\s+)?)"
            r"(?P<value>[^\s\"'\\,\]]+)",
            re.IGNORECASE,
        ),
        _keep_key,
    ),
    (re.compile(r"(?P<key>\bbearer\s+)(?P<value>[A-Za-z0-9._~+/=-]{12,})", re.IGNORECASE), _keep_key),
    (re.compile(r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*)?"), MARK),  # JSON web token
    (re.compile(r"(?P<key>\b[a-z][a-z0-9+.-]*://[^\s/:@]*:)(?P<value>[^\s/@]+)(?=@)", re.IGNORECASE), _keep_key),
    # Environment lists: name and value in two fields, in YAML and in JSON.
    (
        re.compile(
            rf"(?P<key>\\?[\"']?name\\?[\"']?\s*:\s*\\?[\"']?{_KEY}\\?[\"']?\s*,?\s*\\?[\"']?value\\?[\"']?\s*:\s*)(?P<value>{_VALUE})",
            re.IGNORECASE,
        ),
        _keep_key,
    ),
    (re.compile(rf"(?P<key>{_KEY}\\?[\"']?[ \t]*(?:=|:|=>)[ \t]*)(?P<value>{_VALUE})", re.IGNORECASE), _keep_key),
    (re.compile(rf"(?P<key>--?{_KEY}[ \t]+)(?P<value>(?!-){_VALUE})", re.IGNORECASE), _keep_key),
    (re.compile(rf"(?P<key>\bidentified by\s+|\bpassword\s+(?='))(?P<value>{_VALUE})", re.IGNORECASE), _keep_key),
]


def _forms(value: str) -> set[str]:
    """How a known value may appear: as it is, JSON-escaped, URL-quoted, in base64 alone or inside a longer text."""
    raw = value.encode()
    forms = {value, json.dumps(value)[1:-1], quote(value, safe="")}
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        forms.add(encode(raw).decode().rstrip("="))
        for shift in range(3):
            # Only the characters that depend on nothing but the value: skip those shared with what stands around it.
            encoded = encode(b"\0" * shift + raw).decode().rstrip("=")
            first = (shift * 8 + 5) // 6
            last = (shift + len(raw)) * 8 // 6
            if last - first >= FRAGMENT_LENGTH_MIN:
                forms.add(encoded[first:last])
    return forms


def redact(text: str, known: Iterable[str] = ()) -> str:
    """`text` without secrets, each replaced by `[REDACTED]`.

    `known` are secret values to remove wherever they stand (see `secret_values`), also in base64, URL and JSON form and
    line by line when they have several lines; those shorter than KNOWN_LENGTH_MIN characters are left to the shapes.
    Idempotent.
    """
    parts = {part.strip() for value in known for part in (value, *value.splitlines())}
    forms = {form for part in parts if len(part) >= KNOWN_LENGTH_MIN for form in _forms(part)}
    if forms:
        longest_first = sorted((f for f in forms if len(f) >= KNOWN_LENGTH_MIN), key=len, reverse=True)
        text = re.sub("|".join(map(re.escape, longest_first)), MARK, text)
    for pattern, replacement in _SHAPES:
        text = pattern.sub(replacement, text)
    return text


def secret_values(secrets: Iterable[Mapping[str, Any]]) -> set[str]:
    """The decoded values of Kubernetes Secret objects (JSON dicts), without binary ones, which text cannot hold."""
    found: set[str] = set()
    for secret in secrets:
        found.update(str(v) for v in (secret.get("stringData") or {}).values())
        for encoded in (secret.get("data") or {}).values():
            try:
                found.add(base64.b64decode(encoded).decode())
            except UnicodeDecodeError:
                continue
    return {value for value in found if value.strip()}

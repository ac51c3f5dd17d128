"""Transactions as one flat list of whole numbers: kind, key, count, values, and so on for each micro-op."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

APPEND: Final = 0
READ: Final = 1
UNREAD: Final = -1  # count of a read whose answer is not known

MicroOp = tuple[int, int, Sequence[int] | None]  # kind, key, values (None: not known)


def encode_txn(micro: Iterable[MicroOp]) -> list[int]:
    """The flat list of a transaction's micro-ops."""
    flat: list[int] = []
    for kind, key, values in micro:
        flat += (kind, key, UNREAD) if values is None else (kind, key, len(values), *values)
    return flat


def decode_txn(flat: Sequence[int]) -> list[tuple[int, int, list[int] | None]]:
    """The micro-ops of a flat list; ValueError when it is none."""
    found: list[tuple[int, int, list[int] | None]] = []
    flat, at, size = list(flat), 0, len(flat)
    while at < size:
        kind, key, count = flat[at : at + 3] if at + 3 <= size else (-1, 0, 0)
        at += 3
        if kind not in (APPEND, READ) or at + count > size:
            raise ValueError(f"no transaction: position {at - 3} of {size}")
        if count < 0:
            found.append((kind, key, None))
            continue
        found.append((kind, key, flat[at : at + count]))
        at += count
    return found

"""Histories: what every client asked, when, and what it was told. Written by load, read by checkers.

`HistoryWriter` appends events to one Arrow IPC stream, `load_history` pairs the events of a file or folder into ops.
"""

from steadyset.history.columns import (
    FAIL,
    FOREVER,
    INFO,
    NIL,
    OK,
    PAST,
    Generator,
    History,
    Op,
    history_of,
)
from steadyset.history.reader import load_history
from steadyset.history.writer import SCHEMA, Answer, HistoryWriter

__all__ = [
    "FAIL",
    "FOREVER",
    "INFO",
    "NIL",
    "OK",
    "PAST",
    "SCHEMA",
    "Answer",
    "Generator",
    "History",
    "HistoryWriter",
    "Op",
    "history_of",
    "load_history",
]

"""Versions of append-only lists: their order from the longest read, what contradicts it, what it implies."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from steadyset.checkers.base import Violation, shown, unique_ops
from steadyset.checkers.dependency_graph import RW, WR, WW
from steadyset.history import FAIL, INFO, OK, History
from steadyset.history.columns import Ints
from steadyset.history.txn import APPEND, decode_txn

Micro = tuple[int, int, list[int] | None]


@dataclass
class Versions:
    """Transactions that took effect (`txns`: ops), what they did, and what follows from it."""

    history: History
    txns: Ints
    micro: list[list[Micro]]
    violations: list[Violation] = field(default_factory=list)
    edges: list[tuple[int, int, int, int]] = field(default_factory=list)
    longest: dict[int, tuple[list[int], int]] = field(default_factory=dict)  # key -> longest read, and its op
    reads: int = 0
    appends: int = 0
    unknown: int = 0
    unknown_observed: int = 0

    @classmethod
    def build(cls, history: History, ops: Ints) -> Versions:
        """From every transaction of a history."""
        decoded = {op: decode_txn(history.values(op).tolist()) for op in ops.tolist()}
        writer: dict[tuple[int, int], int] = {}
        failed: dict[tuple[int, int], int] = {}
        twice: tuple[int, int, int] | None = None
        for op, micro in decoded.items():
            for kind, key, values in micro:
                if kind == APPEND and values:
                    table = failed if history.outcome[op] == FAIL else writer
                    if table is writer and writer.setdefault((key, values[0]), op) != op:
                        twice = (key, values[0], op)
                    table.setdefault((key, values[0]), op)
        outcome = history.outcome
        whole: dict[int, list[int]] = {}  # the longest read of each key holds what any read of it may hold
        for op, micro in decoded.items():
            if outcome[op] == OK:
                for kind, key, values in micro:
                    if kind != APPEND and values and len(values) > len(whole.get(key, ())):
                        whole[key] = values
        seen = {writer.get((key, value), -1) for key, values in whole.items() for value in values}
        kept = [op for op in decoded if outcome[op] == OK or (outcome[op] == INFO and op in seen)]
        found = cls(history, np.array(kept, dtype=np.int64), [decoded[op] for op in kept])
        unknown = {op for op in decoded if outcome[op] == INFO}
        found.unknown, found.unknown_observed = len(unknown), len(unknown & seen)
        if twice is not None:
            key, value, op = twice
            summary = f"{shown(value)} was appended to {shown(key)} twice: appended values must be unique"
            found.violations.append(Violation("not unique", summary, unique_ops(writer[key, value], op), [], True))
        found._infer(writer, failed)
        return found

    def _infer(self, writer: dict[tuple[int, int], int], failed: dict[tuple[int, int], int]) -> None:
        longest = self.longest
        reads: list[tuple[int, int, list[int]]] = []  # node, key, values
        last_append: dict[tuple[int, int], int] = {}  # op, key -> its last value
        for n, micro in enumerate(self.micro):
            op = int(self.txns[n])
            for kind, key, values in micro:
                if kind == APPEND and values:
                    self.appends += 1
                    last_append[op, key] = values[0]
                elif values is not None and self.history.outcome[op] == OK:
                    reads.append((n, key, values))
                    if key not in longest or len(values) > len(longest[key][0]):
                        longest[key] = (values, op)
            if self.history.outcome[op] == OK and not _consistent(micro):
                summary = "internal: a transaction did not see what it had done before, or saw what it did later"
                self.violations.append(Violation("internal", summary, [op], []))
        self.reads = len(reads)
        self._check_appends(longest)
        self._check_reads(reads, longest, writer, failed, last_append)
        self._depend(reads, longest, writer)

    def _check_appends(self, longest: dict[int, tuple[list[int], int]]) -> None:
        """What one transaction appended to a key stands there in its order, from the first on."""
        place = {key: {value: at for at, value in enumerate(values)} for key, (values, _) in longest.items()}
        for n, micro in enumerate(self.micro):
            mine: dict[int, list[int]] = {}
            for kind, key, values in micro:
                if kind == APPEND and values and key in place:
                    mine.setdefault(key, []).append(values[0])
            for key, appended in mine.items():
                found = [place[key].get(value, -1) for value in appended]
                here = [at for at in found if at >= 0]
                if here and (found[: len(here)] != here or here != sorted(here)):
                    op, reader = int(self.txns[n]), longest[key][1]
                    summary = f"what a transaction appended to {shown(key)} stands there incomplete or in another order"
                    lines = [f"it appended {appended}, the longest read holds {_short(longest[key][0])}"]
                    self.violations.append(Violation("reordered appends", summary, unique_ops(op, reader), lines))

    def _depend(
        self,
        reads: list[tuple[int, int, list[int]]],
        longest: dict[int, tuple[list[int], int]],
        writer: dict[tuple[int, int], int],
    ) -> None:
        """The edges that the version orders imply; committed appends nobody read come after all that was read."""
        node = {op: n for n, op in enumerate(self.txns.tolist())}
        following: dict[tuple[int, int], int] = {}  # key, position -> the transaction that appended there
        unread: dict[int, list[int]] = {}
        in_order = {key: set(values) for key, (values, _) in longest.items()}
        for (key, value), op in writer.items():
            if key in in_order and value not in in_order[key] and op in node:
                unread.setdefault(key, []).append(node[op])
        for key, (values, _) in longest.items():
            chain = [node.get(writer.get((key, value), -1), -1) for value in values]
            following.update({(key, at): n for at, n in enumerate(chain)})
            self.edges += [(a, b, WW, key) for a, b in pairwise(chain) if a >= 0 and b >= 0 and a != b]
            if chain and chain[-1] >= 0:
                self.edges += [(chain[-1], n, WW, key) for n in unread.get(key, ()) if n != chain[-1]]
        for n, key, values in reads:
            wrote = following[key, len(values) - 1] if values else -1
            if wrote >= 0 and wrote != n:
                self.edges.append((wrote, n, WR, key))
            if len(values) < len(longest[key][0]):
                then = [following[key, len(values)]]
            else:
                then = unread.get(key, [])
            self.edges += [(n, other, RW, key) for other in then if other not in (-1, n)]

    def _check_reads(
        self,
        reads: list[tuple[int, int, list[int]]],
        longest: dict[int, tuple[list[int], int]],
        writer: dict[tuple[int, int], int],
        failed: dict[tuple[int, int], int],
        last_append: dict[tuple[int, int], int],
    ) -> None:
        """Duplicates, values nobody or only an aborted transaction appended, forks, intermediate reads."""
        note = self.violations.append
        for key, (values, op) in longest.items():
            if len(set(values)) < len(values):
                again = next(v for v in values if values.count(v) > 1)
                note(Violation("duplicate", f"{shown(again)} is twice in {shown(key)}", [op], []))
            for value in values:
                if (key, value) in writer:
                    continue
                if (key, value) in failed:
                    summary = (
                        f"G1a, aborted read: {shown(value)} in {shown(key)} was appended by an aborted transaction"
                    )
                    note(Violation("G1a", summary, unique_ops(failed[key, value], op), []))
                else:
                    summary = f"{shown(value)} in {shown(key)} was appended by nobody"
                    note(Violation("phantom", summary, [op], [], needs_all=True))
        for n, key, values in reads:
            whole, other = longest[key]
            op = int(self.txns[n])
            if whole[: len(values)] != values:
                at = next(i for i, (a, b) in enumerate(zip(values, whole, strict=False)) if a != b)
                summary = f"incompatible order: two reads of {shown(key)} disagree at position {at}"
                ops = unique_ops(writer.get((key, values[at])), writer.get((key, whole[at])), op, other)
                note(
                    Violation(
                        "incompatible order", summary, ops, [f"{values[at]} and {whole[at]} came both at that position"]
                    )
                )
                for value in values:
                    if (key, value) in failed and (key, value) not in writer:
                        note(
                            Violation(
                                "G1a", f"G1a, aborted read of {shown(value)}", unique_ops(failed[key, value], op), []
                            )
                        )
            if values:
                source = writer.get((key, values[-1]), -1)
                # a writer of unknown outcome that only a read of another order saw is no transaction here
                if source >= 0 and source != op and last_append.get((source, key), values[-1]) != values[-1]:
                    summary = f"G1b, intermediate read: {shown(key)} was read between two appends of one transaction"
                    note(Violation("G1b", summary, unique_ops(source, op), []))

    def shown_by(self, n: int) -> int | None:
        """The op whose read shows that transaction `n`, of unknown outcome, took effect."""
        for kind, key, values in self.micro[n]:
            if kind == APPEND and values and values[0] in self.longest.get(key, ((), 0))[0]:
                return self.longest[key][1]
        return None

    def read_then_appended(self, n: int, key: int) -> bool:
        """Whether transaction `n` read `key` and later appended to it."""
        has_read = False
        for kind, of_key, _ in self.micro[n]:
            if of_key == key and kind == APPEND and has_read:
                return True
            has_read = has_read or (of_key == key and kind != APPEND)
        return False

    def describe(self, n: int) -> str:
        """Transaction `n` in words."""
        parts = []
        for kind, key, values in self.micro[n]:
            if kind == APPEND and values:
                parts.append(f"append {shown(values[0])} to {shown(key)}")
            else:
                parts.append(f"read {shown(key)} = {'?' if values is None else _short(values)}")
        return f"process {int(self.history.process[self.txns[n]])}: {', '.join(parts)}"

    def describe_op(self, op: int) -> str:
        """The transaction that is op `op`, in words."""
        return self.describe(int(np.flatnonzero(self.txns == op)[0]))


def _consistent(micro: list[Micro]) -> bool:
    """Whether each read of a transaction agrees with what it read and appended before, and with nothing later."""
    expected: dict[int, list[int]] = {}
    own: dict[int, list[int]] = {}
    if len(micro) < 2:
        return True
    later = [(key, values[0]) for kind, key, values in micro if kind == APPEND and values]
    for kind, key, values in micro:
        if values is None:
            continue
        if kind == APPEND:
            later.remove((key, values[0]))
            own.setdefault(key, []).append(values[0])
            if key in expected:
                expected[key] = [*expected[key], values[0]]
            continue
        mine = own.get(key, [])
        if later and any(of == key and value in values for of, value in later):
            return False
        if expected.get(key, values) != values or (mine and values[-len(mine) :] != mine):
            return False
        expected[key] = values
    return True


def _short(values: list[int], most: int = 8) -> str:
    if len(values) <= most:
        return str(values)
    return f"[… {len(values) - most} more, {', '.join(map(str, values[-most:]))}]"

"""Transfers between accounts: every read of all accounts shows the same total, no account overdrawn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from steadyset.checkers.base import Violation, conclude, shown
from steadyset.checkers.places import in_time
from steadyset.history import INFO, NIL, OK, History
from steadyset.verdict import Judgement


@dataclass(frozen=True)
class Bank:
    """`read-all` lists account, balance, account, balance, …; transfers move money between accounts.

    `total`: what all balances add up to (None: what the first read shows). `overdraft`: balances may be negative.
    `reads_min`: fewer reads prove nothing (INVALID).
    """

    reads_min: int = 1
    total: int | None = None
    overdraft: bool = False
    rule: ClassVar[str] = "bank"
    claim: ClassVar[str] = "A transaction is seen as a whole or not at all: money is neither made nor destroyed."

    def check(self, history: History) -> Judgement:
        """Judge every read of all accounts."""
        reads = np.flatnonzero(history.is_f("read-all") & (history.outcome == OK))
        reads = in_time(history.start, reads)
        transfers = int((history.is_f("transfer") & (history.outcome == OK)).sum())
        violations: list[Violation | None] = []
        total, accounts, totals = self.total, None, []
        for read in reads.tolist():
            pairs = history.values(read).reshape(-1, 2)
            names, balances = pairs[:, 0], pairs[:, 1]
            known = frozenset(names.tolist())
            if accounts is None:
                accounts, base = known, read
            found = int(balances.sum()) if not (balances == NIL).any() else None
            total = found if total is None else total
            totals.append(found)
            base_read = [] if self.total is not None else [base]
            if known != accounts:
                summary = f"a read shows other accounts: {len(known)} instead of {len(accounts)}"
                violations.append(Violation("unexpected accounts", summary, [base, read], []))
            elif found is None:
                empty = shown(int(names[np.flatnonzero(balances == NIL)[0]]))
                violations.append(Violation("nil balance", f"account {empty} has no balance", [read], []))
            elif found != total:
                lines = [f"the balances add up to {found}, not {total}"]
                ops = list(dict.fromkeys([*base_read, read]))
                violations.append(Violation("wrong total", f"a read adds up to {found} instead of {total}", ops, lines))
            elif not self.overdraft and (balances < 0).any():
                i = int(np.flatnonzero(balances < 0)[0])
                summary = f"account {shown(int(names[i]))} is at {int(balances[i])}"
                violations.append(
                    Violation("negative balance", summary, [read], ["no transfer may overdraw an account"])
                )
        unknown = int((history.is_f("transfer") & (history.outcome == INFO)).sum())
        counts = {"reads": len(reads), "transfers": transfers, "unknown": unknown, "accounts": len(accounts or ())}
        seen = [value for value in totals if value is not None]
        data = {"total": total, "totals_seen": [min(seen), max(seen)] if seen else []}
        return conclude(self, history, violations, counts, {"reads": self.reads_min, "accounts": 1}, data=data)

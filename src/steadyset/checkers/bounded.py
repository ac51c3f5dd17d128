"""A bounded search for a linearization, exact for any small model; its timeout is *unknown*, never a pass.

Just-in-time search (Wing and Gong 1993, Lowe 2017): events are walked in order of time and the set of configurations is
kept, each a state of the model and the open ops already linearized. An op is linearized only when some op returns.
Ops of unknown outcome stay open for ever; a configuration that needed fewer of them dominates one of the same state
that needed more, so only the minimal ones are kept. Invocations come before returns of the same instant: ties are
concurrent.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from steadyset.checkers.base import Violation, seconds, unique_ops
from steadyset.history import FOREVER, History

SEARCH_BUDGET_S: Final = 10.0
_CLOCK_EVERY: Final = 256  # configurations between two looks at the clock
_STATES_SHOWN: Final = 4
_NEAR_SHOWN: Final = 8

State = Hashable
Step = Callable[[State, "Item"], State | None]  # the state after the op, or None when it is impossible there


class Item(NamedTuple):
    """One op of the search: `op` is its position in the history; an unknown one has `end` FOREVER."""

    op: int
    start: int
    end: int
    kind: str
    a: object = None
    b: object = None


@dataclass
class Outcome:
    """`linearizable` is None when the budget ran out. `stuck` is the op that nothing can explain."""

    linearizable: bool | None
    stuck: Item | None = None
    states: list[State] = field(default_factory=list)  # what the states could be when it got stuck
    configurations: int = 0


class _OutOfTimeError(Exception):
    pass


class _Search:
    def __init__(self, step: Step, budget_s: float) -> None:
        self.step = step
        self.deadline = time.monotonic() + budget_s
        self.visited = 0

    def tick(self) -> None:
        self.visited += 1
        if self.visited % _CLOCK_EVERY == 0 and time.monotonic() > self.deadline:
            raise _OutOfTimeError

    def advance(
        self,
        configs: dict[tuple[State, int], list[int]],
        target: int,
        open_ops: dict[int, Item],
        unknown: dict[int, Item],
    ) -> dict[tuple[State, int], list[int]]:
        """Every minimal configuration in which the op of bit `target` has been linearized."""
        reached: dict[tuple[State, int], list[int]] = {}
        seen: dict[tuple[State, int], list[int]] = {}
        stack = [(state, mask, used) for (state, mask), masks in configs.items() for used in masks]
        stack.sort(key=lambda entry: -entry[2].bit_count())  # the least constrained on top
        while stack:
            state, mask, used = stack.pop()
            self.tick()
            if mask & target:
                _keep(reached, (state, mask & ~target), used)
                continue
            if not _keep(seen, (state, mask), used):
                continue
            tried = set()
            for bit, item in unknown.items():
                if used & bit or (item.kind, item.a, item.b) in tried:
                    continue
                tried.add((item.kind, item.a, item.b))
                after = self.step(state, item)
                if after is not None and after != state:
                    stack.append((after, mask, used | bit))
            for bit, item in open_ops.items():
                if mask & bit:
                    continue
                after = self.step(state, item)
                if after is not None:
                    stack.append((after, mask | bit, used))
        return reached


def _keep(table: dict[tuple[State, int], list[int]], at: tuple[State, int], used: int) -> bool:
    """Add `used` unless a subset of it is there; drop its supersets."""
    masks = table.get(at)
    if masks is None:
        table[at] = [used]
        return True
    if any(mask & used == mask for mask in masks):
        return False
    table[at] = [mask for mask in masks if mask & used != used] + [used]
    return True


def search(items: Sequence[Item], step: Step, initials: Iterable[State], budget_s: float = SEARCH_BUDGET_S) -> Outcome:
    """Whether the items can be put in an order that respects time and that `step` allows from one of `initials`."""
    events = sorted(
        [(item.start, 0, n) for n, item in enumerate(items)]
        + [(item.end, 1, n) for n, item in enumerate(items) if item.end < FOREVER]
    )
    engine = _Search(step, budget_s)
    configs: dict[tuple[State, int], list[int]] = {(state, 0): [0] for state in initials}
    open_ops: dict[int, Item] = {}
    unknown: dict[int, Item] = {}
    bits: dict[int, int] = {}
    free: list[int] = []
    for _, is_return, n in events:
        item = items[n]
        if not is_return:
            if item.end == FOREVER:
                unknown[1 << len(unknown)] = item
            else:
                bits[n] = free.pop() if free else 1 << len(bits)
                open_ops[bits[n]] = item
            continue
        try:
            after = engine.advance(configs, bits[n], open_ops, unknown)
        except _OutOfTimeError:
            return Outcome(None, stuck=item, configurations=engine.visited)
        if not after:
            states = list(dict.fromkeys(state for state, _ in configs))
            return Outcome(False, stuck=item, states=states, configurations=engine.visited)
        configs = after
        open_ops.pop(bits[n])
        free.append(bits[n])
        del bits[n]
    return Outcome(True, configurations=engine.visited)


def register_step(state: State, item: Item) -> State | None:
    """A register with compare-and-set: write(a), read(a), cas(a -> b), refused(a): the value was not a."""
    if item.kind == "write":
        return item.a
    if item.kind == "read":
        return state if state == item.a else None
    if item.kind == "cas":
        return item.b if state == item.a else None
    return state if state != item.a else None


def search_ops(
    history: History, items: Sequence[Item], step: Step, initial: State, budget_s: float = SEARCH_BUDGET_S
) -> tuple[Violation | None, str]:
    """The violation a search finds, or why nothing could be decided ("" when there is an order)."""
    outcome = search(items, step, [initial], budget_s)
    if outcome.linearizable is None:
        seen = f"{outcome.configurations} configurations of {len(items)} ops"
        return None, f"unknown: the search did not end within search_budget_s = {budget_s:g} s ({seen})"
    stuck = outcome.stuck
    if outcome.linearizable or stuck is None:
        return None, ""
    near = [item for item in items if item.start <= stuck.end and item.end >= stuck.start and item.op != stuck.op]
    near.sort(key=lambda item: item.start)
    line = f"when {stuck.kind} ended at {seconds(history, stuck.end)} no order of all ops before it was possible"
    if len(outcome.states) <= _STATES_SHOWN:
        line += f"; the state just before could only be {' or '.join(map(str, outcome.states))}"
    ops = unique_ops(*(item.op for item in near[-_NEAR_SHOWN:]), stuck.op)
    return Violation("not linearizable", f"no order of the ops explains {stuck.kind} (op {stuck.op})", ops, [line]), ""

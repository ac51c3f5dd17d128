"""Dependencies between transactions as a graph: strongly connected components, and the shortest cycle in words.

Nodes are transactions; real time adds a chain of nodes, one per completion, so that it takes a linear number of edges.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np

from steadyset.history import FOREVER
from steadyset.history.columns import Ints

WW: Final = 0  # overwrote what the other wrote
WR: Final = 1  # read what the other wrote
RW: Final = 2  # read what the other then overwrote
PROCESS: Final = 3  # came later in one process
REAL_TIME: Final = 4  # began after the other had ended
_STARTS_MAX: Final = 2000  # edges tried for a cycle before it is given a weaker name
KINDS: Final = ("ww", "wr", "rw", "process", "real time")


@dataclass
class Edges:
    """Edges as columns; `detail` is the key of a data dependency."""

    source: Ints
    target: Ints
    kind: Ints
    detail: Ints

    @classmethod
    def of(cls, rows: Iterable[tuple[int, int, int, int]]) -> Edges:
        """From (source, target, kind, key) rows."""
        table = np.array(list(rows), dtype=np.int64).reshape(-1, 4)
        return cls(table[:, 0], table[:, 1], table[:, 2], table[:, 3])

    def __add__(self, other: Edges) -> Edges:
        return Edges(
            np.concatenate([self.source, other.source]),
            np.concatenate([self.target, other.target]),
            np.concatenate([self.kind, other.kind]),
            np.concatenate([self.detail, other.detail]),
        )

    def only(self, *kinds: int) -> Edges:
        """Edges of these kinds."""
        mask = np.isin(self.kind, kinds)
        return Edges(self.source[mask], self.target[mask], self.kind[mask], self.detail[mask])


def real_time(start: Ints, end: Ints) -> Edges:
    """Real-time order of nodes 0 … n-1 through n.. chain nodes: linear in their number."""
    done = np.flatnonzero(end < FOREVER)
    done = done[np.argsort(end[done], kind="stable")]
    if not len(done):
        return Edges.of([])
    nodes = len(start) + np.arange(len(done))
    last = np.searchsorted(end[done], start) - 1  # the last completion strictly before each start
    after = np.flatnonzero(last >= 0)
    source = np.concatenate([done, nodes[:-1], nodes[last[after]]])
    target = np.concatenate([nodes, nodes[1:], after])
    return Edges(source, target, np.full(len(source), REAL_TIME), np.zeros(len(source), dtype=np.int64))


def components(edges: Edges, size: int) -> Ints:
    """The strongly connected component of each of `size` nodes."""
    # imported here: it takes half a second that no other checker needs
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    ones = np.ones(len(edges.source), dtype=np.int8)
    graph = coo_array((ones, (edges.source, edges.target)), shape=(size, size)).tocsr()
    _, labels = connected_components(graph, directed=True, connection="strong")
    return np.asarray(labels, dtype=np.int64)


def cyclic(edges: Edges, size: int) -> Edges:
    """The edges that lie on cycles."""
    if not len(edges.source):
        return edges
    labels = components(edges, size)
    mask = labels[edges.source] == labels[edges.target]
    return Edges(edges.source[mask], edges.target[mask], edges.kind[mask], edges.detail[mask])


Step = tuple[int, int, int, int]  # source, target, kind, key


def shortest_cycle(
    edges: Edges, *, starts: int = 50, through: int | None = None, once: bool = False
) -> list[Step] | None:
    """A shortest cycle among `edges` (which must lie on cycles), looked for from up to `starts` edges.

    `through`: the cycle must use an edge of that kind; `once`: exactly one.
    """
    out: dict[int, list[Step]] = {}
    for step in zip(*(c.tolist() for c in (edges.source, edges.target, edges.kind, edges.detail)), strict=True):
        if not (once and step[2] == through):
            out.setdefault(step[0], []).append(step)
    best: list[Step] | None = None
    tried = 0
    for step in zip(*(c.tolist() for c in (edges.source, edges.target, edges.kind, edges.detail)), strict=True):
        if through is not None and step[2] != through:
            continue
        if tried >= (starts if best is not None else _STARTS_MAX):
            break
        tried += 1
        path = _path(out, step[1], step[0], len(best) - 1 if best else None)
        if path is not None and (best is None or len(path) + 1 < len(best)):
            best = [step, *path]
    return best


def _path(out: dict[int, list[Step]], source: int, target: int, shorter_than: int | None) -> list[Step] | None:
    """The shortest path from source to target, of fewer steps than that."""
    if source == target:
        return []
    came: dict[int, Step] = {}
    depth = {source: 0}
    queue = deque([source])
    while queue:
        node = queue.popleft()
        if shorter_than is not None and depth[node] + 1 >= shorter_than:
            return None
        for step in out.get(node, ()):
            if step[1] in depth:
                continue
            depth[step[1]] = depth[node] + 1
            came[step[1]] = step
            if step[1] == target:
                path = []
                while target != source:
                    path.append(came[target])
                    target = came[target][0]
                return path[::-1]
            queue.append(step[1])
    return None

"""Users of one store with a list and some registers, over sessions kept to each member and through a Service."""

from __future__ import annotations

import time
from typing import Any, Protocol

from steadyset.history import HistoryWriter
from steadyset.load.recorder import Answer, Op, Recorder
from steadyset.load.user import Shared, WorkloadUser
from steadyset.wait import wait_for

KEYS = ("k0", "k1", "k2", "k3")
LISTS = ("list",)
ADDS = 0.6
FINAL_READ_S = 90.0  # until somebody has answered the final reads
RECONNECT_EVERY = 20  # ops through the Service before a fresh connection shows where it leads now


class StoreClient(Protocol):
    """One session, opened when needed."""

    @property
    def generation(self) -> int:
        """Number of the connection the next op goes over, from 1."""

    def connect(self) -> Any:
        """Open the session unless it is open."""

    def close(self) -> None:
        """Close it; the next op opens another."""

    def send(self, op: Op) -> Answer:
        """One op; never raises for what a server or a network may do."""


class StoreUser(WorkloadUser):
    """The first users keep a session to one member each, all others go through the Service `params["primary"]`.

    A subclass says how to open a client of an endpoint, and what to prepare. Of the ops `params["adds"]` (a share)
    append to the list; of the rest half are reads, the others writes and compare-and-sets of the first
    `params["registers"]` registers: few of both make many users meet on one.
    """

    abstract = True

    @staticmethod
    def client_of(endpoint: dict[str, Any], params: dict[str, Any]) -> StoreClient:
        """A client of `endpoint`, not yet connected."""
        raise NotImplementedError

    def open_session(self) -> None:
        members = Shared.params["members"]
        direct = self.index < len(members)
        self.route = f"direct:{members[self.index]['pod']}" if direct else "service:primary"
        self.direct = direct
        endpoint = members[self.index]["direct"] if direct else Shared.params["primary"]
        self.client = self.client_of(endpoint, Shared.params)
        self.sent = 0
        self.known: dict[str, int] = {}
        self.adds = float(Shared.params.get("adds", ADDS))
        self.registers = KEYS[: int(Shared.params.get("registers", len(KEYS)))]
        if direct:  # before the first op, and so before any fault
            self.client.connect()

    def close_session(self) -> None:
        self.client.close()

    def draw(self) -> Op:
        self.sent += 1
        if not self.direct and self.sent % RECONNECT_EVERY == 0:
            self.client.close()
        self.session = f"{self.route}#{self.client.generation}" if self.direct else self.route
        dice = self.random.random()
        if dice < self.adds:
            return Op("add", LISTS[0], Shared.recorder.next_value())
        key = self.random.choice(self.registers)
        dice = (dice - self.adds) / (1 - self.adds)
        if dice < 0.5:
            return Op("read", key)
        if dice < 0.75 or key not in self.known:
            return Op("write", key, Shared.recorder.next_value())
        return Op("cas", key, self.known[key], Shared.recorder.next_value())

    def send(self, op: Op) -> Answer:
        answer = self.client.send(op)
        if answer.value is not None:
            self.known[op.key] = answer.value
        elif answer.outcome == "ok" and op.f in ("write", "cas"):
            self.known[op.key] = (op.value2 if op.f == "cas" else op.value) or 0
        return answer


def read_everything(client: StoreClient, writer: HistoryWriter) -> None:
    """Read the list and every register once more over `client`; DeadlineError when nobody answers."""
    recorder = Recorder(writer)
    end = time.monotonic() + FINAL_READ_S
    for op in (*(Op("read-all", name) for name in LISTS), *(Op("read", key) for key in KEYS)):

        def read(op: Op = op) -> bool:
            answer, _ = recorder.run(0, "final", op, client.send)
            if answer.outcome != "ok":
                client.close()  # the Service may lead to another member by now
            return answer.outcome == "ok"

        wait_for(
            read,
            what=f"final {op.f} of {op.key}",
            deadline_name="final_read_s",
            deadline_s=max(0.0, end - time.monotonic()),
            do="see whether there is a primary: kubectl get pods -L role",
        )
    client.close()

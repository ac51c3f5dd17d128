"""Who leads RabbitMQ's queue, when members that led before still say so."""

from __future__ import annotations

from typing import cast

from steadyset.errors import InstrumentError
from steadyset.fixtures.stacks.rabbitmq import QUEUE, RabbitMQ
from steadyset.fixtures.stacks.workspace import Workspace

LABELS = f'{{vhost="/",queue="{QUEUE}"}}'


class Members:
    """What three members say after the first was cut off and is back: it shows the metrics of when it led."""

    def get_json(self, pod: str, port: int, path: str) -> str:
        leads = f"rabbitmq_detailed_queue_messages{LABELS} 0\n" if pod != "rabbitmq-2" else ""
        return f"{leads}rabbitmq_detailed_raft_term_total{LABELS} 7\n"

    def execute(self, pod: str, argv: list[str]) -> str:
        if pod == "rabbitmq-0":
            return "[{timeout,{'%2F_steadyset','rabbit@rabbitmq-0.rabbitmq.ns.svc.cluster.local'}}]\n"
        if pod == "rabbitmq-2":
            raise InstrumentError("not asked: the one before it has answered")
        return "[{'%2F_steadyset','rabbit@rabbitmq-1.rabbitmq.ns.svc.cluster.local'}]\n"


def test_the_leader_itself_is_asked() -> None:
    """A member whose question the leader did not answer names nobody, and the next is asked."""
    stack = RabbitMQ()
    stack._workspace = cast("Workspace", Members())
    assert stack.primary() == "rabbitmq-1"
    assert stack.epoch() == 7

"""Who is in charge: by the latest epoch, members that do not answer passed over; a queue led twice in one term."""

from __future__ import annotations

import pytest
from urllib3.exceptions import HTTPError

from steadyset.errors import InstrumentError
from steadyset.fixtures.stacks.galera import Galera
from steadyset.fixtures.stacks.rabbitmq import QUEUE, RabbitMQ


def test_the_latest_epoch_is_in_charge() -> None:
    """The member that knows the latest epoch is believed; one that is cut off says nothing and costs nothing."""
    known = {"galera-1": 4, "galera-2": 7}

    def ask(pod: str) -> tuple[str, int]:
        if pod not in known:
            raise HTTPError("no route")
        return pod, known[pod]

    assert Galera().latest(ask, "nobody") == ("galera-2", 7)


def test_nobody_in_charge_is_said_with_the_reasons() -> None:
    """A member outside (-1) and two that do not answer: nobody, and why."""

    def ask(pod: str) -> tuple[str, int]:
        if pod == "galera-0":
            return pod, -1
        raise InstrumentError("no answer")

    with pytest.raises(InstrumentError, match="no member leads") as caught:
        Galera().latest(ask, "no member leads")
    assert "galera-1: " in caught.value.seen and "galera-2: " in caught.value.seen


def metrics(*, leads: bool, term: int) -> str:
    """What a member's metrics say of the queue."""
    lines = [f'rabbitmq_detailed_raft_term_total{{vhost="/",queue="{QUEUE}"}} {term}']
    lines += [f'rabbitmq_detailed_queue_messages{{vhost="/",queue="{QUEUE}"}} 10'] if leads else []
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("said", "leaders", "asked"),
    [
        ([(True, 5), (True, 5), (False, 5)], ["rabbitmq-1"], 1),  # one of them was frozen, and only follows since
        ([(True, 5), (True, 4), (False, 5)], ["rabbitmq-0", "rabbitmq-1"], 0),
        ([(True, 5), (False, 5), (False, 5)], ["rabbitmq-0"], 0),
    ],
)
def test_two_that_seem_to_lead_in_one_term(
    monkeypatch: pytest.MonkeyPatch, said: list[tuple[bool, int]], leaders: list[str], asked: int
) -> None:
    """A Raft term has one leader: where metrics of before show two, the members' metadata decides."""
    stack, questions = RabbitMQ(), []
    texts = {pod: metrics(leads=leads, term=term) for pod, (leads, term) in zip(stack.members(), said, strict=True)}
    monkeypatch.setattr(stack, "_metrics", lambda pod, _: texts[pod])

    class Pods:
        """Stands for the pods: as RabbitMQ 4.0 printed it."""

        def execute(self, pod: str, argv: list[str]) -> str:
            questions.append((pod, argv))
            return "[{'%2F_steadyset','rabbit@rabbitmq-1.rabbitmq.steadyset-rabbitmq.svc.cluster.local'}]\n"

    monkeypatch.setattr(stack, "_workspace", Pods())
    assert [pod for pod, one in stack._seen().items() if one.leads] == leaders
    assert len(questions) == asked
    assert stack.primary() == leaders[0]

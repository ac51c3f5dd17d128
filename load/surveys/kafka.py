"""Kafka: leaders, their epochs and who is in sync, by each broker's metadata. Our place is the beginning of topics.

Topic `<scratch>` shows who leads before any load has made its own, `<scratch>-<tag>`.
"""

from __future__ import annotations

from typing import Any

from steadyset.errors import UsageError
from steadyset.load.kafka_wire import NO_ERROR, TOPIC_EXISTS, Broker
from steadyset.load.kafka_wire import View as BrokerView
from steadyset.load.surveys.base import Survey, View, refused
from steadyset.load.workloads.kafka_log import assignments


class KafkaSurvey(Survey):
    """No parameters besides; each member has its broker's `id`."""

    def _ask(self, endpoint: dict[str, Any], question: Any) -> Any:
        broker = Broker.connect(str(endpoint["host"]), int(endpoint["port"]), self.ask_s)
        try:
            return question(broker)
        finally:
            broker.close()

    def enter(self, member: dict[str, Any]) -> None:
        self._ask(member["direct"], lambda broker: broker.view())

    def check(self) -> None:
        ids = tuple(sorted(int(member["id"]) for member in self.members))
        known = self._ask(self.params["primary"], lambda broker: broker.view()).brokers
        if known != ids:
            raise UsageError(
                "the target's pods are not the cluster's brokers",
                expected=f"brokers {', '.join(map(str, ids))}, one for each pod",
                seen=f"brokers {', '.join(map(str, known))}",
                do="check selector, connect.service and connect.first_broker",
            )

    def make(self) -> None:
        made = assignments([int(member["id"]) for member in self.members])
        code = self._ask(self.params["primary"], lambda broker: broker.create(self.scratch, made))
        if code not in (NO_ERROR, TOPIC_EXISTS):
            raise refused(f"make topic {self.scratch}", f"error {code}")

    def _ours(self, view: BrokerView) -> dict[tuple[str, int], Any]:
        return {key: leader for key, leader in view.leaders.items() if key[0].startswith(self.scratch)}

    def remove(self) -> str:
        def delete(broker: Broker) -> list[str]:
            topics = sorted({topic for topic, _ in self._ours(broker.view())})
            if topics:
                broker.delete(topics)
            return topics

        return ", ".join(self._ask(self.params["primary"], delete))

    def look(self) -> View:
        answers = self.each(lambda member: self._ask(member["direct"], lambda broker: broker.view()))
        views = {pod: self._ours(a) for pod, a in answers.items() if not isinstance(a, BaseException)}
        pods = {int(member["id"]): str(member["pod"]) for member in self.members}
        return view_of(views, pods, self.silent(answers), self.scratch)


def view_of(views: dict[str, dict[tuple[str, int], Any]], pods: dict[int, str], silent: str, scratch: str) -> View:
    """What the brokers know of our topics' leaders, by pod; `pods` are the members by broker."""
    primary, epoch, problem = "", -1, silent
    for pod, view in views.items():
        firsts = [leader for (_, number), leader in view.items() if number == 0]
        total = sum(leader.epoch for leader in firsts)
        if firsts and total > epoch and firsts[0].broker in pods:
            primary, epoch = pods[firsts[0].broker], total
        behind = [
            f"{topic} p{number} as {pod} knows it: {leader}"
            for (topic, number), leader in view.items()
            if set(leader.in_sync) != set(leader.replicas) or leader.broker not in pods
        ]
        problem = problem or "; ".join(behind[:1])
    if not problem and any((scratch, 0) not in view for view in views.values()):
        problem = f"topic {scratch} is not known to all members"
    says = {pod: f"{len(view)} partitions of ours" for pod, view in views.items()}
    return View(primary=primary, epoch=epoch, problem=problem, says=says)


SURVEY = KafkaSurvey

"""RabbitMQ: our place is a quorum queue; its leader and Raft term come from each member's own metrics."""

from __future__ import annotations

import re
from contextlib import suppress
from http.client import HTTPConnection
from typing import Any

import gevent
from pika import exceptions  # type: ignore[import-untyped]

from steadyset.errors import UsageError
from steadyset.load.surveys.base import Survey, View, refused
from steadyset.load.workloads.rabbitmq_queue import QueueClient, describe_error

_METRICS = "/metrics/detailed?family=queue_coarse_metrics&family=ra_metrics"
_PRECONDITION_FAILED, _NOT_FOUND = 406, 404


class RabbitSurvey(Survey):
    """Parameters besides: `vhost`; each member has the endpoint `metrics`. The queue is called as our place is."""

    def __init__(self, params: dict[str, Any]) -> None:
        super().__init__(params)
        self._led: dict[int, str] = {}

    def _channel(self, endpoint: dict[str, Any]) -> QueueClient:
        client = QueueClient(endpoint, {**self.params, "queue": self.scratch, "tag": ""})
        client.connect()
        return client

    def describe(self, error: BaseException) -> str:
        return describe_error(error) if isinstance(error, exceptions.AMQPError) else super().describe(error)

    def enter(self, member: dict[str, Any]) -> None:
        self._channel(member["direct"]).close()

    def check(self) -> None:
        if silent := self.silent(self.each(self._metrics)):
            raise UsageError(
                "the target's metrics do not answer, so nobody says who leads a queue",
                expected="the plugin rabbitmq_prometheus on each member",
                seen=silent,
                do="rabbitmq-plugins enable rabbitmq_prometheus, or set connect.metrics_port",
            )
        try:
            self.make()
            self.remove()
        except exceptions.AMQPError as error:
            vhost = self.params["vhost"]
            do = f"rabbitmqctl set_permissions -p {vhost} {self.secrets['user']} '^steadyset' '.*' '.*'"
            raise refused(f"make a quorum queue in vhost {vhost}", self.describe(error), do) from None

    def make(self) -> None:
        client = self._channel(self.params["primary"])
        arguments = {"x-queue-type": "quorum", "x-quorum-initial-group-size": len(self.members)}
        with gevent.Timeout(self.ask_s * 2):
            client.connect().queue_declare(self.scratch, durable=True, arguments=arguments)
        client.close()

    def remove(self) -> str:
        client = self._channel(self.params["primary"])
        try:
            with gevent.Timeout(self.ask_s * 2):
                client.connect().queue_delete(self.scratch)
                with suppress(exceptions.ChannelClosedByBroker):
                    client.connect().queue_declare(self.scratch, passive=True)
                    return f"queue {self.scratch}"
        finally:
            client.close()
        return ""

    def _metrics(self, member: dict[str, Any]) -> str:
        endpoint = member["metrics"]
        connection = HTTPConnection(str(endpoint["host"]), int(endpoint["port"]), timeout=self.ask_s)
        try:
            connection.request("GET", _METRICS)
            response = connection.getresponse()
            if response.status != 200:
                raise OSError(f"HTTP {response.status}")
            return response.read().decode()
        finally:
            connection.close()

    def look(self) -> View:
        return view_of(self.each(self._metrics), self.scratch, self, self._led)


def view_of(answers: dict[str, Any], queue: str, survey: Survey, led: dict[int, str]) -> View:
    """What the members' metrics say of `queue`; exceptions stand for those that did not answer.

    `led` keeps who was seen to lead in which Raft term. A term has one leader, but a member that led before it was cut
    off may go on showing the metrics of then while it follows; who claimed the term alone tells them apart.
    """
    leads = re.compile(rf'^rabbitmq_detailed_queue_messages\{{[^}}]*queue="{re.escape(queue)}"', re.MULTILINE)
    raft = re.compile(
        rf'^rabbitmq_detailed_raft_term_total\{{[^}}]*queue="{re.escape(queue)}"[^}}]*\}} (\d+)', re.MULTILINE
    )
    terms: dict[str, int] = {}
    leaders, says = [], {}
    for pod, answer in answers.items():
        if isinstance(answer, BaseException):
            says[pod] = survey.describe(answer)
            continue
        found = raft.search(answer)
        terms[pod] = int(found[1]) if found else 0
        if leads.search(answer):
            leaders.append(pod)
        says[pod] = f"{'claims to lead' if pod in leaders else 'follows'} in term {terms[pod]}"
    latest = max((terms[pod] for pod in leaders), default=-1)
    claiming = [pod for pod in leaders if terms[pod] == latest]
    if len(claiming) == 1:
        led.setdefault(latest, claiming[0])
    if led.get(latest) in claiming:
        leaders = [pod for pod in leaders if pod not in claiming or pod == led[latest]]
    primary = max(leaders, key=lambda pod: terms[pod], default="")
    problem = survey.silent(answers)
    if not problem and (len(leaders) != 1 or len(set(terms.values())) != 1 or 0 in terms.values()):
        problem = "; ".join(f"{pod} {word}" for pod, word in says.items())
    return View(primary=primary, epoch=terms.get(primary, -1), problem=problem, says=says)


SURVEY = RabbitSurvey

"""What a target's members say of themselves, in one view: who is primary, in which epoch, and why it is not whole."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import pytest

from steadyset.clusterinfo import ClusterInfo
from steadyset.errors import InstrumentError, UsageError
from steadyset.load import asker
from steadyset.load.asker import Asker

from .conftest import NoForwarder

RunChild = Callable[..., Any]

REDIS = """
from steadyset.load.surveys.redis import RedisSurvey, view_of
survey = RedisSurvey({"members": [], "scratch": "s"})
def info(role, **more):
    return "\\r\\n".join(f"{k}:{v}" for k, v in {"role": role, **more}.items())
def master(replicas):
    return info("master", connected_slaves=replicas)
def slave(of, link="up"):
    return info("slave", master_host=f"{of}.cart.shop.svc", master_link_status=link)
def named(pod, epoch):
    return {"ip": f"{pod}.cart.shop.svc", "config-epoch": str(epoch)}
whole = {"c-0": slave("c-1"), "c-1": master(2), "c-2": slave("c-1")}
agreed = {pod: named("c-1", 4) for pod in whole}
cases = {
    "whole": (whole, agreed),
    "before": ({**whole, "c-1": OSError("gone")}, {**agreed, "c-1": OSError("gone")}),
    "two minds": (whole, {**agreed, "c-0": named("c-0", 3)}),
    "nobody": (whole, {"c-0": named("c-0", 3), "c-1": named("c-1", 4), "c-2": OSError("gone")}),
    "behind": ({**whole, "c-2": slave("c-1", "down")}, agreed),
    "two masters": ({**whole, "c-0": master(0)}, agreed),
    "addresses": (whole, {pod: {"ip": "10.1.2.3", "config-epoch": "4"} for pod in whole}),
}
print(json.dumps({name: view_of(*case, survey) for name, case in cases.items()}))
"""


def test_redis(run_child: RunChild) -> None:
    """The primary is whom most sentinels name; whole is when all agree and every member says its part."""
    found = run_child(REDIS)
    assert {name: (view["primary"], view["epoch"]) for name, view in found.items()} == {
        "whole": ("c-1", 4),
        "before": ("c-1", 4),
        "two minds": ("c-1", 4),
        "nobody": ("", -1),
        "behind": ("c-1", 4),
        "two masters": ("c-1", 4),
        "addresses": ("10.1.2.3", 4),
    }
    assert found["whole"]["problem"] == ""
    assert "c-1 does not answer (OSError: gone)" in found["before"]["problem"]
    assert found["two minds"]["problem"] == "the sentinels name c-0, c-1"
    assert "c-2 is slave of c-1, down" in found["behind"]["problem"]
    assert "c-0 is master with 0" in found["two masters"]["problem"]
    assert found["addresses"]["problem"]


POSTGRES = """
from steadyset.load.surveys.postgresql import PostgresSurvey, view_of
survey = PostgresSurvey({"members": [], "scratch": "s"})
primary, replica, older = (7, 2, "noon"), (0, 0, "ten"), (6, 0, "nine")
whole = {"p-0": replica, "p-1": primary, "p-2": replica, "": primary}
cases = {
    "whole": whole,
    "no primary": {**whole, "p-1": replica, "": OSError("refused")},
    "two": {**whole, "p-0": older},
    "not streaming": {**whole, "p-1": (7, 1, "noon")},
    "service behind": {**whole, "": older},
    "one gone": {**whole, "p-2": OSError("gone")},
}
print(json.dumps({name: view_of(case, survey) for name, case in cases.items()}))
"""


def test_postgresql(run_child: RunChild) -> None:
    """The primary writes the newest timeline; whole is when all others stream from it and the Service leads there."""
    found = run_child(POSTGRES)
    assert (found["whole"]["primary"], found["whole"]["epoch"], found["whole"]["problem"]) == ("p-1", 7, "")
    assert (found["no primary"]["primary"], found["no primary"]["epoch"]) == ("", -1)
    assert (found["two"]["primary"], found["two"]["problem"]) == ("p-1", "2 primaries: p-0, p-1")
    assert found["not streaming"]["problem"] == "1 of 2 replicas stream from p-1"
    assert found["service behind"]["problem"] == "the Service does not lead to p-1"
    assert found["one gone"]["problem"].startswith("p-2 does not answer")


OTHERS = """
from steadyset.load.kafka_wire import Leader
from steadyset.load.surveys import galera, kafka, rabbitmq
members = {"members": [], "scratch": "s_1"}
found = {}
rabbit = rabbitmq.RabbitSurvey({**members, "vhost": "/"})
def metrics(term, leads=False, queue="s_1"):
    raft = f'rabbitmq_detailed_raft_term_total{{vhost="/",queue="{queue}"}} {term}\\n'
    return raft + (f'rabbitmq_detailed_queue_messages{{vhost="/",queue="{queue}"}} 3\\n' if leads else "")
whole = {"r-0": metrics(5), "r-1": metrics(5, True), "r-2": metrics(5)}
two = {**whole, "r-0": metrics(5, True)}
for name, case, led in (
    ("rabbit whole", whole, {}), ("rabbit old leader", {**whole, "r-0": metrics(4, True)}, {}),
    ("rabbit two leaders", two, {}), ("rabbit led before", two, {4: "r-0", 5: "r-1"}),
    ("rabbit not there", {pod: metrics(5, True, "other") for pod in whole}, {}),
):
    found[name] = rabbitmq.view_of(case, "s_1", rabbit, led)
cut, healed = {**whole, "r-0": metrics(4, True)}, {}
found["rabbit healed"] = [rabbitmq.view_of(case, "s_1", rabbit, healed) for case in (cut, two)][-1]

def view(broker, epoch, in_sync=(0, 1, 2), topic="s_1"):
    return {(topic, 0): Leader(broker, epoch, (0, 1, 2), in_sync)}
pods = {0: "k-0", 1: "k-1", 2: "k-2"}
for name, views in {
    "kafka whole": {pod: view(1, 3) for pod in pods.values()},
    "kafka behind": {pod: view(1, 3, (0, 1)) for pod in pods.values()},
    "kafka two views": {"k-0": view(0, 2), "k-1": view(1, 3), "k-2": view(1, 3)},
    "kafka not there": {pod: {} for pod in pods.values()},
}.items():
    found[name] = kafka.view_of(views, pods, "", "s_1")

survey = galera.GaleraSurvey(members)
def row(names="g-0,g-1,g-2", seqno=9, status="Primary", state="Synced"):
    return [("g-0", names, seqno, 2, status, "uuid"), ("wsrep_local_state_comment", state)]
whole = {"g-0": row(), "g-1": row(), "g-2": row()}
for name, case in {
    "galera whole": whole, "galera cut off": {**whole, "g-0": row("g-0", 9, "non-Primary")},
    "galera donor": {**whole, "g-2": row(state="Donor")}, "galera alone": {"g-0": row()},
}.items():
    found[name] = galera.view_of(case, survey)
print(json.dumps(found))
"""


def test_the_others(run_child: RunChild) -> None:
    """RabbitMQ by Raft terms, Kafka by leader epochs, Galera by components."""
    found = run_child(OTHERS)
    whole = {name.split()[0]: view for name, view in found.items() if name.endswith("whole")}
    assert {name: (view["primary"], view["problem"]) for name, view in whole.items()} == {
        "rabbit": ("r-1", ""),
        "kafka": ("k-1", ""),
        "galera": ("g-0", ""),
    }
    assert (whole["rabbit"]["epoch"], whole["kafka"]["epoch"]) == (5, 3)
    assert (found["rabbit old leader"]["primary"], found["rabbit old leader"]["epoch"]) == ("r-1", 5)
    assert "kafka two views" in found and found["kafka two views"]["primary"] == "k-1"
    assert found["galera cut off"]["primary"] == "g-1"
    for name in ("rabbit led before", "rabbit healed"):  # the metrics of then, shown by a member that follows now
        assert (found[name]["primary"], found[name]["problem"]) == ("r-1", ""), name
    for name in (
        "rabbit old leader",
        "rabbit two leaders",
        "rabbit not there",
        "kafka behind",
        "kafka not there",
        "galera cut off",
    ):
        assert found[name]["problem"], name
    assert "Donor" in found["galera donor"]["problem"]
    assert found["galera alone"]["problem"].startswith("the component has other members")


SERVER = """
import io, types
from steadyset.load import surveys
from steadyset.load.surveys import __main__ as server, base
from steadyset.errors import UsageError
import steadyset.load.surveys.__main__ as server
server.QUIET_POLL_S, server.REMOVE_S = 0.01, args["remove_s"]
done = []
class Fake(base.Survey):
    lefts = list(args["lefts"])
    def enter(self, member): pass
    def check(self): raise UsageError("no", expected="yes", seen="a no", do="ask again")
    def make(self): done.append("make")
    def remove(self):
        done.append("remove")
        left = self.lefts.pop(0) if self.lefts else ""
        if left == "!":
            raise OSError("gone")
        return left
    def look(self): return base.View(primary="p", epoch=1, problem="", says={})
surveys.SURVEYS["fake"] = "fake"
sys.modules["fake"] = types.SimpleNamespace(SURVEY=Fake)
server.load_params = lambda: {"members": [], "scratch": "s"}
sys.stdin = io.StringIO("".join(json.dumps(question) + chr(10) for question in args["questions"]))
out, sys.stdout = sys.stdout, io.StringIO()
server.main("fake")
said, sys.stdout = sys.stdout.getvalue(), out
print(json.dumps([done, [json.loads(line) for line in said.splitlines()]]))
"""


def test_what_was_made_is_removed_though_the_owner_is_gone(run_child: RunChild) -> None:
    """By the end of its stdin; what comes back, or cannot be looked at yet, is removed again until nothing is left."""
    done, said = run_child(SERVER, questions=["look", "make"], lefts=["2 keys", "!", "1 key"], remove_s=10)
    assert said[0]["ok"]["primary"] == "p"
    assert done == ["make", *5 * ["remove"]]
    done, _ = run_child(SERVER, questions=["make", "remove"], lefts=[], remove_s=10)
    assert done == ["make", "remove", "remove"]
    assert run_child(SERVER, questions=["look"], lefts=[], remove_s=10)[0] == []


def test_what_cannot_be_removed_is_named(run_child: RunChild) -> None:
    """Within a named deadline; so is what else goes wrong, as a line of its own."""
    _, said = run_child(
        SERVER, questions=["log-in", "make", "remove", "jump"], lefts=1000 * ["database s"], remove_s=0.2
    )
    assert said[0]["error"] == {"message": "no", "expected": "yes", "seen": "a no", "do": "ask again", "exit_code": 2}
    assert "remove_s = 0.2 s" in said[2]["error"]["message"]
    assert said[2]["error"]["seen"] == "database s"
    assert said[3]["error"]["message"].startswith("jump: KeyError")


def test_the_owner_of_a_survey(here: ClusterInfo, monkeypatch: pytest.MonkeyPatch) -> None:
    """A real child against ports where nobody listens: bad input names every member; a child that died is an error."""
    monkeypatch.setattr(asker, "Forwarder", NoForwarder)
    monkeypatch.setattr("steadyset.load.asker.FORWARDED_S", 2.0)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    at = {"host": "127.0.0.1", "port": port}
    members = [
        {"pod": f"c-{n}", "direct": {**at, "pod": f"c-{n}"}, "sentinel": {**at, "pod": f"c-{n}"}} for n in range(2)
    ]
    params = {"namespace": "x", "members": members, "group": "g", "scratch": "s", "secrets": {"password": "hush"}}
    with Asker(here, "redis", params) as ask:
        with pytest.raises(UsageError, match="does not let us in") as caught:
            ask.log_in()
        assert "c-0 does not answer (ConnectionError" in caught.value.seen
        assert "c-1 does not answer" in caught.value.seen
        assert ask.look()["primary"] == ""
        folder, child = ask._folder, ask._child
        assert folder is not None and child is not None
        assert (folder / "params.json").stat().st_mode & 0o077 == 0
        child.kill()
        with pytest.raises(InstrumentError, match="survey of the target died"):
            ask.look()
    assert not folder.exists()

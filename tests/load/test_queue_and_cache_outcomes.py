"""Every way an op on Redis or RabbitMQ can end, and what the history says of it."""

from __future__ import annotations

from typing import Any

REDIS_SERVER = """
import gevent, socket, threading
from steadyset.load.workloads.redis_append import RedisClient
from steadyset.wait import pause

def serve(behave):
    listener = socket.create_server(("127.0.0.1", 0))
    def loop():
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=behave, args=(connection,), daemon=True).start()
    threading.Thread(target=loop, daemon=True).start()
    return listener.getsockname()[1]

def say(text, login="+OK"):
    def behave(connection):
        connection.recv(65536)
        connection.sendall(f"{login}\\r\\n".encode())
        if login == "+OK":
            connection.recv(65536)
            connection.sendall(f"{text}\\r\\n".encode())
        pause(10)
    return behave

def hang_up(connection):
    connection.recv(65536)
    connection.sendall(b"+OK\\r\\n")
    connection.recv(65536)
    connection.close()

def half(connection):
    connection.recv(65536)
    connection.sendall(b"+OK\\r\\n")
    connection.recv(65536)
    connection.sendall(b"$4\\r\\n12")
    connection.close()

def hang(connection):
    connection.recv(65536)
    connection.sendall(b"+OK\\r\\n")
    pause(10)

closed = socket.create_server(("127.0.0.1", 0)); port = closed.getsockname()[1]; closed.close()
ports = {"refused": port, "no login": serve(lambda connection: pause(10)), "hang up": serve(hang_up),
         "half an answer": serve(half), "no answer": serve(hang),
         "wrong password": serve(say("", "-WRONGPASS invalid username-password pair or user is disabled.")),
         "loading at login": serve(say("", "-LOADING Redis is loading the dataset in memory"))}
for name, text in args["said"].items():
    ports[name] = serve(say(text))
found = {}
def case(name, port, pod="redis-0", host="127.0.0.1"):
    sentinel = {"host": "127.0.0.1", "port": ports["refused"]}
    members = [{"pod": "redis-0", "direct": {"host": host, "port": port}, "sentinel": sentinel}]
    params = {"members": members, "secrets": {"password": "p"}, "tag": "t"}
    ops = Op("add", "list", 1), Op("read-all", "list")
    answers = [RedisClient(params, pod).send(op) for op in ops]
    found[name] = [*(answer.outcome for answer in answers), answers[0].error]

cases = [gevent.spawn(case, name, port) for name, port in ports.items()]
cases.append(gevent.spawn(case, "no such host", 1, host="nowhere.invalid"))
cases.append(gevent.spawn(case, "no sentinel", 1, pod=""))
gevent.joinall(cases, raise_error=True)
print(json.dumps(found))
"""


REDIS_SAYS = {  # what the server answers, and what then is known of a write
    "done": ("$2\r\n17", "ok"),
    "not the script": ("+OK", "info"),
    "replica": ("-READONLY You can't write against a read only replica. script: 5f, on @user_script:8.", "fail"),
    "too few replicas": ("-NOREPLICAS Not enough good replicas to write. script: 5f, on @user_script:8.", "fail"),
    "disk": ("-MISCONF Errors writing to the AOF file: No space left on device script: 5f, on @user_script:8.", "fail"),
    "memory": ("-OOM command not allowed when used memory > 'maxmemory'. script: 5f, on @user_script:8.", "fail"),
    "loading": ("-LOADING Redis is loading the dataset in memory", "fail"),
    "no primary": ("-MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.", "fail"),
    "busy": ("-BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.", "fail"),
    "not logged in": ("-NOAUTH Authentication required.", "fail"),
    "not allowed": ("-NOPERM this user has no permissions to run the 'eval' command", "fail"),
    "script broke": ("-ERR user_script:9: attempt to compare nil with number script: 5f, on @user_script:9.", "info"),
    "killed script": ("-UNKILLABLE Sorry the script already executed write commands", "info"),
}
REDIS_DOES = {
    **dict.fromkeys(("refused", "no such host", "no login", "wrong password", "loading at login"), "fail"),
    "no sentinel": "fail",
    **dict.fromkeys(("hang up", "half an answer", "no answer"), "info"),
}


def test_redis_outcomes(run_child: Any) -> None:
    """Only what the server surely did not do is a failure; a script that broke in the middle did its first half."""
    found = run_child(REDIS_SERVER, said={name: text for name, (text, _) in REDIS_SAYS.items()})
    writes = {name: answers[0] for name, answers in found.items()}
    assert writes == REDIS_DOES | {name: outcome for name, (_, outcome) in REDIS_SAYS.items()}
    assert {answers[1] for answers in found.values()} == {"fail"}  # no script that reads was answered as it should be
    assert found["too few replicas"][2] == "ResponseError: NOREPLICAS Not enough good replicas to write."
    assert found["refused"][2].startswith("not sent: ") and "127.0.0.1" not in found["refused"][2]


RABBITMQ = """
import socket, threading
import gevent
from pika import exceptions
from steadyset.load.workloads.rabbitmq_queue import QueueClient
from steadyset.wait import pause

class Method:
    delivery_tag, redelivered = 1, True

class Channel:
    def __init__(self, error=None, got=(None, None, None), unacknowledged=None):
        self.error, self.got, self.unacknowledged = error, list(got), unacknowledged
    def basic_publish(self, *args, **more):
        if self.error is not None:
            raise self.error
    def basic_get(self, queue, auto_ack):
        assert not auto_ack
        if self.error is not None:
            raise self.error
        return self.got
    def basic_ack(self, tag):
        if self.unacknowledged is not None:
            raise self.unacknowledged

def answers(channel):
    found = []
    for op in (Op("enqueue", "q", 1), Op("dequeue", "q")):
        client = QueueClient({}, params, "rabbitmq-0")
        client._channel = channel
        answer = client.send(op)
        found.append([answer.outcome, answer.value, answer.session])
    return found

def serve(behave):
    listener = socket.create_server(("127.0.0.1", 0))
    def loop():
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=behave, args=(connection,), daemon=True).start()
    threading.Thread(target=loop, daemon=True).start()
    return {"host": "127.0.0.1", "port": listener.getsockname()[1]}

params = {"secrets": {"user": "u", "password": "p"}, "tag": "t", "queue": "q"}
closed = socket.create_server(("127.0.0.1", 0)); port = closed.getsockname()[1]; closed.close()
endpoints = {
    "refused": {"host": "127.0.0.1", "port": port},
    "no such host": {"host": "nowhere.invalid", "port": 1},
    "no greeting": serve(lambda connection: pause(10)),
    "hangs up": serve(lambda connection: connection.close()),
    "no broker": serve(lambda connection: connection.sendall(b"HTTP/1.1 400 Bad Request\\r\\n\\r\\n")),
}
found = {}
def case(name, endpoint):
    client = QueueClient(endpoint, params)
    answered = map(client.send, (Op("enqueue", "q", 1), Op("dequeue", "q")))
    found[name] = [[a.outcome, a.value, a.session] for a in answered]

gevent.joinall([gevent.spawn(case, *pair) for pair in endpoints.items()], raise_error=True)
errors = {
    "unroutable": exceptions.UnroutableError([]),
    "nack": exceptions.NackError([]),
    "channel closed by broker": exceptions.ChannelClosedByBroker(404, "NOT_FOUND - no queue"),
    "connection closed by broker": exceptions.ConnectionClosedByBroker(320, "CONNECTION_FORCED - shutdown"),
    "stream lost": exceptions.StreamLostError("lost"),
    "heartbeat": exceptions.AMQPHeartbeatTimeout("no heartbeat"),
    "blocked": exceptions.ConnectionBlockedTimeout("memory alarm"),
    "wrong state": exceptions.ChannelWrongStateError("closed"),
    "reset": ConnectionResetError(104, "reset"),
    "no answer": gevent.Timeout(2),
}
for name, error in errors.items():
    found[name] = answers(Channel(error))
found["empty"] = answers(Channel())
got = Method, None, b"t 7"
found["delivered"] = answers(Channel(got=got))
found["delivered, ack lost"] = answers(Channel(got=got, unacknowledged=exceptions.StreamLostError("x")))
print(json.dumps(found))
"""


def test_rabbitmq_outcomes(run_child: Any) -> None:
    """Unsent and unroutable is a failure, sent and unconfirmed unknown; what was not delivered stays in the queue."""
    nothing = ["fail", None, ""]
    not_sent, unknown = [nothing, nothing], [["info", None, ""], nothing]
    assert run_child(RABBITMQ) == {
        **dict.fromkeys(("refused", "no such host", "no greeting", "hangs up", "no broker"), not_sent),
        "unroutable": not_sent,
        **dict.fromkeys(("nack", "channel closed by broker", "connection closed by broker"), unknown),
        **dict.fromkeys(("stream lost", "heartbeat", "blocked", "wrong state", "reset", "no answer"), unknown),
        "empty": [["ok", None, ""], ["ok", None, ""]],
        "delivered": [["ok", None, ""], ["ok", 7, "redelivered"]],
        "delivered, ack lost": [["ok", None, ""], ["ok", 7, "redelivered"]],
    }

"""Every way an op can end, and what the history says of it. Importing a workload patches the process: own processes."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

BINARIES = Path("/usr/lib/postgresql/15/bin")

PROBE_SERVER = """
import socket, threading
from steadyset.load.workloads.probe_append import ProbeClient
from steadyset.wait import pause

def serve(behave):
    listener = socket.create_server(("127.0.0.1", 0))
    def loop():
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=behave, args=(connection,), daemon=True).start()
    threading.Thread(target=loop, daemon=True).start()
    return listener.getsockname()[1]

def respond(text):
    def behave(connection):
        connection.recv(65536)
        connection.sendall(text.encode())
        connection.close()
    return behave

def body(status, text):
    return f"HTTP/1.1 {status} x\\r\\nContent-Length: {len(text)}\\r\\n\\r\\n{text}"

def reset(connection):
    connection.recv(65536)
    connection.close()

def half(connection):
    connection.recv(65536)
    connection.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 100\\r\\n\\r\\n{")
    connection.close()

def hang(connection):
    connection.recv(65536)
    pause(10)

fail = json.dumps({"outcome": "fail", "error": "no space", "pod": "p", "epoch": 3})
info = json.dumps({"outcome": "info", "error": "fsync", "pod": "p", "epoch": 3})
closed = socket.create_server(("127.0.0.1", 0)); port = closed.getsockname()[1]; closed.close()
ports = {
    "refused": port, "reset": serve(reset), "half an answer": serve(half), "no answer": serve(hang),
    "proxy": serve(respond(body(502, "bad gateway"))), "not done": serve(respond(body(503, fail))),
    "fsync failed": serve(respond(body(503, info))),
}
found = {}
for name, port in ports.items():
    ops = Op("add", "k", 1), Op("read", "k")
    found[name] = [ProbeClient("127.0.0.1", port, "t", kept=True).send(op).outcome for op in ops]
found["no such host"] = [ProbeClient("nowhere.invalid", 1, "t", kept=True).send(Op("add", "k", 1)).outcome]
print(json.dumps(found))
"""


def test_probe_outcomes(run_child: Callable[..., Any]) -> None:
    """A write that was sent and not answered is unknown; one that was not sent has failed; a read has no effect."""
    assert run_child(PROBE_SERVER) == {
        "refused": ["fail", "fail"],
        "reset": ["info", "fail"],
        "half an answer": ["info", "fail"],
        "no answer": ["info", "fail"],
        "proxy": ["info", "info"],
        "not done": ["fail", "fail"],
        "fsync failed": ["info", "info"],
        "no such host": ["fail"],
    }


GALERA_CODES = """
import pymysql
from steadyset.load.workloads.galera_append import classify
codes = [1047, 1213, 1020, 1205, 1062, 1290, 1146, 1064, 1142, 1180, 1317, 1053, 1105, 2006, 2013]
found = {str(code): classify(pymysql.OperationalError(code, "x")) for code in codes}
found["none"] = classify(pymysql.InterfaceError())
print(json.dumps(found))
"""


def test_galera_error_codes(run_child: Callable[..., Any]) -> None:
    """Outside the primary component, in conflict or refused: void. Anything that may follow the commit: unknown."""
    assert run_child(GALERA_CODES) == {
        **dict.fromkeys(("1047", "1213", "1020", "1205", "1062", "1290", "1146", "1064", "1142"), "fail"),
        **dict.fromkeys(("1180", "1317", "1053", "1105", "2006", "2013", "none"), "info"),
    }


# A server that greets as MariaDB does, says OK to SET, and to each later statement what its script says.
GALERA_SERVER = """
import socket, struct, threading
from steadyset.load.workloads import galera_append
from steadyset.load.workloads.galera_append import GaleraClient
from steadyset.wait import pause
galera_append.OP_TIMEOUT_S = 3.0

OK, MORE = b"\\0\\0\\0\\2\\0\\0\\0", b"\\0\\1\\0\\12\\0\\0\\0"
def packet(number, body):
    return struct.pack("<I", len(body))[:3] + bytes([number]) + body
def text(value):
    return bytes([len(value)]) + value.encode()
def rows(first, status, *values):
    def column(kind):
        return text("def") + 5 * text("") + b"\\x0c" + struct.pack("<HIBHB", 33, 255, kind, 0, 0) + b"\\0\\0"
    columns = [column(8 if value.isdigit() else 253) for value in values]
    parts = [bytes([len(values)]), *columns, b"\\xfe\\0\\0\\2\\0", b"".join(map(text, values))]
    parts.append(b"\\xfe\\0\\0" + bytes([status, 0]))
    return b"".join(packet(first + n, part) for n, part in enumerate(parts))
def error(code):
    return packet(1, b"\\xff" + struct.pack("<H", code) + b"#HY000no")
WHO = ("galera-1", "galera-0,galera-1", "7", "3", "primary", "uuid")
def serve(*script):
    listener = socket.create_server(("127.0.0.1", 0))
    def session(connection):
        greeting = b"\\x0a10.11.0-MariaDB\\0" + struct.pack("<I", 1) + b"12345678\\0"
        greeting += struct.pack("<HBHH", 0xf7ff, 33, 2, 0x81ff)
        connection.sendall(packet(0, greeting + bytes([21]) + 10 * b"\\0" + b"123456789012\\0mysql_native_password\\0"))
        connection.recv(4096)
        connection.sendall(packet(2, OK))
        answers = list(script)
        while query := connection.recv(4096):
            if query[5:].startswith(b"SET AUTOCOMMIT") or query[5:].startswith(b"SET NAMES"):
                connection.sendall(packet(1, OK))
                continue
            answer = answers.pop(0) if answers else "close"
            if answer == "hang":
                pause(10)
            if answer == "close":
                break
            connection.sendall(answer)
        connection.close()
    def loop():
        while True:
            threading.Thread(target=session, args=(listener.accept()[0],), daemon=True).start()
    threading.Thread(target=loop, daemon=True).start()
    return listener.getsockname()[1]

closed = socket.create_server(("127.0.0.1", 0)); port = closed.getsockname()[1]; closed.close()
silent = socket.create_server(("127.0.0.1", 0)).getsockname()[1]
begun, held, done = packet(1, MORE) + rows(2, 2, "5"), packet(1, OK), packet(1, b"\\0\\1" + OK[2:])
servers = {
    "refused": port, "no greeting": silent, "no answer": serve("hang"), "reset": serve("close"),
    "outside the primary component": serve(error(1047)), "conflict": serve(error(1213)),
    "error during commit": serve(error(1180)),
}
found = {}
def send(port, op):
    params = {"secrets": {"user": "u", "password": "p"}, "tag": "t"}
    return GaleraClient({"host": "127.0.0.1", "port": port}, params).send(op)
add, read, cas = Op("add", "list", 1), Op("read", "k0"), Op("cas", "k0", 5, 6)
for name, port in servers.items():
    found[name] = [send(port, op).outcome for op in (add, read, cas)]
def note(name, op, *script):
    answer = send(serve(*script), op)
    found[name] = [answer.outcome, answer.value, answer.server, answer.epoch]
note("add", add, done, rows(1, 2, *WHO))
note("add, then outside", add, done, error(1047))
note("add, then silent", add, done, "hang")
note("read", read, rows(1, 10, "5") + rows(6, 2, *WHO))
note("cas", cas, begun, held, held, rows(1, 2, *WHO))
note("cas, then outside", cas, begun, held, held, error(1047))
note("cas mismatch", Op("cas", "k0", 4, 6), begun, held)
note("cas conflict", cas, begun, error(1020))
note("cas, commit refused", cas, begun, held, error(1213))
note("cas, commit not answered", cas, begun, held, "hang")
note("no such register", Op("write", "k9", 1), held)
print(json.dumps(found))
"""


def test_galera_outcomes(run_child: Callable[..., Any]) -> None:
    """Not connected is fail, sent and not answered is info; of a compare-and-set only its commit may be unknown."""
    epoch = ((7 << 16 | 3) << 8) | 0b11
    assert run_child(GALERA_SERVER) == {
        "refused": ["fail", "fail", "fail"],
        "no greeting": ["fail", "fail", "fail"],
        "no answer": ["info", "fail", "fail"],
        "reset": ["info", "fail", "fail"],
        "outside the primary component": ["fail", "fail", "fail"],
        "conflict": ["fail", "fail", "fail"],
        "error during commit": ["info", "fail", "fail"],
        "add": ["ok", None, "galera-1", epoch],
        "add, then outside": ["ok", None, "", -1],
        "add, then silent": ["ok", None, "", -1],
        "read": ["ok", 5, "galera-1", epoch],
        "cas": ["ok", 5, "galera-1", epoch],
        "cas, then outside": ["ok", 5, "", -1],
        "cas mismatch": ["fail", 5, "", -1],
        "cas conflict": ["fail", None, "", -1],
        "cas, commit refused": ["fail", None, "", -1],
        "cas, commit not answered": ["info", None, "", -1],
        "no such register": ["fail", None, "", -1],
    }


KAFKA_CODES = """
from steadyset.load.workloads.kafka_log import ALL, classify
codes = (0, 2, 3, 6, 7, 10, 13, 17, 19, 20, 21, 29, 56, 87, -1)
print(json.dumps({str(code): [classify(code, acks) for acks in (ALL, 1)] for code in codes}))
"""


def test_kafka_error_codes(run_child: Callable[..., Any]) -> None:
    """Refused before the append is fail; with acks=all "not the leader" is unknown: it may be said after the append."""
    assert run_child(KAFKA_CODES) == {
        "0": ["ok", "ok"],
        **{code: ["fail", "fail"] for code in ("2", "3", "10", "17", "19", "21", "29", "87")},
        "6": ["info", "fail"],
        **{code: ["info", "info"] for code in ("7", "13", "20", "56", "-1")},
    }


# Brokers whose answers are given; refused and silent ones are real sockets.
KAFKA_BROKERS = """
import socket
from steadyset.load import kafka_wire
from steadyset.load.workloads import kafka_log
from steadyset.load.workloads.kafka_log import KafkaClient
kafka_log.OP_TIMEOUT_S = 1.0
real = kafka_wire.Broker.connect

class Scripted:
    def __init__(self, produced=(0, 41), end=(0, 42, 7), fetched=(0, 42, ())):
        self._produced, self._end, self._fetched = produced, end, fetched
    def close(self):
        pass
    def view(self, topic):
        return kafka_wire.View((0,), {(topic, 0): kafka_wire.Leader(0, 7, (0,), (0,))})
    def _say(self, answer):
        if isinstance(answer, Exception):
            raise answer
        return answer
    def produce(self, *args):
        return self._say(self._produced)
    def end(self, *args):
        return self._say(self._end)
    def fetch(self, *args):
        return self._say(self._fetched)

def client(broker, acks=-1, direct=False, port=1):
    def connect(host, port, timeout_s):
        if broker is None:
            return real(host, port, timeout_s)
        return broker
    kafka_wire.Broker.connect = connect
    endpoint = {"host": "127.0.0.1", "port": port}
    member = {"id": 0, "pod": "kafka-0", "direct": endpoint}
    params = {"tag": "t", "acks": acks, "primary": endpoint, "members": [member]}
    return KafkaClient(params, member if direct else None)

found = {}
def note(name, answer):
    found[name] = [answer.outcome, answer.value, answer.values, answer.server, answer.epoch]
put, poll = Op("enqueue", "p0", 5), Op("poll", "p0")
lost, record = kafka_wire.WireError("gone"), kafka_wire.Record(41, b"5", 7)
note("acknowledged", client(Scripted()).send(put))
note("acknowledged, then deposed", client(Scripted(end=(6, -1, -1))).send(put))
note("acknowledged, then gone", client(Scripted(end=lost)).send(put))
note("connection lost", client(Scripted(produced=lost)).send(put))
note("followers late", client(Scripted(produced=(7, -1))).send(put))
note("too few in sync", client(Scripted(produced=(19, -1))).send(put))
note("deposed", client(Scripted(produced=(6, -1))).send(put))
doubted = client(Scripted(produced=(6, -1), end=(6, -1, -1)), direct=True)
note("deposed, direct", doubted.send(put))
note("still deposed, direct", doubted.send(put))
note("polled", client(Scripted(fetched=(0, 42, [record]))).send(poll))
note("polled nothing", client(Scripted()).send(poll))
note("poll beyond the end", client(Scripted(fetched=(1, 3, []))).send(poll))
note("poll, connection lost", client(Scripted(fetched=lost)).send(poll))
closed = socket.create_server(("127.0.0.1", 0)); port = closed.getsockname()[1]; closed.close()
silent = socket.create_server(("127.0.0.1", 0))
for name, number in (("refused", port), ("no answer", silent.getsockname()[1])):
    note(name, client(None, direct=True, port=number).send(put))
note("no answer, no leader known", client(None, port=silent.getsockname()[1]).send(put))
print(json.dumps(found))
"""


def test_kafka_outcomes(run_child: Callable[..., Any]) -> None:
    """An acknowledgement stands whatever follows; what was sent without an answer is unknown; a poll has no effect."""
    nothing = [None, None, "", -1]
    assert run_child(KAFKA_BROKERS) == {
        "acknowledged": ["ok", 41, None, "kafka-0", 7],
        "acknowledged, then deposed": ["ok", 41, None, "kafka-0", -1],
        "acknowledged, then gone": ["ok", 41, None, "kafka-0", -1],
        "connection lost": ["info", *nothing],
        "followers late": ["info", *nothing],
        "too few in sync": ["fail", *nothing],
        "deposed": ["info", *nothing],
        "deposed, direct": ["info", *nothing],
        "still deposed, direct": ["fail", *nothing],
        "polled": ["ok", None, [41, 5], "kafka-0", -1],
        "polled nothing": ["ok", None, [], "kafka-0", -1],
        "poll beyond the end": ["fail", *nothing],
        "poll, connection lost": ["fail", *nothing],
        "refused": ["fail", *nothing],
        "no answer": ["info", *nothing],
        "no answer, no leader known": ["fail", *nothing],
    }


POSTGRES_STATES = """
import psycopg
from steadyset.load.workloads.postgresql_append import classify
states = "25006 40001 40P01 23505 42P01 22012 55P03 57014 57P01 57P02 57P03 08006 53300 58030 XX000".split()
found = {state: classify(psycopg.errors.lookup(state)("x")) for state in states}
found["none"] = classify(psycopg.OperationalError("server closed the connection unexpectedly"))
print(json.dumps(found))
"""


def test_postgresql_error_states(run_child: Callable[..., Any]) -> None:
    """Only what the server surely rolled back is a failure; whatever may follow a commit is unknown."""
    assert run_child(POSTGRES_STATES) == {
        **dict.fromkeys(("25006", "40001", "40P01", "23505", "42P01", "22012", "55P03"), "fail"),
        **dict.fromkeys(("57014", "57P01", "57P02", "57P03", "08006", "53300", "58030", "XX000", "none"), "info"),
    }


class Server:
    """A PostgreSQL of this machine's packages, run as nobody."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder, self.port = folder, port
        self.as_user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"] if not os.geteuid() else []

    def run(self, *argv: str) -> None:
        done = subprocess.run([*self.as_user, *argv], capture_output=True, text=True, check=False, cwd=self.folder)
        assert done.returncode == 0, done.stdout + done.stderr

    def control(self, *argv: str) -> None:
        self.run(str(BINARIES / "pg_ctl"), "-D", str(self.folder / "data"), "-w", "-l", str(self.folder / "log"), *argv)


@pytest.fixture
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server on loopback with the settings the stack gives its members."""
    if not (BINARIES / "initdb").exists() or not shutil.which("setpriv"):
        pytest.skip("needs PostgreSQL 15's server package")
    folder = Path("/tmp") / tmp_path_factory.mktemp("pg").name
    folder.mkdir(mode=0o700)
    if not os.geteuid():
        os.chown(folder, 65534, 65534)
    server = Server(folder, 40000 + os.getpid() % 20000)
    data = str(folder / "data")
    server.run(str(BINARIES / "initdb"), "-D", data, "-U", "postgres", "-A", "trust", "--locale=C.UTF-8", "-N")
    with (folder / "data/postgresql.conf").open("a") as config:
        config.write(
            f"port={server.port}\nlisten_addresses='127.0.0.1'\nunix_socket_directories=''\n"
            "steadyset.pod='pg-0'\nshared_buffers=16MB\n"
        )
    server.control("start")
    yield server
    server.control("stop", "-m", "immediate")
    shutil.rmtree(folder)


POSTGRES_SCRIPT = """
import psycopg, threading
from steadyset.load.workloads.postgresql_append import PostgresClient, PostgresUser
from steadyset.wait import wait_for
endpoint = {"host": "127.0.0.1", "port": args["port"]}
params = {"tag": "t", "primary": endpoint, "secrets": {"user": "postgres", "password": ""}}
PostgresUser.prepare(params)
PostgresUser.prepare(params)
client = PostgresClient(endpoint, params)
found = {}
def note(name, answer):
    found[name] = [answer.outcome, answer.value, answer.values, answer.server, answer.epoch]
note("add", client.send(Op("add", "list", 5)))
note("add again", client.send(Op("add", "list", 5)))
note("read-all", client.send(Op("read-all", "list")))
note("read initial", client.send(Op("read", "k0")))
note("cas", client.send(Op("cas", "k0", 0, 7)))
note("cas mismatch", client.send(Op("cas", "k0", 0, 8)))
note("write", client.send(Op("write", "k0", 9)))
note("read", client.send(Op("read", "k0")))
note("no such register", client.send(Op("write", "absent", 9)))
other = psycopg.connect(hostaddr="127.0.0.1", port=args["port"], user="postgres", dbname="postgres", autocommit=True)
other.execute("ALTER SYSTEM SET synchronous_standby_names = 'nobody'"); other.execute("SELECT pg_reload_conf()")
wait_for(lambda: other.execute("SHOW synchronous_standby_names").fetchone()[0] == "nobody", what="reloaded",
         deadline_name="reload_s", deadline_s=10)
def waiting():
    return other.execute("SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep'").fetchone()
def during(how, name, value):
    result = []
    thread = threading.Thread(target=lambda: result.append(client.send(Op("add", "list", value))))
    thread.start()
    pid = wait_for(waiting, what="waiting for the standby", deadline_name="wait_s", deadline_s=10, poll_s=0.02)[0]
    other.execute(f"SELECT {how}({pid})")
    thread.join()
    note(name, result[0])
during("pg_cancel_backend", "commit not replicated", 20)
during("pg_terminate_backend", "terminated after commit", 21)
note("no standby, no answer", client.send(Op("add", "list", 22)))
other.execute("ALTER SYSTEM RESET synchronous_standby_names"); other.execute("SELECT pg_reload_conf()")
wait_for(lambda: other.execute("SHOW synchronous_standby_names").fetchone()[0] == "", what="reloaded",
         deadline_name="reload_s", deadline_s=10)
note("all of them are there", client.send(Op("read-all", "list")))
other.execute("ALTER SYSTEM SET default_transaction_read_only = on"); other.execute("SELECT pg_reload_conf()")
wait_for(lambda: other.execute("SHOW default_transaction_read_only").fetchone()[0] == "on", what="reloaded",
         deadline_name="reload_s", deadline_s=10)
client.close()
note("read-only", client.send(Op("add", "list", 23)))
endpoint["port"] = 1
client.close()
note("refused", client.send(Op("add", "list", 24)))
print(json.dumps(found))
"""


def test_postgresql_outcomes(run_child: Callable[..., Any], postgres: Server) -> None:
    """On a real server: what is acknowledged, what is refused, and what was committed without its standby."""
    me = ["pg-0", 1]
    assert run_child(POSTGRES_SCRIPT, port=postgres.port) == {
        "add": ["ok", None, None, *me],
        "add again": ["fail", None, None, "", -1],
        "read-all": ["ok", None, [5], *me],
        "read initial": ["ok", 0, None, *me],
        "cas": ["ok", 0, None, *me],
        "cas mismatch": ["fail", 7, None, *me],
        "write": ["ok", None, None, *me],
        "read": ["ok", 9, None, *me],
        "no such register": ["fail", None, None, "", -1],
        "commit not replicated": ["info", None, None, *me],
        "terminated after commit": ["info", None, None, "", -1],
        "no standby, no answer": ["info", None, None, "", -1],
        "all of them are there": ["ok", None, [5, 20, 21, 22], *me],
        "read-only": ["fail", None, None, "", -1],
        "refused": ["fail", None, None, "", -1],
    }

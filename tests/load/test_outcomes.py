"""Every way an op can end, and what the history says of it. Importing a workload patches the process: own processes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

CHILD_S = 60.0
BINARIES = Path("/usr/lib/postgresql/15/bin")

# Each script runs where a load process would: Locust imported first. It prints one JSON document.
PROLOGUE = """
import locust, json, sys
from steadyset.load.recorder import Op
args = json.loads(sys.argv[1])
"""


def run_child(script: str, **args: Any) -> Any:
    """Run a script in a process of its own and return what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", PROLOGUE + script, json.dumps(args)],
        capture_output=True,
        text=True,
        timeout=CHILD_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


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


def test_probe_outcomes() -> None:
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


POSTGRES_STATES = """
import psycopg
from steadyset.load.workloads.postgresql_append import classify
states = "25006 40001 40P01 23505 42P01 22012 55P03 57014 57P01 57P02 57P03 08006 53300 58030 XX000".split()
found = {state: classify(psycopg.errors.lookup(state)("x")) for state in states}
found["none"] = classify(psycopg.OperationalError("server closed the connection unexpectedly"))
print(json.dumps(found))
"""


def test_postgresql_error_states() -> None:
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


def test_postgresql_outcomes(postgres: Server) -> None:
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

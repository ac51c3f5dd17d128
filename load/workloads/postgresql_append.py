"""Appends and register ops on PostgreSQL: through the primary Service, and by sessions to each member kept open.

Every acknowledgement carries the pod that gave it and its timeline, read in the transaction that it acknowledges.
"""

from __future__ import annotations

import socket
from typing import Any

import gevent
import psycopg

from steadyset.history import HistoryWriter
from steadyset.load.recorder import Answer, Op
from steadyset.load.store import KEYS, StoreUser, read_everything
from steadyset.wait import wait_for

OP_TIMEOUT_S = 2.0
CONNECT_TIMEOUT_S = 2
PREPARE_S = 20.0  # until the schema is made
_APPLICATION = "steadyset"
DATABASE = "postgres"  # unless the parameter `database` names another

# One statement is one transaction and one round trip. The timeline comes from the WAL file's name, since the control
# file's is older after a promotion; in recovery there is none, and 0 stands for "a replica answered".
_WHO = """
CREATE OR REPLACE FUNCTION steadyset_epoch() RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$
BEGIN
  IF pg_is_in_recovery() THEN RETURN 0; END IF;
  RETURN ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::bigint;
END $$
"""
# Returns what the register held. Statements of a volatile function each see what others have committed by then, so
# the value compared is the one locked.
_CAS = """
CREATE OR REPLACE FUNCTION steadyset_cas(the_tag text, the_key text, expected bigint, replacement bigint)
RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$
DECLARE held bigint;
BEGIN
  SELECT value INTO held FROM steadyset_register WHERE tag = the_tag AND key = the_key FOR UPDATE;
  IF held = expected THEN
    UPDATE steadyset_register SET value = replacement WHERE tag = the_tag AND key = the_key;
  END IF;
  RETURN held;
END $$
"""
_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS steadyset_list (tag text, key text, value bigint, PRIMARY KEY (tag, key, value))",
    "CREATE TABLE IF NOT EXISTS steadyset_register (tag text, key text, value bigint, PRIMARY KEY (tag, key))",
    _WHO,
    _CAS,
)
# How a server says which it is, unless the parameter `server_sql` says otherwise.
_SERVER = "current_setting('steadyset.pod')"
_STATEMENTS = {
    "add": "INSERT INTO steadyset_list VALUES (%(tag)s, %(key)s, %(value)s) RETURNING NULL::bigint, {server}",
    "write": "UPDATE steadyset_register SET value = %(value)s WHERE tag = %(tag)s AND key = %(key)s"
    " RETURNING NULL::bigint, {server}",
    "cas": "SELECT steadyset_cas(%(tag)s, %(key)s, %(value)s, %(value2)s), {server}",
    "read": "SELECT (SELECT value FROM steadyset_register WHERE tag = %(tag)s AND key = %(key)s), {server}",
    "read-all": "SELECT (SELECT coalesce(array_agg(value), '{{}}') FROM steadyset_list"
    " WHERE tag = %(tag)s AND key = %(key)s), {server}",
}

# The server said that the transaction is void: read-only (25006) and other invalid transaction states, data and
# constraint errors, rollbacks (serialization, deadlock), syntax and access, lock not available.
_DEFINITE_CLASSES = ("22", "23", "25", "40", "42")
_DEFINITE_STATES = ("55P03",)
# PostgreSQL's warning when it gives up waiting for the standby after the commit is on the primary's disk.
_UNREPLICATED = "wait for synchronous replication"


def classify(error: psycopg.Error) -> str:
    """The outcome of an op whose statement had been sent when `error` came: fail if it surely is void, else info.

    Everything that may come after the commit is info: a lost connection, an administrator's or a crash's end of the
    session (57P01 comes with "the transaction has already committed locally"), a cancel, a system error.
    """
    state = error.sqlstate or ""
    return "fail" if state[:2] in _DEFINITE_CLASSES or state in _DEFINITE_STATES else "info"


class PostgresClient:
    """One session with PostgreSQL, opened when needed. Names are resolved on each opening."""

    def __init__(self, endpoint: dict[str, Any], params: dict[str, Any]) -> None:
        self._endpoint, self._secrets, self._tag = endpoint, params["secrets"], str(params["tag"])
        server = f"{params.get('server_sql', _SERVER)}, steadyset_epoch()"
        self._statements = {name: text.format(server=server) for name, text in _STATEMENTS.items()}
        self._replica_reads = bool(params.get("replica_reads"))
        self._database = params.get("database", DATABASE)
        self._connection: psycopg.Connection[Any] | None = None
        self._notices: list[str] = []
        self._opened = 0

    @property
    def generation(self) -> int:
        """Number of the connection the next op goes over, from 1."""
        return self._opened + (self._connection is None)

    def connect(self) -> psycopg.Connection[Any]:
        """The open session; OSError, psycopg.Error or gevent.Timeout when it cannot be opened."""
        if self._connection is None:
            # libpq would resolve the name itself and block every user of this process meanwhile.
            host, port = str(self._endpoint["host"]), int(self._endpoint["port"])
            address = socket.getaddrinfo(host, port, socket.AF_INET, socket.SOCK_STREAM)[0][4][0]
            connection = psycopg.connect(
                hostaddr=str(address),
                port=port,
                user=self._secrets["user"],
                password=self._secrets["password"],
                dbname=str(self._database),
                application_name=_APPLICATION,
                connect_timeout=CONNECT_TIMEOUT_S,
                autocommit=True,
                prepare_threshold=None,
            )
            connection.add_notice_handler(lambda notice: self._notices.append(notice.message_primary or ""))
            self._connection = connection
            self._opened += 1
        return self._connection

    def close(self) -> None:
        """Close the session; the next op opens another."""
        if self._connection is not None:
            # Not Connection.close(): libpq's finish neither waits nor speaks to a server that may be cut off.
            self._connection.pgconn.finish()
            self._connection = None

    def send(self, op: Op) -> Answer:
        """One op. No session is fail; sent and no verdict from the server is info, but fail for a read."""
        reads = op.f in ("read", "read-all")
        timeout = gevent.Timeout(OP_TIMEOUT_S)
        try:
            with timeout:
                connection = self.connect()
        except (OSError, psycopg.Error, gevent.Timeout) as error:
            self.close()
            return Answer("fail", error=f"not sent: {describe_error(error)}")
        self._notices.clear()
        values = {"tag": self._tag, "key": op.key, "value": op.value, "value2": op.value2}
        try:
            with gevent.Timeout(OP_TIMEOUT_S):
                row = connection.execute(self._statements[op.f], values).fetchone()
        except gevent.Timeout:
            self.close()
            return Answer("fail" if reads else "info", error=f"no answer within {OP_TIMEOUT_S:g} s")
        except psycopg.Error as error:
            if connection.closed or connection.broken or not error.sqlstate:
                self.close()
            return Answer("fail" if reads else classify(error), error=describe_error(error))
        return self._answer(op, row)

    def _answer(self, op: Op, row: Any) -> Answer:
        """What the server's row says; epoch 0 in it means that a replica answered."""
        if row is None:
            return Answer("fail", error="no such register")
        result, server, epoch = row[0], str(row[1]), int(row[2])
        outcome, error = "ok", ""
        if any(_UNREPLICATED in notice for notice in self._notices):
            outcome, error = "info", "committed on the primary, not replicated"
        elif op.f == "cas" and result != op.value:
            outcome, error = "fail", "mismatch"
        elif not epoch and not self._replica_reads:
            outcome, error, result = "fail", "a replica answered", None
        if op.f == "read-all" and result is not None:
            return Answer(outcome, values=sorted(result), server=server, epoch=epoch or -1, error=error)
        return Answer(outcome, value=result, server=server, epoch=epoch or -1, error=error)


def describe_error(error: BaseException) -> str:
    """A short, stable text: the SQL state and the message's first line, without addresses and ports."""
    if isinstance(error, gevent.Timeout):
        return f"no session within {OP_TIMEOUT_S:g} s"
    if isinstance(error, psycopg.Error):
        if error.sqlstate:
            return f"{error.sqlstate} {error.diag.message_primary or type(error).__name__}"
        first = str(error).strip().partition("\n")[0]
        return f"{type(error).__name__}: {first.rpartition('failed: ')[2]}"
    return f"{type(error).__name__}: {error}"


class PostgresUser(StoreUser):
    """The first users keep a session to one member each, all others go through the primary Service."""

    @staticmethod
    def client_of(endpoint: dict[str, Any], params: dict[str, Any]) -> PostgresClient:
        return PostgresClient(endpoint, params)

    @classmethod
    def prepare(cls, params: dict[str, Any]) -> None:
        """Make the tables and functions, and every register with the value 0."""
        client = PostgresClient(params["primary"], params)
        last = ""

        def made() -> bool:
            nonlocal last
            try:
                for statement in _SCHEMA:
                    client.connect().execute(statement)
                for key in KEYS:
                    client.connect().execute(
                        "INSERT INTO steadyset_register VALUES (%s, %s, 0) ON CONFLICT DO NOTHING", (params["tag"], key)
                    )
            except (OSError, psycopg.Error) as error:
                last = describe_error(error)
                client.close()
                return False
            return True

        wait_for(
            made,
            what="schema on the primary",
            deadline_name="prepare_s",
            deadline_s=PREPARE_S,
            describe=lambda: last,
            do="see whether the stack is in steady state",
        )
        client.close()


def read_back(params: dict[str, Any], writer: HistoryWriter) -> None:
    """Read the list and every register once more through the primary; DeadlineError when no primary answers."""
    read_everything(PostgresClient(params["primary"], {**params, "replica_reads": False}), writer)

"""Appends and register ops on MariaDB Galera: by sessions kept to each member, and through the Service of ready ones.

Every member takes writes. An acknowledgement carries the member's name and its epoch (see `epoch_of`), read after the
commit: read before, it could be older than the component that ordered the commit. What commits is sent alone: with a
statement behind it, a member may say OK to a transaction that it has aborted, and give the error to that statement
(MariaDB 10.11.19: 12 of 217 commits had such an error, and some of those were void; so were INSERTs under autocommit).
"""

from __future__ import annotations

from typing import Any

import gevent
import pymysql
from pymysql.constants import CLIENT, ER

from steadyset.history import HistoryWriter
from steadyset.load.galera_epoch import EPOCH_QUERY, epoch_of
from steadyset.load.recorder import Answer, Op
from steadyset.load.store import KEYS, StoreUser, read_everything
from steadyset.wait import wait_for

OP_TIMEOUT_S = 3.0
PREPARE_S = 20.0  # until the schema is made
DATABASE = "steadyset"  # unless the parameter `database` names another

_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS `list`"
    " (tag VARCHAR(16), name VARCHAR(16), value BIGINT, PRIMARY KEY (tag, name, value))",
    "CREATE TABLE IF NOT EXISTS register (tag VARCHAR(16), name VARCHAR(16), value BIGINT, PRIMARY KEY (tag, name))",
)
_WHERE = "tag = %(tag)s AND name = %(key)s"
STATEMENTS = {
    "add": "INSERT INTO `list` VALUES (%(tag)s, %(key)s, %(value)s)",
    "write": f"UPDATE register SET value = %(value)s WHERE {_WHERE}",
    "read": f"SELECT value FROM register WHERE {_WHERE}",
    "read-all": f"SELECT value FROM `list` WHERE {_WHERE}",
}
READS = ("read", "read-all")
# A compare-and-set reads its snapshot without a lock: it is the database that must let the first committer win.
_REPLACE = f"UPDATE register SET value = %(value2)s WHERE {_WHERE}"

# The server said that the transaction is void, or did not begin it: not in the primary component (1047), conflict
# (1213, 1020), lock wait (1205), duplicate, read-only, missing or forbidden things, bad syntax.
NOT_PRIMARY = 1047
_DEFINITE = frozenset(
    (
        NOT_PRIMARY,
        ER.LOCK_DEADLOCK,
        ER.LOCK_WAIT_TIMEOUT,
        ER.CHECKREAD,
        ER.DUP_ENTRY,
        ER.OPTION_PREVENTS_STATEMENT,
        ER.NO_SUCH_TABLE,
        ER.BAD_DB_ERROR,
        ER.PARSE_ERROR,
        ER.ACCESS_DENIED_ERROR,
        ER.TABLEACCESS_DENIED_ERROR,
    )
)


def classify(error: pymysql.MySQLError) -> str:
    """The outcome of an op whose statement had been sent when `error` came: fail if it surely is void, else info.

    Whatever may come after the commit was ordered is info: a lost connection, an error during COMMIT (1180), an
    interrupted query (1317), a server that shuts down (1053).
    """
    return "fail" if error.args and error.args[0] in _DEFINITE else "info"


def database_of(params: dict[str, Any]) -> str:
    """The database of this load."""
    return str(params.get("database", DATABASE))


def open_session(
    endpoint: dict[str, Any], secrets: dict[str, Any], database: str | None, timeout_s: float = OP_TIMEOUT_S
) -> pymysql.Connection[Any]:
    """A session with a member; OSError or pymysql.MySQLError when it cannot be opened."""
    return pymysql.connect(
        host=str(endpoint["host"]),
        port=int(endpoint["port"]),
        user=secrets["user"],
        password=secrets["password"],
        database=database,
        autocommit=True,
        connect_timeout=timeout_s,
        client_flag=CLIENT.MULTI_STATEMENTS,
    )


class GaleraClient:
    """One session with a member, opened when needed. Names are resolved on each opening."""

    def __init__(self, endpoint: dict[str, Any], params: dict[str, Any]) -> None:
        self._endpoint, self._secrets, self._tag = endpoint, params["secrets"], str(params["tag"])
        self._database = database_of(params)
        self._connection: pymysql.Connection[Any] | None = None
        self._opened = 0

    @property
    def generation(self) -> int:
        """Number of the connection the next op goes over, from 1."""
        return self._opened + (self._connection is None)

    def connect(self) -> pymysql.Connection[Any]:
        """The open session; OSError, pymysql.MySQLError or gevent.Timeout when it cannot be opened."""
        if self._connection is None:
            self._connection = open_session(self._endpoint, self._secrets, self._database)
            self._opened += 1
        return self._connection

    def close(self) -> None:
        """Close the session without a word to a server that may be cut off; the next op opens another."""
        if self._connection is not None:
            self._connection._force_close()  # type: ignore[attr-defined]
            self._connection = None

    def send(self, op: Op) -> Answer:
        """One op. No session is fail; sent and no verdict from the server is info, but fail for a read."""
        reads = op.f in READS
        try:
            with gevent.Timeout(OP_TIMEOUT_S):
                connection = self.connect()
        except (OSError, pymysql.MySQLError, gevent.Timeout) as error:
            self.close()
            return Answer("fail", error=f"not sent: {describe_error(error)}")
        try:
            with gevent.Timeout(OP_TIMEOUT_S), connection.cursor() as cursor:
                values = {"tag": self._tag, "key": op.key, "value": op.value, "value2": op.value2}
                return self._compare_and_set(cursor, op, values) if op.f == "cas" else self._run(cursor, op, values)
        except gevent.Timeout:
            self.close()
            return Answer("fail" if reads else "info", error=f"no answer within {OP_TIMEOUT_S:g} s")
        except (pymysql.MySQLError, OSError) as error:
            self.close()  # whatever the transaction still holds goes with its session
            outcome = classify(error) if isinstance(error, pymysql.MySQLError) else "info"
            return Answer("fail" if reads else outcome, error=describe_error(error))

    def _run(self, cursor: Any, op: Op, values: dict[str, Any]) -> Answer:
        """One statement, which is one transaction, and who it was that ran it: of a read in the same round trip."""
        if op.f in READS:
            cursor.execute(f"{STATEMENTS[op.f]}; {EPOCH_QUERY}", values)
            rows = cursor.fetchall()
            server, epoch = self._who(cursor)
            if op.f == "read-all":
                return Answer("ok", values=sorted(row[0] for row in rows), server=server, epoch=epoch)
            if not rows:
                return Answer("fail", error="no such register")
            return Answer("ok", rows[0][0], server=server, epoch=epoch)
        if not cursor.execute(STATEMENTS[op.f], values):
            return Answer("fail", error="no such register")
        server, epoch = self._who(cursor, EPOCH_QUERY)
        return Answer("ok", server=server, epoch=epoch)

    def _compare_and_set(self, cursor: Any, op: Op, values: dict[str, Any]) -> Answer:
        """Read, compare, write, commit in one transaction; of these only the commit may end in an unknown outcome."""
        try:
            cursor.execute(f"START TRANSACTION; {STATEMENTS['read']}", values)
            cursor.nextset()
            row = cursor.fetchone()
            if row is None or row[0] != op.value:
                cursor.execute("ROLLBACK")
                return Answer("fail", row[0] if row else None, error="mismatch" if row else "no such register")
            cursor.execute(_REPLACE, values)
        except (gevent.Timeout, pymysql.MySQLError, OSError) as error:
            self.close()  # the server rolls back what nobody commits
            return Answer("fail", error=f"not committed: {describe_error(error)}")
        cursor.execute("COMMIT")
        server, epoch = self._who(cursor, EPOCH_QUERY)
        return Answer("ok", op.value, server=server, epoch=epoch)

    def _who(self, cursor: Any, query: str = "") -> tuple[str, int]:
        """Name and epoch of the member, asked now or behind the last statement.

        The epoch is unknown (-1) when the member has just left the primary component, or says no more.
        """
        try:
            if query:
                cursor.execute(query)
            else:
                cursor.nextset()
            row = cursor.fetchone()
        except (pymysql.MySQLError, OSError, gevent.Timeout):
            self.close()
            return "", -1
        return (str(row[0]), epoch_of(row)) if row else ("", -1)


def describe_error(error: BaseException) -> str:
    """A short, stable text: the error's number and message, without addresses and ports."""
    if isinstance(error, gevent.Timeout):
        return f"no answer within {OP_TIMEOUT_S:g} s"
    if isinstance(error, pymysql.MySQLError) and len(error.args) > 1:
        return f"{error.args[0]} {str(error.args[1]).partition(' on ')[0].partition(';')[0]}"
    return f"{type(error).__name__}: {error}"


class GaleraUser(StoreUser):
    """The first users keep a session to one member each, all others go through the Service of ready members."""

    @staticmethod
    def client_of(endpoint: dict[str, Any], params: dict[str, Any]) -> GaleraClient:
        return GaleraClient(endpoint, params)

    @classmethod
    def prepare(cls, params: dict[str, Any]) -> None:
        """Make the tables, and every register with the value 0."""
        client, database = GaleraClient(params["primary"], params), database_of(params)
        last = ""

        def made() -> bool:
            nonlocal last
            try:
                with open_session(params["primary"], params["secrets"], None) as made, made.cursor() as cursor:
                    cursor.execute(f"CREATE DATABASE IF NOT EXISTS `{database}`")
                with client.connect().cursor() as cursor:
                    for statement in _SCHEMA:
                        cursor.execute(statement)
                    for key in KEYS:
                        cursor.execute("INSERT IGNORE INTO register VALUES (%s, %s, 0)", (params["tag"], key))
            except (OSError, pymysql.MySQLError) as error:
                last = describe_error(error)
                client.close()
                return False
            return True

        wait_for(
            made,
            what="schema on a member",
            deadline_name="prepare_s",
            deadline_s=PREPARE_S,
            describe=lambda: last,
            do="see whether the stack is in steady state",
        )
        client.close()


def read_back(params: dict[str, Any], writer: HistoryWriter) -> None:
    """Read the list and every register once more through the Service; DeadlineError when nobody answers."""
    read_everything(GaleraClient(params["primary"], params), writer)

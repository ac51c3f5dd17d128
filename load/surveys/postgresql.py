"""PostgreSQL behind a Service that leads to the primary. Our place is a database; the epoch is the timeline."""

from __future__ import annotations

import math
import socket
from typing import Any

import psycopg
from psycopg import sql

from steadyset.errors import UsageError
from steadyset.load.surveys.base import Survey, View, refused
from steadyset.load.workloads.postgresql_append import describe_error

# As the load reads it: the name of the WAL file has the timeline of now, the control file an older one.
_WHO = """
SELECT CASE WHEN pg_is_in_recovery() THEN 0
            ELSE ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::bigint END,
       (SELECT count(*) FROM pg_stat_replication WHERE coalesce(state, 'streaming') = 'streaming'),
       pg_postmaster_start_time()::text
"""


class PostgresSurvey(Survey):
    """Parameters besides: `maintenance`, the database to log in to."""

    def _session(self, endpoint: dict[str, Any]) -> psycopg.Connection[Any]:
        host, port = str(endpoint["host"]), int(endpoint["port"])
        address = socket.getaddrinfo(host, port, socket.AF_INET, socket.SOCK_STREAM)[0][4][0]
        return psycopg.connect(
            host=host,
            hostaddr=str(address),
            port=port,
            user=self.secrets["user"],
            password=self.secrets["password"],
            dbname=str(self.params["maintenance"]),
            application_name="steadyset survey",
            connect_timeout=math.ceil(self.ask_s),
            autocommit=True,
        )

    def _ask(self, endpoint: dict[str, Any], statement: Any, *values: Any) -> Any:
        with self._session(endpoint) as session:
            cursor = session.execute(statement, values or None)
            return cursor.fetchone() if cursor.description else None

    def describe(self, error: BaseException) -> str:
        return describe_error(error) if isinstance(error, psycopg.Error) else super().describe(error)

    def enter(self, member: dict[str, Any]) -> None:
        self._ask(member["direct"], "SELECT 1")

    def check(self) -> None:
        try:
            row = self._ask(
                self.params["primary"],
                "SELECT rolcreatedb OR rolsuper, pg_is_in_recovery() FROM pg_roles WHERE rolname = current_user",
            )
        except (OSError, psycopg.Error) as error:
            raise UsageError(
                "nobody answers behind the target's Service",
                expected="the primary",
                seen=self.describe(error),
                do="check connect.service in the target's file",
            ) from None
        if row[1]:
            raise UsageError("the target's Service leads to a replica", expected="the primary", do="connect.service")
        if not row[0]:
            user = self.secrets["user"]
            raise refused("make a database", f"role {user} has no CREATEDB", f"ALTER ROLE {user} CREATEDB")

    def make(self) -> None:
        self._ask(self.params["primary"], sql.SQL("CREATE DATABASE {}").format(sql.Identifier(self.scratch)))

    def remove(self) -> str:
        primary, name = self.params["primary"], sql.Identifier(self.scratch)
        self._ask(primary, sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(name))
        row = self._ask(primary, "SELECT count(*) FROM pg_database WHERE datname = %s", self.scratch)
        return f"database {self.scratch}" if row[0] else ""

    def look(self) -> View:
        answers = self.each(lambda member: self._ask(member["direct"], _WHO))
        answers |= self.each_service(lambda endpoint: self._ask(endpoint, _WHO))
        return view_of(answers, self)

    def each_service(self, question: Any) -> dict[str, Any]:
        """The answer of whoever is behind the Service, by the name "" in the same form as the members'."""
        try:
            return {"": question(self.params["primary"])}
        except (OSError, psycopg.Error) as error:
            return {"": error}


def view_of(answers: dict[str, Any], survey: Survey) -> View:
    """What the members said, and whoever is behind the Service (""): rows of _WHO, or exceptions."""
    members = {pod: answer for pod, answer in answers.items() if pod}
    rows = {pod: row for pod, row in members.items() if not isinstance(row, BaseException)}
    primaries = sorted((int(row[0]), pod) for pod, row in rows.items() if int(row[0]))
    epoch, primary = primaries[-1] if primaries else (-1, "")
    says = {
        pod: survey.describe(answer)
        if isinstance(answer, BaseException)
        else (f"primary on timeline {answer[0]} with {answer[1]} replicas" if int(answer[0]) else "replica")
        for pod, answer in members.items()
    }
    service, problem = answers[""], survey.silent(members)
    if not problem and len(primaries) != 1:
        problem = f"{len(primaries)} primaries: {', '.join(pod for _, pod in primaries)}"
    if not problem and int(rows[primary][1]) < len(members) - 1:
        problem = f"{rows[primary][1]} of {len(members) - 1} replicas stream from {primary}"
    if not problem and isinstance(service, BaseException):
        problem = f"nobody answers behind the Service ({survey.describe(service)})"
    if not problem and (service[0], service[2]) != (rows[primary][0], rows[primary][2]):
        problem = f"the Service does not lead to {primary}"
    return View(primary=primary, epoch=epoch, problem=problem, says=says)


SURVEY = PostgresSurvey

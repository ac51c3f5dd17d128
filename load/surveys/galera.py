"""MariaDB Galera: which component each member is in, by its own account. Our place is a database.

The epoch is the component's, as the load records it (`load.galera_epoch`).
"""

from __future__ import annotations

from typing import Any

import pymysql

from steadyset.load.galera_epoch import EPOCH_QUERY, epoch_of
from steadyset.load.surveys.base import Survey, View, refused
from steadyset.load.workloads.galera_append import describe_error, open_session

_STATE = "SHOW STATUS LIKE 'wsrep_local_state_comment'"


class GaleraSurvey(Survey):
    """No parameters besides."""

    def _rows(self, endpoint: dict[str, Any], *statements: str) -> list[Any]:
        with open_session(endpoint, self.secrets, None, self.ask_s) as session, session.cursor() as cursor:
            found = []
            for statement in statements:
                cursor.execute(statement)
                found.append(cursor.fetchone())
            return found

    def describe(self, error: BaseException) -> str:
        return describe_error(error) if isinstance(error, pymysql.MySQLError) else super().describe(error)

    def enter(self, member: dict[str, Any]) -> None:
        self._rows(member["direct"], EPOCH_QUERY, _STATE)

    def check(self) -> None:
        try:
            self.make()
            self.remove()
        except pymysql.MySQLError as error:
            raise refused("make a database", self.describe(error), f"GRANT ALL ON `{self.scratch}%`.*") from None

    def make(self) -> None:
        self._rows(self.params["primary"], f"CREATE DATABASE IF NOT EXISTS `{self.scratch}`")

    def remove(self) -> str:
        rows = self._rows(
            self.params["primary"],
            f"DROP DATABASE IF EXISTS `{self.scratch}`",
            f"SELECT count(*) FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = '{self.scratch}'",
        )
        return f"database {self.scratch}" if rows[-1][0] else ""

    def look(self) -> View:
        return view_of(self.each(lambda member: self._rows(member["direct"], EPOCH_QUERY, _STATE)), self)


def view_of(answers: dict[str, Any], survey: Survey) -> View:
    """What the members said: [row of EPOCH_QUERY, row of the state], or exceptions."""
    says, epochs = {}, {}
    for pod, answer in answers.items():
        if isinstance(answer, BaseException):
            says[pod] = survey.describe(answer)
            continue
        row, state = answer[0], str((answer[1] or ("", "in no state"))[1])
        epochs[pod] = epoch_of(row) if row else -1
        says[pod] = f"{state} with {row[1] if row else 'nobody'}"
    epoch = max(epochs.values(), default=-1)
    primary = next((pod for pod in answers if epochs.get(pod) == epoch and epoch >= 0), "")
    problem = survey.silent(answers)
    apart = [f"{pod} is {says[pod]}" for pod in answers if epochs.get(pod) != epoch or "Synced" not in says[pod]]
    if not problem and (apart or epoch < 0):
        problem = "; ".join(apart) or "no member is in a primary component"
    if not problem and any(len(says[pod].split(",")) != len(answers) for pod in answers):
        problem = f"the component has other members: {says[primary]}"
    return View(primary=primary, epoch=epoch, problem=problem, says=says)


SURVEY = GaleraSurvey

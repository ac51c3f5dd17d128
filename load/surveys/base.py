"""What every survey answers, and the parameters that all of them share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypedDict

import gevent

from steadyset.errors import DeadlineError, UsageError
from steadyset.wait import wait_for

ASK_S = 2.0  # one question to one member, a connection included, unless the parameter `ask_s` says otherwise
LOG_IN_S = 20.0  # until every member has answered for the first time
REMOVE_S = 30.0  # until our scratch place is gone, and stays gone


class View(TypedDict):
    """The store by its own account. `problem` says why it is not whole, "" when it is; `epoch` is -1 when unknown."""

    primary: str
    epoch: int
    problem: str
    says: dict[str, str]


class Survey(ABC):
    """Asks every member of `params["members"]`, each a dict with `pod` and endpoints, `primary` being the Service's.

    `scratch` is the name of our place in it: a database, a queue, the beginning of keys or of topics.
    """

    def __init__(self, params: dict[str, Any]) -> None:
        self.params = params
        self.members: list[dict[str, Any]] = params["members"]
        self.secrets: dict[str, str] = params.get("secrets", {})
        self.scratch = str(params["scratch"])
        self.ask_s = float(params.get("ask_s", ASK_S))

    def each(self, question: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
        """The answer of each member by pod, all asked at once; an exception where there is none."""

        def ask(member: dict[str, Any]) -> Any:
            try:
                with gevent.Timeout(self.ask_s):
                    return question(member)
            except (Exception, gevent.Timeout) as error:
                return error

        jobs = {str(member["pod"]): gevent.spawn(ask, member) for member in self.members}
        return {pod: job.get() for pod, job in jobs.items()}

    def silent(self, answers: dict[str, Any]) -> str:
        """Which members did not answer, and why, in words."""
        return ", ".join(
            f"{pod} does not answer ({self.describe(answer)})"
            for pod, answer in answers.items()
            if isinstance(answer, BaseException)
        )

    def describe(self, error: BaseException) -> str:
        """An error in a few words."""
        if isinstance(error, gevent.Timeout):
            return f"nothing within {self.ask_s:g} s"
        return f"{type(error).__name__}: {error}".strip()

    def log_in(self) -> None:
        """Log in to every member and see what our place needs; UsageError with what each of them said.

        Only silence is asked again, until LOG_IN_S: the first way through an API server takes its time.
        """
        answers: dict[str, Any] = {}

        def answered() -> bool:
            answers.update(self.each(self.enter))
            return not any(isinstance(answer, gevent.Timeout) for answer in answers.values())

        with suppress(DeadlineError):
            wait_for(answered, what="an answer of every member", deadline_name="log_in_s", deadline_s=LOG_IN_S)
        if problem := self.silent(answers):
            raise UsageError(
                "the target does not let us in",
                expected="every member open to the target's credentials at its port",
                seen=problem,
                do="check credentials and connect in the target's file",
            )
        self.check()

    @abstractmethod
    def enter(self, member: dict[str, Any]) -> None:
        """Log in to one member; any exception says that it cannot be done."""

    @abstractmethod
    def check(self) -> None:
        """See beforehand whether the account may make our place; UsageError when it may not."""

    @abstractmethod
    def make(self) -> None:
        """Make our place."""

    @abstractmethod
    def remove(self) -> str:
        """Remove our place with all that is in it; what is left of it, "" when it is gone. May be called again."""

    @abstractmethod
    def look(self) -> View:
        """The store as it is now; never raises for what servers or networks do."""


def refused(what: str, seen: str, do: str = "") -> UsageError:
    """The error for an account that may not do `what`."""
    return UsageError(f"the target's account may not {what}", seen=seen, do=do or "grant it, or use another account")

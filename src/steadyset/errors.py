"""Errors a user can act on: what was expected, what was seen, what to do next."""

from __future__ import annotations


class SteadysetError(Exception):
    """Base of every expected error; the CLI prints it without a traceback and exits with `exit_code`."""

    exit_code = 4

    def __init__(self, message: str, *, expected: str = "", seen: str = "", do: str = "") -> None:
        super().__init__(message)
        self.message, self.expected, self.seen, self.do = message, expected, seen, do

    def __str__(self) -> str:
        lines = [self.message]
        for label, text in (("expected", self.expected), ("seen", self.seen), ("do", self.do)):
            if text:
                lines.append(f"  {label}: {text}")
        return "\n".join(lines)


class UsageError(SteadysetError):
    """Bad input: a flag, a config value, a file, a target that does not exist. Exit code 2."""

    exit_code = 2


class InvalidError(SteadysetError):
    """The experiment proves nothing: the fault did not bite, or too little was observed. Exit code 3."""

    exit_code = 3


class InstrumentError(SteadysetError):
    """The instrument itself broke (a component died, a tool is missing). Exit code 4."""

    exit_code = 4


class DeadlineError(InstrumentError):
    """A condition was not reached within its named deadline."""

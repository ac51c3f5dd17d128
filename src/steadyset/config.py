"""Settings of a command from a file, the environment and flags: the flag wins, then the environment, then the file.

`steadyset.toml` in the working directory (or `--config FILE`) has one table for each command, with the command's own
option names as keys; in the environment they are STEADYSET_<COMMAND>_<OPTION>. What nobody knows is an error, since a
misspelt setting that is ignored would change what was tested.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click

from steadyset.errors import UsageError

Command = TypeVar("Command", bound=Callable[..., Any])
FILE = Path("steadyset.toml")
# Settings of the machine rather than of a command; see docs/ARCHITECTURE.md.
ENVIRONMENT = {
    "STEADYSET_PYTHON",
    "STEADYSET_CACHE_DIR",
    "STEADYSET_STATE_DIR",
    "STEADYSET_NO_INSTALL",
    "STEADYSET_KEEP_FAILED",
}


def config_option(command: str) -> Callable[[Command], Command]:
    """The click option `--config` of `command`: reads the file's table of that name as the defaults of all options."""

    def read(ctx: click.Context, _: click.Parameter, value: Path | None) -> Path | None:
        options = {p.name: p for p in ctx.command.params if p.name and p.name not in {"config", "help"}}
        check_environment(command, options, os.environ)
        if value is None and not FILE.is_file():
            return None
        path = value or FILE
        table = read_table(path, command, {name: getattr(p, "is_flag", False) for name, p in options.items()})
        ctx.default_map = {**(ctx.default_map or {}), **table}
        return path

    return click.option(
        "--config",
        type=click.Path(dir_okay=False, path_type=Path),
        is_eager=True,
        expose_value=False,
        callback=read,
        help=f"TOML file with a [{command}] table; ./{FILE} by default. Flags and STEADYSET_{command.upper()}_* win.",
    )


def read_table(path: Path, command: str, options: Mapping[str, bool]) -> dict[str, Any]:
    """The table `command` of a settings file, keys with underscores; `options` are the known names, True for flags.

    UsageError when the file is no TOML, has an unknown table or key, or a value of the wrong type.
    """
    try:
        content = tomllib.loads(path.read_text())
    except FileNotFoundError:
        raise UsageError(f"no settings file at {path}", do="--config FILE") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not TOML: {error}") from None
    from steadyset.cli import COMMANDS

    for name, table in content.items():
        if name not in COMMANDS or not isinstance(table, dict):
            raise UsageError(f"{path}: nothing is called {name}", expected=f"a table: {', '.join(COMMANDS)}", seen=name)
    settings = {}
    for key, written in content.get(command, {}).items():
        value = ",".join(str(item) for item in written) if isinstance(written, list) else written
        name = key.replace("-", "_")
        if name not in options:
            known = ", ".join(sorted(option.replace("_", "-") for option in options))
            raise UsageError(f"{path}: [{command}] has no setting {key}", expected=f"one of: {known}", seen=key)
        if isinstance(value, bool) is not options[name] or not isinstance(value, (bool, int, float, str)):
            wanted = "true or false" if options[name] else "a string, a number or a list"
            raise UsageError(f"{path}: [{command}] {key} is of the wrong type", expected=wanted, seen=repr(value))
        settings[name] = value
    return settings


def check_environment(command: str, options: Mapping[str, Any], environment: Mapping[str, str]) -> None:
    """UsageError for a STEADYSET_<COMMAND>_* variable that is no option of `command`."""
    prefix = f"STEADYSET_{command.upper()}_"
    for name in environment:
        if name in ENVIRONMENT or not name.startswith(prefix):
            continue
        if name.removeprefix(prefix).lower() not in options and name != f"{prefix}CONFIG":
            known = ", ".join(sorted(prefix + option.upper() for option in options))
            raise UsageError(f"environment: nothing reads {name}", expected=f"one of: {known}", seen=name)

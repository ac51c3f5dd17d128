"""Settings: the flag wins over the environment, that over the file, and nothing unknown is ignored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from steadyset.config import check_environment, config_option, read_table
from steadyset.errors import UsageError

OPTIONS = {"stack": False, "users": False, "keep": True, "storage_class": False}


@click.command("nightly", context_settings={"auto_envvar_prefix": "STEADYSET_NIGHTLY"})
@config_option("nightly")
@click.option("--stack", default="probe")
@click.option("--users", type=int, default=0)
@click.option("--keep", is_flag=True)
def command(**given: Any) -> None:
    """Print what arrived."""
    click.echo(repr(sorted(given.items())))


def run(folder: Path, *arguments: str, env: dict[str, str] | None = None, file: str = "") -> str:
    """Output of the command with a settings file in its working directory."""
    (folder / "steadyset.toml").write_text(file)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        result = CliRunner().invoke(command, arguments, env=env, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output.strip()


def test_precedence(tmp_path: Path) -> None:
    """Default, file, environment, flag: each wins over those before it."""
    file = '[nightly]\nstack = "a"\nusers = 3\nkeep = true\n'
    env = {"STEADYSET_NIGHTLY_STACK": "b"}
    assert run(tmp_path) == "[('keep', False), ('stack', 'probe'), ('users', 0)]"
    assert run(tmp_path, file=file) == "[('keep', True), ('stack', 'a'), ('users', 3)]"
    assert run(tmp_path, file=file, env=env) == "[('keep', True), ('stack', 'b'), ('users', 3)]"
    assert run(tmp_path, "--stack", "c", file=file, env=env) == "[('keep', True), ('stack', 'c'), ('users', 3)]"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[nightly]\nstak = 'probe'\n", "no setting stak"),
        ("[nighty]\nstack = 'probe'\n", "nothing is called nighty"),
        ("stack = 'probe'\n", "nothing is called stack"),
        ("[nightly]\nkeep = 'yes'\n", "keep is of the wrong type"),
        ("[nightly]\nstack = true\n", "stack is of the wrong type"),
        ("[nightly\n", "is not TOML"),
    ],
)
def test_what_is_wrong_in_the_file_is_named(tmp_path: Path, text: str, said: str) -> None:
    """A setting that is ignored would change what was tested without a word."""
    path = tmp_path / "steadyset.toml"
    path.write_text(text)
    with pytest.raises(UsageError, match=said):
        read_table(path, "nightly", OPTIONS)


def test_keys_may_be_written_as_the_options(tmp_path: Path) -> None:
    """Dashes as on the command line, and lists where the option takes commas."""
    path = tmp_path / "steadyset.toml"
    path.write_text('[nightly]\nstorage-class = "fast"\nstack = ["a", "b"]\n')
    assert read_table(path, "nightly", OPTIONS) == {"storage_class": "fast", "stack": "a,b"}


def test_unknown_environment_is_named() -> None:
    """A misspelt variable is an error; those of other programs and of the machine are not ours."""
    check_environment("nightly", OPTIONS, {"STEADYSET_NIGHTLY_STACK": "x", "STEADYSET_PYTHON": "y", "HOME": "/"})
    with pytest.raises(UsageError, match="nothing reads STEADYSET_NIGHTLY_STAK"):
        check_environment("nightly", OPTIONS, {"STEADYSET_NIGHTLY_STAK": "x"})


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """--config FILE must be there."""
    with pytest.raises(UsageError, match="no settings file"):
        read_table(tmp_path / "none.toml", "nightly", OPTIONS)

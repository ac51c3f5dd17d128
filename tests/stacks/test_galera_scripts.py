"""What a Galera member says of itself and hears of others, since who begins a cluster hangs on it."""

from __future__ import annotations

import re
import socketserver
import subprocess
import threading
from pathlib import Path

import pytest

from steadyset.fixtures import stacks

SCRIPTS = Path(stacks.__file__).parent / "galera"
UUID = "75d0a449-e939-11f1-b7ee-9ac9acfc2a01"


def said(folder: Path, path: str = "/", **files: str) -> tuple[int, str]:
    """HTTP status and last line of a member whose /tmp holds `files`, and whose server does not run."""
    for name, content in files.items():
        (folder / name).write_text(content)
    script = (SCRIPTS / "state.sh").read_text().replace("/tmp/", f"{folder}/")
    done = subprocess.run(
        ["bash", "-c", script], input=f"GET {path} HTTP/1.0\r\n\r\n", capture_output=True, text=True, check=True
    )
    lines = done.stdout.splitlines()
    return int(lines[0].split()[1]), lines[-1]


def test_a_member_says_where_it_is(tmp_path: Path) -> None:
    """Starting, waiting with what it has, in the primary component or outside of it."""
    assert said(tmp_path) == (200, "starting - -")
    assert said(tmp_path, position=f"{UUID} 7\n") == (200, f"waiting {UUID} 7")
    (tmp_path / "position").unlink()
    assert said(tmp_path, view="yes joined\n") == (200, "primary - -")
    assert said(tmp_path, view="no connected\n") == (200, "outside - -")


def test_a_position_that_has_just_gone_is_no_position(tmp_path: Path) -> None:
    """The file of a member that begins vanishes between two looks; its reader must not say half a sentence."""
    assert said(tmp_path, position="") == (200, "starting - -")


@pytest.mark.parametrize(
    ("view", "ready", "alive"), [("yes synced", 503, 503), ("yes donor", 503, 200), ("no connected", 503, 200)]
)
def test_synced_and_answering_nobody_is_neither_ready_nor_alive(
    tmp_path: Path, view: str, ready: int, alive: int
) -> None:
    """By statements, not by its own word: here no server answers. One that is not synced yet is left in peace."""
    assert said(tmp_path, "/ready", view=view)[0] == ready
    assert said(tmp_path, "/alive", view=view)[0] == alive
    assert said(tmp_path, "/", view=view)[0] == 200


class Member(socketserver.BaseRequestHandler):
    """Says `words` to whoever asks."""

    words = ""

    def handle(self) -> None:
        self.request.recv(1024)
        self.request.sendall(f"HTTP/1.0 200 OK\r\n\r\n{self.words}".encode())


@pytest.mark.parametrize(
    ("words", "heard"),
    [
        (f"waiting {UUID} 729\n", f"waiting {UUID} 729"),
        ("waiting 00000000-0000-0000-0000-000000000000 -1\n", "waiting 00000000-0000-0000-0000-000000000000 -1"),
        ("primary - -\n", "primary - -"),
        ("waiting \n", ""),  # taken for one that has nothing, it would let two members begin
        (f"waiting {UUID}\n", ""),
        ("", ""),
    ],
)
def test_half_an_answer_is_none(words: str, heard: str) -> None:
    """A member that does not say all of it counts as unheard of: then nobody begins."""
    found = re.search(r"^ask\(\) \{\n.*?^\}\n", (SCRIPTS / "start.sh").read_text(), re.M | re.S)
    assert found
    handler = type("Handler", (Member,), {"words": words})
    with socketserver.TCPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        ask = found[0].replace("4600", str(server.server_address[1]))
        done = subprocess.run(["bash", "-euc", f"{ask}\nask 127.0.0.1"], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == heard

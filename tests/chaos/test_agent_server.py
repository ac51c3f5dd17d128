"""The agent's door: who gets in, what is done once, and that verbs give the same answers through it."""

from __future__ import annotations

import ast
import json
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from steadyset.chaos import agent
from steadyset.chaos.agent import server
from steadyset.chaos.agent.node import Node
from steadyset.chaos.agent.signing import HEADER, VALID_S, Done, sign
from steadyset.chaos.agent.verbs import VERBS

TOKEN = b"a-token-of-a-test"
TIMEOUT_S = 10.0


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An agent on loopback that works this machine."""
    (tmp_path / "token").write_bytes(TOKEN + b"\n")
    monkeypatch.setattr(server, "TOKEN_FILE", tmp_path / "token")
    monkeypatch.setattr(server, "DONE", Done())
    found = server.Server(("127.0.0.1", 0), server.Handler)
    thread = threading.Thread(target=found.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{found.server_address[1]}"
    found.shutdown()
    found.server_close()


def call(url: str, verb: str, *args: Any, token: bytes = TOKEN, **replaced: Any) -> tuple[int, dict[str, Any]]:
    """One call; `replaced` are fields of its body."""
    body = {
        "instance": server.INSTANCE,
        "until_s": time.monotonic() + VALID_S,
        "nonce": str(time.monotonic_ns()),
        "verb": verb,
        "args": args,
        "kwargs": {},
    }
    return post(url, {**body, **replaced}, token)


def post(url: str, body: dict[str, Any], token: bytes) -> tuple[int, dict[str, Any]]:
    raw = json.dumps(body).encode()
    request = urllib.request.Request(f"{url}/call", raw, {HEADER: sign(token, raw)})
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def test_a_signed_call_is_done(url: str) -> None:
    """And its result is the verb's."""
    status, answer = call(url, "alive", [[1, 0]])
    assert (status, answer) == (200, {"result": []})


def test_a_call_signed_with_another_token_is_refused(url: str) -> None:
    """Whoever reaches the pod still has to know the installation's token."""
    status, answer = call(url, "alive", [], token=b"another")
    assert status == 403 and "not signed" in answer["error"]


def test_a_changed_body_is_refused(url: str) -> None:
    """The signature is over every byte."""
    raw = json.dumps({"verb": "alive"}).encode()
    request = urllib.request.Request(f"{url}/call", raw + b" ", {HEADER: sign(TOKEN, raw)})
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request, timeout=TIMEOUT_S)
    assert caught.value.code == 403


def test_a_call_is_done_once(url: str) -> None:
    """What was listened to on the way is of no use: neither again, nor late."""
    body = {
        "instance": server.INSTANCE,
        "until_s": time.monotonic() + VALID_S,
        "nonce": "n",
        "verb": "alive",
        "args": [[]],
        "kwargs": {},
    }
    assert post(url, body, TOKEN)[0] == 200
    assert post(url, body, TOKEN)[0] == 403
    assert call(url, "alive", [], until_s=time.monotonic() - 1)[0] == 403
    assert call(url, "alive", [], until_s=time.monotonic() + 1000)[0] == 403


def test_a_call_for_an_earlier_instance_is_not_done(url: str) -> None:
    """The caller asks for the new one and calls again: sockets and nonces of the old one are gone."""
    assert call(url, "alive", [], instance="earlier") == (200, {"stale": True})


def test_errors_are_answers(url: str) -> None:
    """Of a verb, of an unknown one."""
    assert "no network namespace" in call(url, "nft", "name:nowhere", "list tables")[1]["error"]
    assert "no verb rm" in call(url, "rm")[1]["error"]


def test_every_verb_takes_a_node_first() -> None:
    """And answers in JSON, as far as its annotation tells; the names are the functions' own."""
    for name, verb in VERBS.items():
        first = next(iter(verb.function.__annotations__.items()))
        assert first == ("node", "Node"), name
        assert verb.function.__name__ == name
    assert isinstance(Node(), Node)


def test_the_agent_needs_nothing_but_the_standard_library() -> None:
    """Its image has no more, and no part of steadyset besides this folder."""
    foreign = []
    for path in sorted(Path(str(agent.__file__)).parent.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            named = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.level == 0:
                named.append(node.module or "")
            foreign += [f"{path.name}: {n}" for n in named if n.split(".")[0] not in sys.stdlib_module_names]
    assert foreign == []

"""Pushing: a registry that speaks the distribution protocol receives exactly the archive's blobs."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from steadyset.errors import InstrumentError, UsageError
from steadyset.fixtures import images
from steadyset.fixtures.images.oci import open_archive
from steadyset.fixtures.images.registry import Registry


class Store(ThreadingHTTPServer):
    """A registry in memory that demands a token and verifies digests, as real ones do."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.blobs: dict[str, bytes] = {}
        self.manifests: dict[str, bytes] = {}
        self.refuse = ""


class Handler(BaseHTTPRequestHandler):
    server: Store

    def log_message(self, *_: Any) -> None:
        pass

    def _reply(self, status: int, headers: dict[str, str] | None = None, body: bytes = b"") -> None:
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _handle(self) -> None:  # noqa: PLR0911 - one return per route
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        url = urlsplit(self.path)
        if url.path == "/token":
            return self._reply(200, body=b'{"token": "secret"}')
        if self.headers.get("Authorization") != "Bearer secret":
            realm = f"http://127.0.0.1:{self.server.server_port}/token"
            return self._reply(401, {"WWW-Authenticate": f'Bearer realm="{realm}",service="r"'})
        if self.server.refuse and self.server.refuse in url.path:
            return self._reply(403, body=b"denied: read only")
        last = url.path.rpartition("/")[2]
        if self.command == "HEAD":
            return self._reply(200 if last in self.server.blobs else 404)
        if self.command == "POST":
            return self._reply(202, {"Location": f"{url.path}session?state=1"})
        if "/manifests/" in url.path:
            self.server.manifests[url.path] = body
            return self._reply(201)
        digest = parse_qs(url.query)["digest"][0]
        if digest != f"sha256:{hashlib.sha256(body).hexdigest()}":
            return self._reply(400, body=b"digest does not fit")
        self.server.blobs[digest] = body
        return self._reply(201)

    do_GET = do_HEAD = do_POST = do_PUT = _handle  # noqa: N815


@pytest.fixture
def store() -> Iterator[Store]:
    server = Store()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def test_push_delivers_every_blob_and_the_manifest(store: Store, tmp_path: Path) -> None:
    """After a push the registry holds config and layer by digest, and the manifest by tag; a second push adds none."""
    archive, prefix = images.build("probe"), f"127.0.0.1:{store.server_port}/team"
    full = images.reference("probe", prefix)
    digest = Registry(prefix, insecure=True).push(archive, full)
    with open_archive(archive) as image:
        wanted = {image.manifest["config"]["digest"], *(layer["digest"] for layer in image.manifest["layers"])}
        assert digest == image.manifest_descriptor["digest"]
        tag = full.rpartition(":")[2]
        assert {f"/v2/team/probe/manifests/{tag}": image.manifest_blob} == store.manifests
    assert wanted == set(store.blobs)
    store.refuse = "/uploads/"
    assert digest == Registry(prefix, insecure=True).push(archive, full)


def test_a_refusal_is_reported(store: Store) -> None:
    """The registry's own words reach the user."""
    store.refuse = "/uploads/"
    prefix = f"127.0.0.1:{store.server_port}/team"
    with pytest.raises(InstrumentError, match="refused the upload") as caught:
        Registry(prefix, insecure=True).push(images.build("probe"), images.reference("probe", prefix))
    assert "denied: read only" in caught.value.seen


def test_no_registry_there(store: Store) -> None:
    """Nobody listens: an error that says so, not a traceback."""
    port = store.server_port
    store.shutdown()
    store.server_close()
    with pytest.raises(InstrumentError, match="cannot be reached"):
        Registry(f"127.0.0.1:{port}", insecure=True).push(images.build("probe"), f"127.0.0.1:{port}/probe:1")
    with pytest.raises(UsageError, match="is not a registry"):
        Registry("https://host/x")

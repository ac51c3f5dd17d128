"""The DNS client of the suites, against a server that answers what RFC 1035 and 2782 say."""

from __future__ import annotations

import socket
import struct
import threading

import pytest

from steadyset.fixtures.conformance import dns


def _name(text: str) -> bytes:
    return b"".join(bytes([len(part)]) + part.encode() for part in text.split(".")) + b"\0"


def _record(kind: int, data: bytes) -> bytes:
    return struct.pack("!HHHIH", 0xC00C, kind, 1, 5, len(data)) + data  # the name points to the question's


@pytest.mark.parametrize(
    ("kind", "code", "answers", "expected"),
    [
        ("A", 0, [(1, socket.inet_aton("10.0.0.2")), (1, socket.inet_aton("10.0.0.1"))], ["10.0.0.2", "10.0.0.1"]),
        ("A", 0, [(5, _name("other.example")), (1, socket.inet_aton("10.0.0.3"))], ["10.0.0.3"]),
        ("SRV", 0, [(33, struct.pack("!HHH", 0, 50, 8080) + _name("web-0.web.ns"))], ["0 50 8080 web-0.web.ns"]),
        ("A", 3, [], {"error": "NXDOMAIN"}),
        ("A", 2, [], {"error": "SERVFAIL"}),
    ],
)
def test_query(
    monkeypatch: pytest.MonkeyPatch, kind: str, code: int, answers: list[tuple[int, bytes]], expected: object
) -> None:
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", 0))
    monkeypatch.setattr(dns, "PORT", server.getsockname()[1])

    def answer() -> None:
        asked, client = server.recvfrom(4096)
        head = asked[:2] + struct.pack("!5H", 0x8180 | code, 1, len(answers), 0, 0)
        server.sendto(head + asked[12:] + b"".join(_record(*one) for one in answers), client)

    thread = threading.Thread(target=answer)
    thread.start()
    assert dns.query("127.0.0.1", "web.ns.svc.cluster.local", kind) == expected
    thread.join()
    server.close()

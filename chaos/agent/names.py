"""A DNS query from a pod's network namespace: whether names are resolved there."""

from __future__ import annotations

import secrets
import socket
import struct

from .networks import opened, within
from .node import Node

QUERY_NAME = "kubernetes.default.svc.cluster.local"
PORT = 53


def resolves(node: Node, net: str, server: str, timeout_s: float) -> bool:
    """Whether a query sent from that namespace to `server` gets any answer. Source: RFC 1035, 4.1."""
    with opened(node, net) as fd:
        return within(fd, lambda: _ask(server, timeout_s))


def _ask(server: str, timeout_s: float) -> bool:
    number = secrets.token_bytes(2)
    name = b"".join(bytes([len(part)]) + part.encode() for part in QUERY_NAME.split(".")) + b"\0"
    query = number + struct.pack("!5H", 0x0100, 1, 0, 0, 0) + name + struct.pack("!2H", 1, 1)
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.settimeout(timeout_s)
        try:
            sock.sendto(query, (server, PORT))
            return sock.recv(512)[:2] == number
        except OSError:
            return False

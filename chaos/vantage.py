"""Where steadyset itself is: its own addresses, and those of the API server it talks to."""

from __future__ import annotations

import socket
from pathlib import Path
from urllib.parse import urlsplit

from steadyset.chaos.kube import Kube

FIB_TRIE = Path("/proc/net/fib_trie")  # the kernel's routes; "host LOCAL" follows each IPv4 address of this machine
LOOPBACK = "127."


def own_addresses() -> set[str]:
    """IPv4 addresses of this process's network, loopback aside; empty where the kernel does not say."""
    try:
        lines = FIB_TRIE.read_text().splitlines()
    except OSError:
        return set()
    found, address = set(), ""
    for line in lines:
        if "|-- " in line:
            address = line.rpartition(" ")[2]
        elif "host LOCAL" in line and not address.startswith(LOOPBACK):
            found.add(address)
    return found


def server_addresses(kube: Kube) -> set[str]:
    """IPv4 addresses of the API server that the kubeconfig names; empty where its name cannot be resolved."""
    host = urlsplit(kube.server).hostname or ""
    try:
        found = {str(info[4][0]) for info in socket.getaddrinfo(host, None, socket.AF_INET)}
    except OSError:
        return set()
    return {address for address in found if not address.startswith(LOOPBACK)}

"""What the tests of faults share: throw-away network namespaces, and an embedded cluster's file."""

from __future__ import annotations

import os
import secrets
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from steadyset.chaos.netpath import Place


@pytest.fixture
def places() -> Iterator[tuple[Place, Place]]:
    """Two network namespaces joined by a veth pair, as places."""
    if os.geteuid() != 0:
        pytest.skip("needs root to make network namespaces")
    tag = secrets.token_hex(3)
    names = [f"sst-{tag}-{side}" for side in "ab"]
    ip = ["ip", "-batch", "-"]
    lines = [f"netns add {n}" for n in names]
    lines.append(f"link add va{tag} netns {names[0]} type veth peer name vb{tag} netns {names[1]}")
    for name, link, address in zip(names, (f"va{tag}", f"vb{tag}"), ("10.99.99.1", "10.99.99.2"), strict=True):
        lines += [f"-n {name} addr add {address}/30 dev {link}", f"-n {name} link set {link} up"]
    fds: list[int] = []
    try:
        subprocess.run(ip, input="\n".join(line for line in lines if not line.startswith("-n")), text=True, check=True)
        for line in lines:
            if line.startswith("-n"):
                subprocess.run(["ip", *line.split()], check=True)
        fds = [os.open(Path("/run/netns") / n, os.O_RDONLY | os.O_CLOEXEC) for n in names]
        yield (
            Place(name="a", address="10.99.99.1", netns=fds[0]),
            Place(name="b", address="10.99.99.2", netns=fds[1]),
        )
    finally:
        for fd in fds:
            os.close(fd)
        for name in names:
            subprocess.run(["ip", "netns", "del", name], check=False)

"""A cut that the kernel ends by itself: nftables sets whose elements time out, in one network namespace.

Elements are added with a timeout and renewed by `add; delete; add` in one transaction: adding one again does not renew
it, deleting one that has expired fails, and in between no packet may pass.
"""

from __future__ import annotations

from collections.abc import Iterable

from steadyset.chaos.agent import networks
from steadyset.chaos.agent.networks import PREFIX
from steadyset.chaos.reach import Reach

PRIORITY = -300  # before connection tracking, so that established connections are cut too
LOSS_STEPS = 1000  # shares are rounded to this many steps
BURST_BYTES = 2048  # a packet must fit in, or none would pass at a low rate
IN, OUT = "cut_in", "cut_out"


def table_name(record_id: str) -> str:
    """The table of the fault with that record; the ID's last part is random."""
    return PREFIX + record_id.rpartition("-")[2]


def cut_script(table: str, sources: Iterable[str], destinations: Iterable[str], ttl_s: float, only: str = "") -> str:
    """The nft script that makes the table and drops packets from `sources` and to `destinations` (IPv4 addresses).

    `only` drops some of them: `losing(…)`, `exceeding(…)`; "" drops them all.
    """
    lines = [f"add table inet {table}"]
    for name in (IN, OUT):
        lines.append(f"add set inet {table} {name} {{ type ipv4_addr; flags timeout; }}")
    for chain, hook, match in (
        ("arriving", "prerouting", f"ip saddr @{IN}"),
        ("leaving", "output", f"ip daddr @{OUT}"),
    ):
        lines.append(
            f"add chain inet {table} {chain} {{ type filter hook {hook} priority {PRIORITY}; policy accept; }}"
        )
        lines.append(f"add rule inet {table} {chain} {match} {only}counter drop")
    return "\n".join(lines) + "\n" + renew_script(table, sources, destinations, ttl_s)


def losing(share: float) -> str:
    """Only that share of the packets is dropped, at random."""
    return f"numgen random mod {LOSS_STEPS} < {round(share * LOSS_STEPS)} "


def exceeding(bytes_s: int) -> str:
    """Only what goes beyond that many bytes per second is dropped. Besides, a second's worth may pass at once."""
    return f"limit rate over {bytes_s} bytes/second burst {BURST_BYTES} bytes "


def renew_script(table: str, sources: Iterable[str], destinations: Iterable[str], ttl_s: float) -> str:
    """The nft script that (re)starts the timeout of every element; it fails when the table is gone."""
    timeout = f"timeout {round(ttl_s * 1000)}ms"
    lines = []
    for name, addresses in ((IN, sources), (OUT, destinations)):
        for address in sorted(addresses):
            lines.append(f"add element inet {table} {name} {{ {address} {timeout} }}")
            lines.append(f"delete element inet {table} {name} {{ {address} }}")
            lines.append(f"add element inet {table} {name} {{ {address} {timeout} }}")
    return "\n".join(lines) + "\n"


def delete_script(table: str) -> str:
    """The nft script that removes the table, whether it is there or not."""
    return f"add table inet {table}\ndelete table inet {table}\n"


def has_elements(reach: Reach, net: str, table: str) -> bool:
    """Whether the table cuts anything at this moment."""
    return "elements = {" in reach.call(networks.nft, net, f"list table inet {table}\n")

"""steadyset.chaos: leased, proven and undone faults as a Chaos Toolkit extension.

Every fault is one module below `steadyset.chaos.faults` with the Chaos Toolkit functions `inject`, `prove_bite`,
`heal` and `prove_heal`; `steadyset.chaos.hold.hold` keeps a fault in place between them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from steadyset import __version__

if TYPE_CHECKING:
    from chaoslib.types import Discovery

__all__ = ["__version__", "discover"]


def discover(discover_system: bool = True) -> Discovery:
    """What `chaos discover` prints: every action and probe of every fault, with its docstring and arguments.

    The system itself is not searched: targets are named in the experiment (`discover_system` is accepted and ignored).
    """
    from chaoslib.discovery.discover import discover_activities, initialize_discovery_result

    from steadyset.chaos.faults import FAULTS

    found: Any = initialize_discovery_result("steadyset.chaos", __version__, "kubernetes")
    for fault in FAULTS:
        for activity in discover_activities(fault.module, "action"):
            activity["type"] = "probe" if activity["name"].startswith("prove_") else "action"
            found["activities"].append(activity)
    found["activities"].extend(discover_activities("steadyset.chaos.hold", "action"))
    return found

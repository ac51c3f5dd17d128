"""steadyset: chaos and conformance suite for stateful workloads on Kubernetes."""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"


def discover(discover_system: bool = True) -> Any:
    """What `chaos discover --no-install steadyset` prints: the faults as Chaos Toolkit activities.

    Chaos Toolkit looks for this function in the package named like the distribution.
    """
    return importlib.import_module("steadyset.chaos").discover(discover_system)

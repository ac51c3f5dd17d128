"""A Chaos Toolkit control: get ready for the cluster before the experiment's clocks start.

Loading the Kubernetes client takes most of a second and a handshake with each agent some milliseconds, which is longer
than a fault may take from its call until it bites; looking for garbage among all that was loaded takes 70 ms, so it is
left out of that from then on. Whatever does not work is for the fault to report.
"""

from __future__ import annotations

import gc
from contextlib import suppress
from functools import partial
from typing import Any

from steadyset.chaos.act import cluster_named
from steadyset.chaos.agent import networks
from steadyset.chaos.kube import Kube
from steadyset.chaos.reach import all_reaches, at_once
from steadyset.errors import SteadysetError

__all__ = ["before_experiment_control"]

CONNECTIONS = 4  # that a fault needs at the same time


def before_experiment_control(context: dict[str, Any], cluster: str = "") -> None:
    """Open connections to the cluster's API server, and to the agents where there are any. Only reads."""
    with suppress(SteadysetError):
        info = cluster_named(cluster)
        kube = Kube(info)
        at_once([partial(kube.request, "GET", "/version")] * CONNECTIONS)
        at_once([partial(reach.call, networks.net_address, "pid:1") for reach in all_reaches(info) if reach.remote])
    gc.collect()
    gc.freeze()

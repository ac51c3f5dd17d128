"""Rules over the trace. To add one: its module here, its class in INVARIANTS."""

from steadyset.invariants.at_most_one import AtMostOnePerIdentity
from steadyset.invariants.base import Findings, Invariant
from steadyset.invariants.endpoints_ready import EndpointsReady
from steadyset.invariants.ordered_recovery import OrderedRecovery
from steadyset.invariants.pdb_respected import PdbRespected
from steadyset.invariants.pvc_retention import PvcRetention
from steadyset.invariants.rwo_single_node import RwoSingleNode
from steadyset.invariants.stable_identity import StableIdentity

INVARIANTS: tuple[type[Invariant], ...] = (
    StableIdentity,
    AtMostOnePerIdentity,
    PvcRetention,
    OrderedRecovery,
    RwoSingleNode,
    PdbRespected,
    EndpointsReady,
)

__all__ = [
    "INVARIANTS",
    "AtMostOnePerIdentity",
    "EndpointsReady",
    "Findings",
    "Invariant",
    "OrderedRecovery",
    "PdbRespected",
    "PvcRetention",
    "RwoSingleNode",
    "StableIdentity",
]

"""Rules over the trace. To add one: its module here, its class in INVARIANTS."""

from steadyset.invariants.at_most_one import AtMostOnePerIdentity
from steadyset.invariants.base import Findings, Invariant
from steadyset.invariants.endpoints_ready import EndpointsReady
from steadyset.invariants.lease_belief import LeaseBelief
from steadyset.invariants.ordered_recovery import OrderedRecovery
from steadyset.invariants.pdb_respected import PdbRespected
from steadyset.invariants.pvc_retention import PvcRetention
from steadyset.invariants.rolling_update import RollingUpdate
from steadyset.invariants.rwo_single_node import RwoSingleNode
from steadyset.invariants.scaling import MinReadySeconds, ParallelBurst, RetentionPolicy, ScaleDownHalts
from steadyset.invariants.stable_identity import StableIdentity

INVARIANTS: tuple[type[Invariant], ...] = (
    StableIdentity,
    AtMostOnePerIdentity,
    PvcRetention,
    OrderedRecovery,
    RwoSingleNode,
    PdbRespected,
    EndpointsReady,
    RollingUpdate,
    ScaleDownHalts,
    ParallelBurst,
    MinReadySeconds,
    RetentionPolicy,
    LeaseBelief,
)

__all__ = [
    "INVARIANTS",
    "AtMostOnePerIdentity",
    "EndpointsReady",
    "Findings",
    "Invariant",
    "LeaseBelief",
    "MinReadySeconds",
    "OrderedRecovery",
    "ParallelBurst",
    "PdbRespected",
    "PvcRetention",
    "RetentionPolicy",
    "RollingUpdate",
    "RwoSingleNode",
    "ScaleDownHalts",
    "StableIdentity",
]

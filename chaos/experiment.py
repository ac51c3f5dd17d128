"""Compile one fault into a Chaos Toolkit experiment: inject, prove the bite, hold, heal, prove the heal."""

from __future__ import annotations

from typing import Any

from steadyset.chaos.fault import Fault

Json = dict[str, Any]


def compile_experiment(fault: Fault, cluster: str, namespace: str, target: str, *, params: Json, hold: Json) -> Json:
    """The experiment as JSON. `params` are further arguments of `inject`, `hold` those of `hold.hold`.

    The heal is a rollback too, under strategy `always`: Chaos Toolkit's default does not on SIGTERM or SIGINT.
    """
    base: Json = {"cluster": cluster, "target": target, "namespace": namespace}
    heal = _activity("action", "heal", fault.module, "heal", base)
    return {
        "version": "1.0.0",
        "title": f"{fault.name} on {namespace}/{target}",
        "description": fault.summary,
        "tags": ["steadyset", fault.name, fault.lease.value],
        "runtime": {"rollbacks": {"strategy": "always"}},
        "method": [
            _activity("action", "inject", fault.module, "inject", {**base, **params}),
            _activity("probe", "prove-bite", fault.module, "prove_bite", base),
            _activity("action", "hold", "steadyset.chaos.hold", "hold", hold),
            heal,
            _activity("probe", "prove-heal", fault.module, "prove_heal", base),
        ],
        "rollbacks": [{**heal, "name": "heal-if-not-yet"}],
    }


def _activity(kind: str, name: str, module: str, function: str, arguments: Json) -> Json:
    provider = {"type": "python", "module": module, "func": function, "arguments": arguments}
    return {"type": kind, "name": name, "provider": provider}

"""Compile a fault into a Chaos Toolkit experiment: inject, prove the bite, hold, heal, prove the heal.

`python -m steadyset.chaos.experiment` writes chaos/experiments/<fault>.yaml for every fault of the catalogue.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from steadyset.chaos.fault import Fault

Json = dict[str, Any]
FOLDER = Path(__file__).parent / "experiments"
HEADER = """\
# chaos run chaos/experiments/{name}.yaml
#   STEADYSET_CLUSTER  the cluster file beside the kubeconfig (or KUBECONFIG: a cluster that is not ours)
#   NAMESPACE, TARGET  what to aim at{node}
#   HOLD_SECONDS       how long the fault stays
# Further arguments of `inject` are listed by: chaos discover --no-install steadyset
"""


def compile_experiment(fault: Fault, cluster: str, namespace: str, target: str, *, params: Json, hold: Json) -> Json:
    """The experiment as JSON. `params` are further arguments of `inject`, `hold` those of `hold.hold`.

    The heal is a rollback too, under strategy `always`: Chaos Toolkit's default does not on SIGTERM or SIGINT.
    """
    base: Json = {"cluster": cluster, "target": target, "namespace": namespace}
    warm = {"type": "python", "module": "steadyset.chaos.warm", "arguments": {"cluster": cluster}}
    heal = _activity("action", "heal", fault.module, "heal", base)
    return {
        "version": "1.0.0",
        "title": f"{fault.name} on {namespace}/{target}",
        "description": fault.summary,
        "tags": ["steadyset", fault.name, fault.lease.value],
        "runtime": {"rollbacks": {"strategy": "always"}},
        "controls": [{"name": "warm", "provider": warm}],
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
    provider = {"type": "python", "module": module, "func": function, "arguments": dict(arguments)}
    return {"type": kind, "name": name, "provider": provider}


def experiment_file(fault: Fault) -> str:
    """The text of the fault's plain experiment, which takes its target from the environment."""
    body = compile_experiment(
        fault, "${cluster}", "${namespace}", "${target}", params={}, hold={"seconds": "${seconds}"}
    )
    body["title"] = fault.summary
    body["configuration"] = {
        "cluster": {"type": "env", "key": "STEADYSET_CLUSTER", "default": ""},
        "namespace": {"type": "env", "key": "NAMESPACE", "default": "default"},
        "target": {"type": "env", "key": "TARGET"},
        "seconds": {"type": "env", "key": "HOLD_SECONDS", "default": "30", "env_var_type": "float"},
    }
    node = " (a pod, or node/NAME)" if fault.target == "node" else ""
    return HEADER.format(name=fault.name, node=node) + yaml.safe_dump(body, sort_keys=False, width=120)


def main() -> None:
    """Write the experiment of every fault, and remove those of faults that are gone."""
    from steadyset.chaos.faults import FAULTS

    FOLDER.mkdir(exist_ok=True)
    for path in FOLDER.glob("*.yaml"):
        path.unlink()
    for fault in FAULTS:
        (FOLDER / f"{fault.name}.yaml").write_text(experiment_file(fault))


if __name__ == "__main__":
    main()

"""Each stack's protocol as a target: the reference stack, deployed as somebody else's, and found by its file alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from steadyset.clusterinfo import ClusterInfo
from steadyset.fixtures.preload import preload
from steadyset.fixtures.stacks import make_stack

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="an embedded cluster needs root"),
]
FILES: dict[str, dict[str, Any]] = {
    "postgresql": {
        "selector": "app=pg",
        "connect": {"service": "pg-primary"},
        "credentials": {"secret": "pg", "user": "postgres", "password_key": "superuser"},
    },
    "galera": {
        "selector": "app=galera",
        "connect": {"service": "galera-ready"},
        "credentials": {"secret": "galera", "user": "steadyset"},
    },
    "rabbitmq": {
        "selector": "app=rabbitmq",
        "connect": {"service": "rabbitmq-any"},
        "credentials": {"secret": "rabbitmq", "user": "steadyset"},
    },
    "kafka": {"selector": "app=kafka", "connect": {"service": "kafka-any"}},
    "redis": {"selector": "app=redis", "connect": {"group": "primary"}, "credentials": {"secret": "redis"}},
}
# What asks most of a target's own account of who leads: successors, and members that come back from having led.
FAULTS = "kill-primary, isolate-primary, halves"
LIST: dict[str, Callable[[Any, str], str]] = {
    "postgresql": lambda stack, pod: stack.sql(pod, "SELECT datname FROM pg_database"),
    "galera": lambda stack, pod: stack.sql(pod, "SHOW DATABASES"),
    "rabbitmq": lambda stack, pod: stack.workspace.execute(pod, ["rabbitmqctl", "-q", "list_queues", "name"]),
    "kafka": lambda stack, pod: "\n".join(topic for topic, _ in stack.view(pod).leaders),
    "redis": lambda stack, pod: stack.workspace.execute(pod, ["redis-cli", "--no-auth-warning", "keys", "*"], "redis"),
}


@pytest.mark.parametrize("name", FILES)
def test_each_stack_as_a_target(name: str, cluster: ClusterInfo, tmp_path: Path) -> None:
    """PASS with its primary killed and cut off; what was there is there with the same UIDs, and nothing besides."""
    stack = make_stack(name)
    preload(cluster, stack.own_images(), print)
    namespace = f"target-{name}"
    stack.deploy(cluster, namespace)
    try:
        before = {line for pod in stack.members() for line in LIST[name](stack, pod).split()}
        target = tmp_path / "target.yaml"
        target.write_text(yaml.safe_dump({"stack": name, "namespace": namespace, "faults": FAULTS, **FILES[name]}))
        argv = [sys.executable, "-m", "steadyset", "nightly", "--target", str(target), "--json"]
        argv += ["--cluster-name", cluster.name, "--runs", str(tmp_path / "runs")]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-4000:]
        scenarios = json.loads(done.stdout)["scenarios"]
        assert len(scenarios) == len(FAULTS.split(","))
        assert all({"stable-identity", "pvc-retention"} <= set(scenario["judgements"]) for scenario in scenarios)
        stack.wait_for_steady_state(stack.deadlines.recovery_s)
        after = {line for pod in stack.members() for line in LIST[name](stack, pod).split()}
        assert after - before == set()
    finally:
        stack.undeploy()

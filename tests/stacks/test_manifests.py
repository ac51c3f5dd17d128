"""Manifests as the API server would get them: every variant renders, and restricted Pod Security would admit it."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from steadyset.clusterinfo import ClusterInfo
from steadyset.errors import UsageError
from steadyset.fixtures import images, loadjob
from steadyset.fixtures.stacks import STACKS, Stack, make_stack, stack_class
from steadyset.fixtures.stacks.base import manifests
from steadyset.fixtures.stacks.kafka import Kafka
from steadyset.fixtures.stacks.workspace import Workspace
from steadyset.judge import rules

CASES = [(stack, variant) for stack in STACKS for variant in stack.variants]


def info(**changes: Any) -> ClusterInfo:
    return ClusterInfo(name="x", provider="kubeconfig", kubeconfig="", **changes)


def objects(stack: type[Stack], variant: str, cluster: ClusterInfo) -> list[dict[str, Any]]:
    made = stack()
    made.given_images = {name: f"registry.example/{name}:1" for name in made.lacking_images()}
    return [found for text in manifests(made, cluster, "space", variant) for found in yaml.safe_load_all(text) if found]


def of_kind(found: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [item for item in found if item["kind"] == kind]


@pytest.mark.parametrize(("stack", "variant"), CASES, ids=lambda v: getattr(v, "name", v) or "correct")
def test_restricted_pod_security_admits_it(stack: type[Stack], variant: str) -> None:
    """Pod Security "restricted": no root, no escalation, no capability, seccomp, plain volumes."""
    found = objects(stack, variant, info())
    for owner in [*of_kind(found, "StatefulSet"), *of_kind(found, "Deployment")]:
        restricted(owner["spec"]["template"]["spec"])


def test_the_loads_workers_are_restricted_too() -> None:
    """A Job of as many pods, and one Secret of parameters that come back as they were given, whatever is in them."""
    params = {"secrets": {"password": 'a"b: {c}\n#'}, "tag": "x"}
    secret, job = yaml.safe_load_all(loadjob.manifest(info(pull_secret="ns/pull"), 3, params))
    assert json.loads(secret["stringData"]["params.json"]) == {**params, "shards": 3}
    assert (job["spec"]["completionMode"], job["spec"]["parallelism"], job["spec"]["completions"]) == ("Indexed", 3, 3)
    pod = job["spec"]["template"]["spec"]
    restricted(pod)
    assert pod["automountServiceAccountToken"] is False
    assert pod["imagePullSecrets"] == [{"name": "pull"}]
    assert pod["containers"][0]["image"] == images.reference("load")


def restricted(spec: dict[str, Any]) -> None:
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["runAsUser"] > 0
    assert spec["securityContext"]["seccompProfile"]["type"] == "RuntimeDefault"
    for container in [*spec.get("initContainers", []), *spec["containers"]]:
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
        assert container["securityContext"]["capabilities"]["drop"] == ["ALL"]
        assert "add" not in container["securityContext"]["capabilities"]
    allowed = {
        "configMap",
        "csi",
        "downwardAPI",
        "emptyDir",
        "ephemeral",
        "persistentVolumeClaim",
        "projected",
        "secret",
    }
    kinds = {key for volume in spec.get("volumes", []) for key in volume if key != "name"}
    assert kinds <= allowed
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec)


@pytest.mark.parametrize(("stack", "variant"), CASES, ids=lambda v: getattr(v, "name", v) or "correct")
def test_what_a_stateful_stack_needs_is_there(stack: type[Stack], variant: str) -> None:
    """A headless Service for the names, a budget that lets one member go, a claim per member, unless it is the lie."""
    found = objects(stack, variant, info(storage_class="fast"))
    lie = variant if stack.name == "probe" else ""
    (statefulset,) = of_kind(found, "StatefulSet")
    headless = [s for s in of_kind(found, "Service") if s["spec"].get("clusterIP") == "None"]
    names = [service["metadata"]["name"] for service in headless]
    assert names == ([] if lie == "no-service" else [statefulset["spec"]["serviceName"]])
    assert all(service["spec"]["publishNotReadyAddresses"] is True for service in headless)
    assert [b["spec"]["maxUnavailable"] for b in of_kind(found, "PodDisruptionBudget")] == [1]
    claims = statefulset["spec"].get("volumeClaimTemplates", [])
    assert len(claims) == (0 if lie == "emptydir" else 1)
    assert {claim["spec"]["storageClassName"] for claim in claims} <= {"fast"}
    assert statefulset["spec"]["podManagementPolicy"] == ("Parallel" if lie == "parallel" else stack.pod_management)


def test_images_come_from_the_clusters_registry() -> None:
    """With a registry and a pull secret, pods use both; without, the preloaded name and no secret."""
    cluster = info(image_prefix="host:5000/team", pull_secret="kube-system/regcred")
    (statefulset,) = of_kind(objects(stack_class("probe"), "", cluster), "StatefulSet")
    spec = statefulset["spec"]["template"]["spec"]
    assert spec["imagePullSecrets"] == [{"name": "regcred"}]
    assert spec["containers"][0]["image"].startswith("host:5000/team/probe:")
    (plain,) = of_kind(objects(stack_class("probe"), "", info()), "StatefulSet")
    assert "imagePullSecrets" not in plain["spec"]["template"]["spec"]
    assert plain["spec"]["template"]["spec"]["containers"][0]["image"].startswith("steadyset.local/probe:")


def patroni(variant: str) -> dict[str, Any]:
    found = objects(stack_class("postgresql"), variant, info())
    (config,) = [c for c in of_kind(found, "ConfigMap") if "patroni.yml" in c["data"]]
    parsed: dict[str, Any] = yaml.safe_load(config["data"]["patroni.yml"])
    return parsed


def test_patroni_waits_for_its_standby_unless_told_not_to() -> None:
    """The correct configuration is strict; each variant breaks exactly what its name says."""
    settings = {variant: patroni(variant)["bootstrap"]["dcs"] for variant in stack_class("postgresql").variants}
    modes = {v: (s["synchronous_mode"], s["synchronous_mode_strict"]) for v, s in settings.items()}
    assert modes == {
        "": (True, True),
        "async": (False, False),
        "paused-promote": (True, False),
        "replica-reads": (True, True),
    }
    correct = settings[""]
    assert correct["ttl"] >= correct["loop_wait"] + 2 * correct["retry_timeout"], "Patroni's rule for its timings"
    delayed = {v for v, s in settings.items() if "recovery_conf" in s["postgresql"]}
    assert delayed == {"replica-reads"}
    assert {v for v, s in settings.items() if not s["postgresql"]["use_pg_rewind"]} == {"paused-promote"}


def test_passwords_are_new_each_time() -> None:
    """No deployment shares its passwords with another, and none is in the repository."""
    secrets = [of_kind(objects(stack_class("postgresql"), "", info()), "Secret")[0]["stringData"] for _ in range(2)]
    values = [value for secret in secrets for value in secret.values()]
    assert len(set(values)) == 4
    assert min(map(len, values)) >= 32


@pytest.mark.parametrize("stack", STACKS, ids=lambda s: s.name)
def test_claims_are_rules_that_exist(stack: type[Stack]) -> None:
    """Every claim names a registered rule and only parameters it has."""
    known = rules()
    for plan in stack().claims("history/x"):
        assert plan.rule in known
        assert set(plan.params) <= set(known[plan.rule].__dataclass_fields__), plan.rule


def test_unknown_names_are_refused() -> None:
    """A stack or a variant that does not exist is named with those that do, before anything is created."""
    with pytest.raises(UsageError, match="no stack is called nope") as caught:
        stack_class("nope")
    assert "probe" in caught.value.expected
    with pytest.raises(UsageError, match="has no variant nope"):
        stack_class("probe")().deploy(info(), "space", "nope")
    with pytest.raises(UsageError, match="is not deployed"):
        _ = stack_class("probe")().namespace


def test_an_image_from_elsewhere() -> None:
    """Stolon's image cannot be had here: it is given by name, for that stack's images alone, and used as given."""
    assert make_stack("stolon").lacking_images() == ["stolon"]
    given = make_stack("stolon", ["stolon=registry.example/stolon:0.17"])
    assert (given.lacking_images(), given.own_images()) == ([], [])
    found = [o for text in manifests(given, info(), "space", "") for o in yaml.safe_load_all(text)]
    pods = [o["spec"]["template"]["spec"] for o in found if o["kind"] in ("StatefulSet", "Deployment")]
    assert [c["image"] for pod in pods for c in pod["containers"]] == ["registry.example/stolon:0.17"] * 3
    assert make_stack("probe", ["probe=registry.example/probe:2"]).own_images() == []
    for wrong in ("stolon", "stolon=", "postgres=x"):
        with pytest.raises(UsageError, match=f"--image {wrong}"):
            make_stack("stolon", [wrong])


def test_galera_variants_break_what_they_say() -> None:
    """The correct configuration flushes, keeps to the primary component and lets the first committer win."""
    settings = {}
    for variant in stack_class("galera").variants:
        (config,) = of_kind(objects(stack_class("galera"), variant, info()), "ConfigMap")
        lines = [line.partition(" = ") for line in config["data"]["my.cnf"].splitlines()]
        found = {name.strip(): value for name, _, value in lines}
        settings[variant] = (
            found["innodb_flush_log_at_trx_commit"],
            found["innodb_snapshot_isolation"],
            "pc.ignore_sb=TRUE" in found["wsrep_provider_options"],
        )
    assert settings == {
        "": ("1", "ON", False),
        "no-flush": ("0", "ON", False),
        "ignore-sb": ("1", "ON", True),
        "repeatable-read": ("1", "OFF", False),
    }


def test_kafka_waits_for_two_unless_told_not_to() -> None:
    """The correct configuration acknowledges with all replicas in sync, and only those may lead."""
    for variant, unclean, acks in (("", "false", -1), ("unclean", "true", 1)):
        (config,) = of_kind(objects(stack_class("kafka"), variant, info()), "ConfigMap")
        properties = dict(
            line.split("=", 1) for line in config["data"]["server.properties"].splitlines() if line[:1] not in ("#", "")
        )
        assert properties["unclean.leader.election.enable"] == unclean
        assert properties["min.insync.replicas"] == "2"
        stack = Kafka()
        stack.variant, stack._workspace = variant, Workspace.__new__(Workspace)
        stack._workspace.name = "space"
        assert stack.load_params()["acks"] == acks


def configuration(stack: str, variant: str, kind: str, key: str) -> list[str]:
    (found,) = of_kind(objects(stack_class(stack), variant, info()), kind)
    text: str = (found.get("data") or found["stringData"])[key]
    return [line.strip() for line in text.splitlines() if line.strip() and not line.strip().startswith("#")]


def test_a_redis_primary_needs_a_majority_unless_told_not_to() -> None:
    """The variant differs in that one line; sentinels wait longer than a cut-off primary goes on acknowledging."""
    correct, broken = (configuration("redis", v, "ConfigMap", "redis.conf") for v in ("", "no-min-replicas"))
    assert set(correct) ^ set(broken) == {"min-replicas-to-write 2", "min-replicas-to-write 0"}
    sentinel = configuration("redis", "", "ConfigMap", "sentinel.conf")
    (lag_s,) = (int(line.split()[1]) for line in correct if line.startswith("min-replicas-max-lag"))
    (down_ms,) = (int(line.split()[-1]) for line in sentinel if "down-after-milliseconds" in line)
    assert down_ms >= 1000 * (lag_s + 2)
    assert any(line.startswith("sentinel monitor primary redis-0.DOMAIN 6379 3") for line in sentinel)


def test_rabbitmq_ignores_partitions_only_where_it_says() -> None:
    """The variant is another release with mirrors of classic queues; nobody's password or cookie is in two runs."""
    lines = {v: configuration("rabbitmq", v, "Secret", "rabbitmq.conf") for v in ("", "ignore-partitions")}
    assert "cluster_partition_handling = pause_minority" in lines[""]
    assert "cluster_partition_handling = ignore" in lines["ignore-partitions"]
    images = {}
    for variant in lines:
        (statefulset,) = of_kind(objects(stack_class("rabbitmq"), variant, info()), "StatefulSet")
        images[variant] = statefulset["spec"]["template"]["spec"]["containers"][0]["image"].rpartition(":")[0]
        assert stack_class("rabbitmq")().images_of(variant) == (images[variant].rpartition("/")[2],)
    secrets = [of_kind(objects(stack_class("rabbitmq"), "", info()), "Secret")[0]["stringData"] for _ in range(2)]
    assert not {secrets[0][n] for n in ("cookie", "password")} & {secrets[1][n] for n in ("cookie", "password")}

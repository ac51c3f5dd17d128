"""Clusters refuse what cannot be, with what to do, and leave nothing half-done."""

from __future__ import annotations

import os
import shutil
import socket

import pytest

from steadyset.errors import UsageError
from steadyset.fixtures.clusters.embedded import cluster as clusters
from steadyset.fixtures.clusters.embedded import components, controlplane, leftovers
from steadyset.fixtures.clusters.embedded.paths import Layout, check_name

NAME = "badinput"


@pytest.mark.parametrize("name", ["", "Upper", "a" * 17, "1st", "a/b", "-x"])
def test_cluster_names_that_cannot_be_link_names_are_refused(name):
    """Names become folders, links and cgroups."""
    with pytest.raises(UsageError, match="cannot be used"):
        check_name(name)


@pytest.mark.parametrize("version", ["latest", "1.35", "1.35.x", "2.0.0"])
def test_versions_that_are_none_are_refused(version):
    """Only published x.y.z of Kubernetes 1 can be built."""
    with pytest.raises(UsageError, match="no Kubernetes version"):
        components.check_version(version)


def test_two_slots_share_no_address():
    """Clusters side by side must not overlap in any range."""
    one, two = Layout("a", 0), Layout("b", 1)
    for attribute in ("bridge", "bridge_address", "machine_cidr", "pod_cidr", "service_cidr", "client_netns"):
        assert getattr(one, attribute) != getattr(two, attribute)


def test_disk_without_room_is_refused_before_compiling(monkeypatch, tmp_path):
    """A full disk is named with what is needed and what was seen."""
    monkeypatch.setenv("STEADYSET_CACHE_DIR", str(tmp_path))
    usage = shutil.disk_usage(tmp_path)._replace(free=1 << 30)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(UsageError, match=r"not enough disk space[\s\S]*seen: 1.0 GiB"):
        components.kube("1.35.4")
    assert [p.name for p in (tmp_path / "components").iterdir() if not p.name.endswith(".lock")] == []


def test_a_cluster_that_exists_is_taken_as_it_is_unless_something_else_was_given():
    """`nightly` runs on whatever is up; a version or profile that was asked for must be the cluster's."""
    spec = clusters.Spec(
        name="x", slot=1, version="1.36.3", profile="upstream", nodes=[1, 2], store="", coredns="coredns"
    )
    clusters._check_same(spec, 0, "", "")
    clusters._check_same(spec, 2, "1.36.3", "")
    with pytest.raises(UsageError, match="exists and differs") as caught:
        clusters._check_same(spec, 0, "1.35.4", "")
    assert "1.35.4" in caught.value.expected
    assert "1.36.3" in caught.value.seen


@pytest.mark.cluster
@pytest.mark.skipif(os.geteuid() != 0, reason="an embedded cluster needs root")
def test_occupied_port_is_named_and_nothing_is_left(monkeypatch):
    """Somebody listens on every address at a control-plane port: `up` says so and cleans up."""
    clusters.down(NAME)
    others = [c.layout for c in clusters.Cluster.all()]
    before = leftovers.without(leftovers.snapshot(), others)
    with socket.socket() as squatter:
        squatter.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        squatter.bind(("0.0.0.0", 0))  # the real port may be another cluster's, on its own address
        squatter.listen()
        port = squatter.getsockname()[1]
        monkeypatch.setitem(controlplane.PORTS, "kube-scheduler", port)
        with pytest.raises(UsageError, match=f"port {port} for kube-scheduler is occupied"):
            clusters.ensure_up(name=NAME, nodes=1)
    assert leftovers.without(leftovers.snapshot(), others) - before == set()


@pytest.mark.cluster
@pytest.mark.skipif(os.geteuid() != 0, reason="an embedded cluster needs root")
def test_unknown_cluster_is_refused_with_the_known_ones():
    """A typo in --name lists what there is."""
    with pytest.raises(UsageError, match="there is no cluster nonesuch"):
        clusters.Cluster.get("nonesuch")

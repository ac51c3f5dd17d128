"""What every layer may know of a cluster: a small JSON file that the provider writes and the others only read.

It keeps `chaos` and `load` independent of the providers in `fixtures.clusters`: to act on a node they use
`node_command`, to run a process where pods' addresses are reachable they use `client_command`.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from steadyset.errors import UsageError

# What is done inside a node's kernel on behalf of its pods: from here on embedded clusters, by the agent elsewhere.
AGENT_CAPABILITIES = (
    "pod-network",  # enter a pod's network namespace: cut, lose and probe packets
    "pod-processes",  # signal and freeze a pod's processes
    "pod-volumes",  # write to, fill and shut down a pod's mounted volume
)
CAPABILITIES = (
    "node-exec",  # run a command in a node's namespaces
    "node-power",
    "node-freeze",
    "node-network",
    "volume-attach",  # real attach/detach with VolumeAttachment objects
    "volume-expand",  # claims of an expandable class grow (steadyset-xfs under load, ext4 when the pod is replaced)
    "node-evidence",  # containers and mounts can be watched on the nodes
    "client-namespace",
    "daemons",  # daemons of nodes and control plane can be stopped and started
    "disk-throttle",  # the kernel can slow a disk down for one container
    "netem",  # the kernel can delay, duplicate and corrupt packets
    *AGENT_CAPABILITIES,
)


class NodeInfo(msgspec.Struct, kw_only=True):
    """One embedded node. `pid` is its PID-namespace init as seen by the host (0 when powered off)."""

    name: str
    address: str
    pid: int = 0
    netns: str = ""  # name below /run/netns
    root: str = ""  # host folder that holds the node's private directories


class ClusterInfo(msgspec.Struct, kw_only=True):
    """A cluster as the layers above the provider see it. Paths are absolute; addresses are IPv4."""

    name: str
    provider: str  # "embedded" or "kubeconfig"
    kubeconfig: str
    context: str = ""
    uid: str = ""  # UID of the kube-system namespace
    version: str = ""
    profile: str = ""
    capabilities: list[str] = []
    storage_class: str = ""
    api_server: str = ""  # host:port
    nodes: list[NodeInfo] = []
    client_netns: str = ""
    client_resolv: str = ""  # resolv.conf that names the cluster's DNS
    bin_dir: str = ""  # folder with kubectl, ctr, …
    image_prefix: str = ""  # registry prefix for our images; "" where they are preloaded
    pull_secret: str = ""
    confirmed: str = ""  # the UID that the user confirmed, where the cluster is not ours
    differs: dict[str, str] = {}  # flags that differ from upstream's defaults
    path: str = ""  # where this file lies

    def can(self, capability: str) -> bool:
        """Whether the provider declared `capability` (one of CAPABILITIES)."""
        return capability in self.capabilities

    def node(self, name: str) -> NodeInfo:
        """The node called `name`; UsageError when there is none."""
        for node in self.nodes:
            if node.name == name:
                return node
        known = ", ".join(n.name for n in self.nodes) or "none"
        raise UsageError(f"cluster {self.name} has no node {name}", expected=f"one of: {known}", seen=name)

    def node_command(self, node: str, argv: list[str], *, enter: str = "mnpui") -> list[str]:
        """argv that runs `argv` inside the node's namespaces (m mount, n net, p pid, u uts, i ipc)."""
        info = self.node(node)
        if not self.can("node-exec"):
            raise UsageError(
                f"cluster {self.name} ({self.provider}) gives no access to its nodes",
                expected="capability node-exec",
                do="use the embedded cluster, or select faults that need only the API",
            )
        if not info.pid:
            raise UsageError(f"node {node} is powered off", do=f"steadyset cluster node on {node}")
        return ["nsenter", "-t", str(info.pid), *(f"-{flag}" for flag in enter), "--", *argv]

    def client_command(self, argv: list[str]) -> list[str]:
        """argv that runs `argv` where load runs: the client namespace, or right here on foreign clusters."""
        if not self.client_netns:
            return list(argv)
        bind = f'mount --bind {self.client_resolv} /etc/resolv.conf && exec "$@"'
        return [
            "nsenter",
            f"--net=/run/netns/{self.client_netns}",
            "--",
            "unshare",
            "-m",
            "sh",
            "-c",
            bind,
            "sh",
            *argv,
        ]


def load_cluster_info(path: Path | str) -> ClusterInfo:
    """Read a cluster file written by a provider; UsageError when it is missing or damaged."""
    try:
        info = msgspec.json.decode(Path(path).read_bytes(), type=ClusterInfo)
    except FileNotFoundError:
        raise UsageError(f"no cluster file at {path}", do="steadyset cluster up") from None
    except msgspec.DecodeError as error:
        raise UsageError(f"cluster file {path} is damaged: {error}", do="steadyset cluster down, then up") from None
    info.path = str(path)
    return info


def save_cluster_info(info: ClusterInfo, path: Path) -> None:
    """Write the cluster file atomically (rename over)."""
    info.path = str(path)
    temporary = path.with_suffix(".tmp")
    temporary.write_bytes(msgspec.json.format(msgspec.json.encode(info), indent=1))
    temporary.rename(path)

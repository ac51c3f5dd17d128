"""The planes that a pod is cut from: its peers, and by address the API server, the clients and DNS."""

from __future__ import annotations

from functools import partial

from steadyset.chaos.agent import networks
from steadyset.chaos.kube import Kube, RefusedError, controller_of
from steadyset.chaos.netpath import Place
from steadyset.chaos.reach import Here, at_once, both
from steadyset.chaos.rights import Right
from steadyset.clusterinfo import ClusterInfo
from steadyset.errors import UsageError

PEERS, API_SERVER, CLIENTS, DNS = "peers", "api-server", "clients", "dns"
PLANES = (PEERS, API_SERVER, CLIENTS, DNS)
SERVICES = {API_SERVER: ("default", "kubernetes"), DNS: ("kube-system", "kube-dns")}
# What it takes to find out where a plane is; docs/rbac.yaml grants exactly these.
RIGHTS = {
    plane: (
        Right("", "services", ("get",), f"find plane {plane}", space=namespace),
        Right("discovery.k8s.io", "endpointslices", ("list",), f"find plane {plane}", space=namespace),
    )
    for plane, (namespace, _) in SERVICES.items()
}


def planes_named(names: list[str] | None) -> list[str]:
    """The planes of those names, by default peers and API server; UsageError for an unknown one."""
    if unknown := set(names or ()) - set(PLANES):
        raise UsageError(f"no plane {', '.join(unknown)}", expected=f"some of: {', '.join(PLANES)}")
    return names or [PEERS, API_SERVER]


def peers_of(kube: Kube, namespace: str, target: str) -> list[str]:
    """Names of the other pods of the target's controller; UsageError when it has none."""
    owner = controller_of(kube.need_pod(namespace, target))
    if owner is None:
        raise UsageError(f"pod {target} has no controller, so its peers are unknown", do="name them with peers=")
    own = [p for p in kube.pods(namespace) if (controller_of(p) or {}).get("uid") == owner["uid"]]
    return sorted(p["metadata"]["name"] for p in own if p["metadata"]["name"] != target)


def all_places(info: ClusterInfo, kube: Kube, planes: list[str]) -> dict[str, list[Place]]:
    """Where these planes are, looked up at the same time."""
    return dict(zip(planes, at_once([partial(places_of, info, kube, plane) for plane in planes]), strict=True))


def places_of(info: ClusterInfo, kube: Kube, plane: str) -> list[Place]:
    """Where the plane is: a Service's own address and its endpoints', since a pod sees either. UsageError: nowhere."""
    if plane == CLIENTS:
        return [clients_of(info)]
    namespace, service = SERVICES[plane]
    places = _service_places(kube, plane, namespace, service)
    if plane == API_SERVER and info.api_server:
        address, _, port = info.api_server.rpartition(":")
        places.append(Place(name=f"{plane} {address}", address=address, port=int(port)))
    return list({p.address: p for p in places}.values())


def _service_places(kube: Kube, plane: str, namespace: str, name: str) -> list[Place]:
    slices = f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices"
    try:
        service, found = both(
            lambda: kube.get(f"/api/v1/namespaces/{namespace}/services/{name}"),
            lambda: kube.items(slices, labelSelector=f"kubernetes.io/service-name={name}"),
        )
    except RefusedError as error:
        raise UsageError(
            f"the account may not look up where plane {plane} is",
            expected="the rights of docs/rbac.yaml",
            seen=error.message,
            do="kubectl apply -f docs/rbac.yaml, or leave the plane out",
        ) from None
    if service is None:
        raise UsageError(f"no Service {namespace}/{name}, so plane {plane} cannot be cut", do="leave the plane out")
    port, address = service["spec"]["ports"][0]["port"], service["spec"]["clusterIP"]
    places = [Place(name=f"{plane} {address}", address=address, port=port)]
    for endpoints in found:
        for endpoint in endpoints.get("endpoints") or []:
            target_port = (endpoints.get("ports") or [{"port": port}])[0]["port"]
            places += [Place(name=f"{plane} {a}", address=a, port=target_port) for a in endpoint["addresses"]]
    return places


def clients_of(info: ClusterInfo) -> Place:
    """The load's namespace on this machine; UsageError where there is none."""
    if not info.client_netns:
        raise UsageError("this cluster has no client namespace, so the clients cannot be cut", do="leave out clients")
    here, net = Here(), f"name:{info.client_netns}"
    return Place(name=CLIENTS, address=here.call(networks.net_address, net), net=net, reach=here)

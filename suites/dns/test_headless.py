"""Headless Services: which names and addresses the cluster's DNS gives for the members, and how soon."""

import time

import pytest

from steadyset.fixtures.conformance.dns import resolver

pytestmark = pytest.mark.needs("client-namespace")

CONVERGED_S = 60.0  # named `converged_s`: CoreDNS keeps an answer for up to 30 s


def _addresses(space, web):
    return {name: (pod.get("status") or {}).get("podIP", "") for name, pod in web.pods().items()}


def _of(space, name="web"):
    return f"{name}.{space.name}.svc.cluster.local"


def _until(space, dns, name, expected):
    """Wait until the name has these addresses; the seconds that it took."""
    begin = time.monotonic()
    space.until(
        f"DNS has {len(expected)} of {name}", lambda: dns.ask(name) == sorted(expected), CONVERGED_S, "converged_s"
    )
    return round(time.monotonic() - begin, 3)


def _records(space, dns, name, count=1, kind="A"):
    """That many records of the name, as soon as it has so many: each question may meet another server of the DNS."""

    def known():
        found = dns.ask(name, kind)
        return found if len(found) >= count else None

    return space.until(f"DNS has {count} of {kind} {name}", known, CONVERGED_S, "converged_s")


@pytest.mark.requirement("DNS-HLS-001", "DNS-HLS-002", "DNS-HLS-003")
def test_records_of_ready_members(space, report):
    """Goal: the Service's name has a record for each ready member and for no other, and each has a name of its own.

    Method: three gated members; ask for A and SRV records when all are ready, and again when one is not.
    """
    report.judge("endpoints-ready")
    web = space.statefulset(replicas=3, policy="Parallel", volumes=False, gated=True)
    web.heal(0, 1, 2)
    web.wait_ready()
    ip = _addresses(space, web)
    with resolver(space.info) as dns:
        _until(space, dns, _of(space), ip.values())
        for name, address in ip.items():
            seen = _records(space, dns, f"{name}.{_of(space)}")
            report.promise(f"the name of {name}", expected=[address], seen=seen)
        wanted = sorted(f"{name}.{_of(space)}" for name in ip)
        srv = [record.split() for record in _records(space, dns, f"_http._tcp.{_of(space)}", len(ip), "SRV")]
        report.promise("SRV records name the members", expected=wanted, seen=sorted(parts[3] for parts in srv))
        report.promise("and their port", expected={"8080"}, seen={parts[2] for parts in srv})
        web.hurt(1)
        left = [address for name, address in ip.items() if name != web.pod(1)]
        report.remember("dns_converged_s", _until(space, dns, _of(space), left))


@pytest.mark.requirement("DNS-HLS-004")
def test_not_ready_addresses(space, report):
    """Goal: with publishNotReadyAddresses members find each other before they are ready, as a first start needs.

    Method: two members of which none ever is ready; their names resolve all the same.
    """
    web = space.statefulset(replicas=2, policy="Parallel", volumes=False, gated=True)
    space.patch("Service", "web", {"spec": {"publishNotReadyAddresses": True}})
    space.until("both run", lambda: len(web.pods()) == 2 and all(_addresses(space, web).values()))
    ip = _addresses(space, web)
    with resolver(space.info) as dns:
        _until(space, dns, _of(space), ip.values())
        for name, address in ip.items():
            seen = _records(space, dns, f"{name}.{_of(space)}")
            report.promise(f"the name of {name}", expected=[address], seen=seen)


@pytest.mark.requirement("DNS-HLS-005")
def test_replaced_member(space, report):
    """Goal: a member's name leads to its new address once it is replaced, and never to another member's.

    Method: ask for the name again and again while the pod is replaced; note how long the old address lived.
    """
    web = space.statefulset(replicas=2, policy="Parallel", volumes=False)
    web.wait_ready()
    before = _addresses(space, web)
    name = f"web-0.{_of(space)}"
    with resolver(space.info) as dns:
        _until(space, dns, name, [before["web-0"]])
        seen = set()
        uid = web.delete_pod(0)

        def moved():
            answer = dns.ask(name)
            seen.update(answer)
            pod = web.pods().get("web-0")
            if pod is None or pod["metadata"]["uid"] == uid:
                return False
            address = (pod.get("status") or {}).get("podIP", "")
            return address and answer == [address]

        begin = time.monotonic()
        space.until("the name leads to the new address", moved, CONVERGED_S, "converged_s")
        report.remember("dns_converged_s", round(time.monotonic() - begin, 3))
        web.wait_ready()
        after = _addresses(space, web)
        stray = seen - {before["web-0"], after["web-0"]}
        report.promise("it never led elsewhere", expected=set(), seen=stray)

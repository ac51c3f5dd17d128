"""The cut itself, by the real kernel, in throw-away network namespaces."""

from __future__ import annotations

import time

import pytest

from steadyset.chaos.agent import networks
from steadyset.chaos.netpath import Line, Place, ask_all, reaches
from steadyset.chaos.nft import cut_script, delete_script, exceeding, has_elements, losing, renew_script, table_name
from steadyset.errors import InstrumentError
from steadyset.wait import pause, wait_for

TTL_S = 1.0  # short, to see the kernel end it
TABLE = "steadyset_test"


def run_nft(place: Place, script: str) -> str:
    return place.need_reach().call(networks.nft, place.net, script)


def test_table_is_named_after_the_records_random_part() -> None:
    """So that two faults of one kind do not share a table."""
    assert table_name("network-partition-ab12cd34") == "steadyset_ab12cd34"


def test_renewal_is_one_transaction_of_add_delete_add() -> None:
    """Adding again does not renew, and deleting what expired fails: hence all three."""
    words = [line.split()[0] for line in renew_script(TABLE, ["10.0.0.1"], [], 10).splitlines() if line]
    assert words == ["add", "delete", "add"]


def test_cut_bites_open_and_new_connections_and_packets(places: tuple[Place, Place]) -> None:
    """Both directions, from a cut in one end only."""
    a, b = places
    line = Line(a, b)
    probes = [line.packet, lambda: line.packet(True), line.open_connection, line.new_connection]
    assert [s.passes for s in ask_all(probes)] == [True] * 4
    run_nft(a, cut_script(TABLE, [b.address], [b.address], 30))
    assert [s.passes for s in ask_all(probes)] == [False] * 4
    run_nft(a, delete_script(TABLE))
    assert [
        s.passes for s in ask_all([line.packet, lambda: line.packet(True), line.new_connection, line.new_connection])
    ] == [True] * 4
    line.close()


def test_one_way_cut_lets_the_other_way_pass(places: tuple[Place, Place]) -> None:
    """Packets that leave are dropped, those that arrive are not."""
    a, b = places
    line = Line(a, b)
    run_nft(a, cut_script(TABLE, [], [b.address], 30))
    assert [s.passes for s in ask_all([line.packet, lambda: line.packet(True)])] == [False, True]
    line.close()


def test_loss_is_a_share_at_random(places: tuple[Place, Place]) -> None:
    """About 30 % of 1000 packets, none without the rules; the other direction keeps all."""
    a, b = places
    line = Line(a, b)
    assert line.share_lost(1000) == 0
    run_nft(a, cut_script(TABLE, [], [b.address], 30, losing(0.3)))
    assert 0.22 < line.share_lost(1000) < 0.38
    assert line.share_lost(1000, back=True) == 0
    line.close()


def test_bandwidth_lets_the_limit_pass(places: tuple[Place, Place]) -> None:
    """Of five times the limit about a fifth passes, once what may pass at once is used up."""
    a, b = places
    line = Line(a, b)
    run_nft(a, cut_script(TABLE, [], [b.address], 30, exceeding(50_000)))
    line.send(250, False, 1000)
    assert 0.7 < line.share_lost(250, False, 1000, 1.0) < 0.9
    assert line.share_lost(250, True, 1000, 1.0) == 0
    line.close()


def test_the_kernel_heals_when_nobody_renews(places: tuple[Place, Place]) -> None:
    """Cut, renewed beyond its first time-to-live, then left alone."""
    a, b = places
    run_nft(a, cut_script(TABLE, [b.address], [b.address], TTL_S))
    end = time.monotonic() + 2 * TTL_S
    while time.monotonic() < end:
        run_nft(a, renew_script(TABLE, [b.address], [b.address], TTL_S))
        assert has_elements(a.need_reach(), a.net, TABLE)
        pause(TTL_S / 5)
    renewed = time.monotonic()
    assert not reaches(a, Place(name="b", address=b.address, port=9)).passes
    wait_for(
        lambda: reaches(a, Place(name="b", address=b.address, port=9)).passes,
        what="path open again",
        deadline_name="kernel_expiry",
        deadline_s=TTL_S + 5,
    )
    assert TTL_S * 0.5 < time.monotonic() - renewed < TTL_S + 1.5
    assert a.need_reach().call(networks.our_tables, a.net) == [TABLE]


def test_renewal_of_removed_rules_is_an_error(places: tuple[Place, Place]) -> None:
    """Sabotage: somebody deletes the table, and the renewal says so instead of making it anew."""
    a, b = places
    run_nft(a, cut_script(TABLE, [b.address], [b.address], 30))
    run_nft(a, delete_script(TABLE))
    with pytest.raises(InstrumentError, match="nft failed"):
        run_nft(a, renew_script(TABLE, [b.address], [b.address], 30))
    assert a.need_reach().call(networks.our_tables, a.net) == []

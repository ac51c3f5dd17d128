"""What every stack inherits: who is in charge by the latest epoch, and members that do not answer are passed over."""

from __future__ import annotations

import pytest
from urllib3.exceptions import HTTPError

from steadyset.errors import InstrumentError
from steadyset.fixtures.stacks.galera import Galera


def test_the_latest_epoch_is_in_charge() -> None:
    """The member that knows the latest epoch is believed; one that is cut off says nothing and costs nothing."""
    known = {"galera-1": 4, "galera-2": 7}

    def ask(pod: str) -> tuple[str, int]:
        if pod not in known:
            raise HTTPError("no route")
        return pod, known[pod]

    assert Galera().latest(ask, "nobody") == ("galera-2", 7)


def test_nobody_in_charge_is_said_with_the_reasons() -> None:
    """A member outside (-1) and two that do not answer: nobody, and why."""

    def ask(pod: str) -> tuple[str, int]:
        if pod == "galera-0":
            return pod, -1
        raise InstrumentError("no answer")

    with pytest.raises(InstrumentError, match="no member leads") as caught:
        Galera().latest(ask, "no member leads")
    assert "galera-1: " in caught.value.seen and "galera-2: " in caught.value.seen

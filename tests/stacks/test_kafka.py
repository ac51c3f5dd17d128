"""What Kafka is given at its first start."""

from __future__ import annotations

import uuid

import pytest

from steadyset.fixtures.stacks.kafka import Kafka


def test_no_cluster_id_looks_like_an_option(monkeypatch: pytest.MonkeyPatch) -> None:
    """One in 64 would begin with a dash, and Kafka's storage tool would miss the value of its --cluster-id."""
    drawn = iter([uuid.UUID(int=0xF8 << 120), uuid.UUID(int=0xFB << 120), uuid.UUID(int=0x04 << 120)])
    monkeypatch.setattr(uuid, "uuid4", lambda: next(drawn))
    assert Kafka().template_values()["cluster_id"] == "BAAAAAAAAAAAAAAAAAAAAA"

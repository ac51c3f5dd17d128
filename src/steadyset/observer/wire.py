"""The API server's JSON, decoded only as far as needed: names and versions are parsed, the rest passes as bytes.

`metadata.managedFields` is left out (it is half of an object and no evidence); every other field is kept as sent.
"""

from __future__ import annotations

import msgspec
from msgspec import UNSET, Raw, UnsetType

Pass = Raw | UnsetType  # bytes that pass through unparsed


class Meta(msgspec.Struct, omit_defaults=True):
    """ObjectMeta without managedFields."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    resourceVersion: str = ""  # noqa: N815 (Kubernetes' own names)
    generation: Pass = UNSET
    creationTimestamp: Pass = UNSET  # noqa: N815
    deletionTimestamp: Pass = UNSET  # noqa: N815
    deletionGracePeriodSeconds: Pass = UNSET  # noqa: N815
    labels: Pass = UNSET
    annotations: Pass = UNSET
    ownerReferences: Pass = UNSET  # noqa: N815
    finalizers: Pass = UNSET


class Thing(msgspec.Struct):
    """Any watched object: the union of the kinds' top-level fields."""

    metadata: Meta = msgspec.field(default_factory=Meta)
    spec: Pass = UNSET
    status: Pass = UNSET
    data: Pass = UNSET
    revision: Pass = UNSET
    addressType: Pass = UNSET  # noqa: N815
    endpoints: Pass = UNSET
    ports: Pass = UNSET
    involvedObject: Pass = UNSET  # noqa: N815
    reason: Pass = UNSET
    message: Pass = UNSET
    type: Pass = UNSET
    count: Pass = UNSET
    eventTime: Pass = UNSET  # noqa: N815
    firstTimestamp: Pass = UNSET  # noqa: N815
    lastTimestamp: Pass = UNSET  # noqa: N815
    series: Pass = UNSET
    source: Pass = UNSET
    reportingComponent: Pass = UNSET  # noqa: N815


class Frame(msgspec.Struct):
    """One line of a watch: ADDED, MODIFIED, DELETED, BOOKMARK or ERROR with its object."""

    type: str
    object: Raw


class ListMeta(msgspec.Struct):
    """A list's own metadata."""

    resourceVersion: str = ""  # noqa: N815
    next: str = msgspec.field(default="", name="continue")


class Page(msgspec.Struct):
    """One page of a list."""

    metadata: ListMeta
    items: list[Thing] | None = None


class Status(msgspec.Struct):
    """The object of an ERROR frame."""

    code: int = 0
    reason: str = ""
    message: str = ""


frames = msgspec.json.Decoder(Frame)
things = msgspec.json.Decoder(Thing)
pages = msgspec.json.Decoder(Page)
statuses = msgspec.json.Decoder(Status)

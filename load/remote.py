"""What a load needs of workers that run elsewhere; `fixtures.loadjob` has those of a Job in the cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol


class Remote(Protocol):
    """Workers of one load. Errors: UsageError for what they lack, InstrumentError for one that died."""

    def begin(self, params: dict[str, Any], folder: Path) -> None:
        """Start the workers with these parameters, secrets among them; their histories will come to `folder`."""

    def started(self) -> bool:
        """Whether all of them have prepared."""

    def ready(self) -> bool:
        """Whether one of them had a write acknowledged."""

    def pull(self) -> None:
        """Bring what they have recorded so far to the folder, as one file each, by this machine's clock."""

    def stop(self) -> None:
        """End them, ops in flight first, and bring all that they recorded."""

    def close(self) -> None:
        """Remove whatever of them is left."""

"""Who may command an agent: whoever can sign with the token of its installation, which itself never travels.

A call names the agent's instance and a moment of the agent's clock until which it may be done; the agent remembers the
calls it has done until that moment, so that none is done twice. Standard library only.
"""

from __future__ import annotations

import hashlib
import hmac
import threading

HEADER = "X-Steadyset-Signature"
VALID_S = 20.0  # a call that arrives later than this is refused


def sign(token: bytes, body: bytes) -> str:
    """The signature of a call's body."""
    return hmac.new(token, body, hashlib.sha256).hexdigest()


class Done:
    """The calls that were done and may not be done again, each until its moment has passed."""

    def __init__(self) -> None:
        self._until: dict[str, float] = {}
        self._lock = threading.Lock()

    def first(self, nonce: str, until_s: float, now_s: float) -> bool:
        """Whether a call with this nonce is seen for the first time, in time, and not for too far ahead."""
        with self._lock:
            for old in [n for n, end in self._until.items() if end < now_s]:
                del self._until[old]
            if nonce in self._until or not now_s <= until_s <= now_s + 2 * VALID_S:
                return False
            self._until[nonce] = until_s
            return True

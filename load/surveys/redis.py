"""Redis with a sentinel beside each member: roles by the members' word, the primary by the sentinels'.

Our place is the beginning of keys. The epoch is the sentinels' configuration epoch: each failover has one of its own.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from steadyset.errors import UsageError
from steadyset.load.surveys.base import Survey, View, refused
from steadyset.load.workloads.redis_append import ask, open_connection

_SCAN_COUNT = 1000


class RedisSurvey(Survey):
    """Parameters besides: `group`, the name under which the sentinels watch; secrets `user`, `sentinel_password`."""

    def _command(self, endpoint: dict[str, Any], *command: Any, sentinel: bool = False) -> Any:
        password = self.secrets.get("sentinel_password" if sentinel else "password", "")
        user = "" if sentinel else self.secrets.get("user", "")
        connection = open_connection(endpoint, password, self.ask_s, user)
        try:
            return ask(connection, *command, timeout_s=self.ask_s)
        finally:
            connection.disconnect()

    def enter(self, member: dict[str, Any]) -> None:
        self._command(member["direct"], "INFO", "replication")
        self._sentinel(member)

    def _sentinel(self, member: dict[str, Any]) -> dict[str, str]:
        said = self._command(member["sentinel"], "SENTINEL", "MASTER", self.params["group"], sentinel=True)
        words = [word.decode() for word in said]
        return dict(zip(words[::2], words[1::2], strict=True))

    def check(self) -> None:
        view = self.look()
        if view["primary"] not in {str(member["pod"]) for member in self.members}:
            raise UsageError(
                "the sentinels name no member of the target",
                expected="the name of a pod: sentinel resolve-hostnames yes, announce-hostnames yes",
                seen=view["problem"] or view["primary"],
            )
        key = f"{self.scratch}.check"
        try:
            self._primary("SET", key, "1", "EX", 60)
            self._primary("EVAL", "return redis.call('DEL', KEYS[1])", 1, key)
        except Exception as error:
            raise refused(f"write keys that begin with {self.scratch}", self.describe(error)) from None

    def _primary(self, *command: Any) -> Any:
        name = self.look()["primary"]
        member = next(member for member in self.members if member["pod"] == name)
        return self._command(member["direct"], *command)

    def make(self) -> None:
        """Keys need no place to be made."""

    def remove(self) -> str:
        name = self.look()["primary"]
        member = next((member for member in self.members if member["pod"] == name), None)
        if member is None:
            return f"the sentinels name {name or 'nobody'}"
        keys = self._keys(member)
        if keys:
            self._command(member["direct"], "DEL", *keys)
        return f"{len(keys)} keys" if keys else ""

    def _keys(self, member: dict[str, Any]) -> list[bytes]:
        found: list[bytes] = []
        cursor = b"0"
        while True:
            cursor, keys = self._command(
                member["direct"], "SCAN", cursor, "MATCH", f"{self.scratch}*", "COUNT", _SCAN_COUNT
            )
            found += keys
            if cursor == b"0":
                return found

    def look(self) -> View:
        roles = self.each(lambda member: self._command(member["direct"], "INFO", "replication").decode())
        sentinels = self.each(self._sentinel)
        return view_of(roles, sentinels, self)


def view_of(roles: dict[str, Any], sentinels: dict[str, Any], survey: Survey) -> View:
    """What members and sentinels said, in one; exceptions stand for those that did not answer."""
    said = {pod: answer for pod, answer in sentinels.items() if isinstance(answer, dict)}
    votes = Counter(pod_of(answer.get("ip", "")) for answer in said.values())
    primary, count = votes.most_common(1)[0] if votes else ("", 0)
    if count <= len(sentinels) // 2:
        primary = ""
    epochs = [int(a["config-epoch"]) for a in said.values() if pod_of(a.get("ip", "")) == primary and primary]
    words = {
        pod: _role(answer) if isinstance(answer, str) else survey.describe(answer) for pod, answer in roles.items()
    }
    problem = survey.silent(roles) or survey.silent({f"the sentinel of {pod}": a for pod, a in sentinels.items()})
    if not problem and (not primary or len(votes) > 1):
        problem = f"the sentinels name {', '.join(sorted(votes))}"
    replicas = len(roles) - 1
    wanted = {pod: f"master with {replicas}" if pod == primary else f"slave of {primary}, up" for pod in roles}
    wrong = [f"{pod} is {words[pod]}" for pod in roles if words[pod] != wanted[pod]]
    if not problem and wrong:
        problem = f"the sentinels name {primary}, but {'; '.join(wrong)}"
    return View(primary=primary, epoch=max(epochs, default=-1), problem=problem, says=words)


def pod_of(host: str) -> str:
    """The pod that a host name begins with; an address stays what it is."""
    return host if host.replace(".", "").isdigit() else host.partition(".")[0]


def _role(info: str) -> str:
    """A member's own word on its part: "master with 2", "slave of redis-0, up"."""
    said = dict(line.split(":", 1) for line in info.splitlines() if ":" in line)
    if said.get("role") == "master":
        return f"master with {said.get('connected_slaves', '0')}"
    return f"slave of {pod_of(said.get('master_host', '?'))}, {said.get('master_link_status', '?')}"


SURVEY = RedisSurvey

"""Failure stories: defects that Kubernetes had, or still has, each with its issues and the verdict expected today."""

from __future__ import annotations

from dataclasses import dataclass

from steadyset.errors import UsageError
from steadyset.requirements.base import Requirement, issue

PASS, KNOWN = "pass", "known limitation"
EVERY = "*"


@dataclass(frozen=True)
class Story:
    """One failure story.

    `text` is what a user may expect, `affected` the versions whose users were hit, `known` the minor versions (or
    EVERY) on which the expectation is known to be disappointed, by which `rule`. A story that is fixed everywhere has a
    `sabotage`: what its test does, when asked to, to see itself fail.
    """

    id: str
    text: str
    issues: tuple[int, ...]
    affected: str
    rule: str = "promise"
    known: tuple[str, ...] = ()
    sabotage: str = ""
    open: str = ""

    def expected(self, version: str) -> str:
        """PASS or KNOWN on that Kubernetes version ("1.35.4")."""
        minor = ".".join(version.removeprefix("v").split(".")[:2])
        return KNOWN if EVERY in self.known or minor in self.known else PASS


STORIES: tuple[Story, ...] = (
    Story(
        "REG-ROL-001",
        "A broken revision that is taken back lets an OrderedReady StatefulSet recover without a hand on its pods.",
        (67250, 60164),
        "all, by design: the controller waits for the pod of the broken revision to be Ready",
        "recovery",
        known=(EVERY,),
    ),
    Story(
        "REG-ROL-002",
        "A broken revision that is taken back lets a Parallel StatefulSet recover without a hand on its pods.",
        (137409,),
        "1.35.0 to 1.35.3, where MaxUnavailableStatefulSet is on by default",
        "recovery",
        sabotage="do not take it back",
    ),
    Story(
        "REG-PRT-001",
        "A pod below the partition comes back in its old revision when it is deleted.",
        (119685,),
        "1.27.0 to 1.27.4",
        sabotage="lower the partition just before the pod is deleted",
    ),
    Story(
        "REG-PRT-002",
        "Scaled from 0 to 2, pods below the partition are of the old revision and the others of the new one.",
        (121534,),
        "1.24 and later",
        known=(EVERY,),
    ),
    Story(
        "REG-NOD-001",
        "A pod of a node that has lost power is replaced without a hand on the pod or its node.",
        (74689, 64869),
        "all, by design: nobody knows that the node is off until it is tainted out of service",
        "recovery",
        known=(EVERY,),
    ),
    Story(
        "REG-ATT-001",
        "A pod that is deleted by force from a node without power gets its volume elsewhere within a minute.",
        (53059, 50944, 65392),
        "all: the volume is detached by force after 6 minutes",
        "recovery",
        known=(EVERY,),
    ),
    Story(
        "REG-ATT-002",
        "A restart of the controller manager detaches no volume that is mounted.",
        (106710, 69168, 101791),
        "before 1.24",
        "rwo-single-node",
        sabotage="delete the VolumeAttachment of a running pod",
    ),
    Story(
        "REG-MNT-001",
        "A restart of a kubelet, or of its runtime, unmounts no volume of a running pod.",
        (120150, 113979, 120853),
        "1.26 and 1.27, some patch releases",
        sabotage="unmount the pod's volume on its node",
    ),
    Story(
        "REG-MNT-002",
        "A pod that is deleted by force from a node that cannot be reached does not get its volume twice.",
        (61832,),
        "before attach/detach refused it",
        "rwo-single-node",
        sabotage="mount the volume's disk on a second node",
    ),
    Story(
        "REG-CLM-001",
        "A claim that is deleted under its pod is made anew when that pod is deleted, and the new pod runs.",
        (74374, 83282, 113139),
        "before 1.23",
        "recovery",
        sabotage="delete the StatefulSet and orphan its pod, so that nobody makes the claim",
    ),
    Story(
        "REG-CLM-002",
        "Claims kept by their retention policy are kept although an admission plugin protects owner references.",
        (126919,),
        "1.27 to 1.31",
        open="needs an API server with the admission plugin OwnerReferencesPermissionEnforcement",
    ),
    Story(
        "REG-ORD-001",
        "After the crash of all its members an OrderedReady StatefulSet whose members wait for each other recovers.",
        (38418,),
        "all, by design: use podManagementPolicy Parallel",
        "recovery",
        known=(EVERY,),
    ),
    Story(
        "REG-SIZ-001",
        "The size in a volumeClaimTemplate can be raised.",
        (68737,),
        "all: the field is immutable",
        known=(EVERY,),
    ),
    Story(
        "REG-SIZ-002",
        "An expansion that the storage refuses is taken back by asking for less.",
        (115124,),
        "before 1.34",
        sabotage="look before asking for less",
    ),
    Story(
        "REG-DRN-001",
        "A drain that waits for a budget leaves the pod of the same name alone that was made elsewhere meanwhile.",
        (138229, 91141, 72320),
        "kubectl of all versions",
        known=(EVERY,),
    ),
    Story(
        "REG-DNS-001",
        "With publishNotReadyAddresses the name of a replaced member leads to its new address within 15 s.",
        (92559,),
        "all, for as long as the cluster's DNS keeps an answer: 30 s by default, 5 s on the embedded cluster",
        "recovery",
        sabotage="publish the addresses of ready members only, of a member that is never ready",
    ),
    Story(
        "REG-RBT-001",
        "A graceful reboot of a node leaves no Completed pod behind that is not replaced.",
        (122122,),
        "1.28 and later",
        open="a kubelet learns of a graceful shutdown from logind only, which the embedded cluster's nodes lack",
    ),
)


def story(name: str) -> Story:
    """The story with that id; UsageError when there is none."""
    for found in STORIES:
        if found.id == name:
            return found
    raise UsageError(f"no failure story is called {name}", expected=", ".join(s.id for s in STORIES), seen=name)


REGRESSIONS: tuple[Requirement, ...] = tuple(
    Requirement(s.id, s.text, issue(s.issues[0]), (s.rule,), open=s.open) for s in STORIES
)

"""The SAN driver against upstream's CSI sanity suite, and its own promises: detach in use, restarts, formatting."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from steadyset.fixtures.clusters.embedded.components import HERE
from steadyset.fixtures.golang import go_binary

BUILD_DEADLINE_S = 540.0  # cold: compiles gRPC, Ginkgo and the suite
RUN_DEADLINE_S = 120.0
SANITY_SPECS = 58  # the specs of csi-test v5.6.0 for the capabilities the driver has
OWN_TESTS = {
    "TestControllerRestart",
    "TestCutDeviceKeepsStaleWritesOut",
    "TestDetachInUse",
    "TestExpansion",
    "TestFormatOnFirstUseOnly",
    "TestHeldBlockDevice",
    "TestLocalVolume",
    "TestNodeRestart",
    "TestOneControllerPerDirectory",
    "TestPurge",
    "TestRegistration",
    "TestSecondNodeIsRefused",
    "TestSharedDirectory",
    "TestStaleStagingIsReplaced",
}

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: loop devices and mounts"),
]


@pytest.fixture(scope="module")
def san_tests(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The driver's Go tests as one binary, which also runs as the driver itself."""
    binary = tmp_path_factory.mktemp("san") / "san.test"
    argv = [go_binary(), "test", "-trimpath", "-c", "-o", str(binary), "./san"]
    env = {**os.environ, "CGO_ENABLED": "0", "GOWORK": "off"}
    done = subprocess.run(
        argv, cwd=HERE / "parts", env=env, text=True, capture_output=True, check=False, timeout=BUILD_DEADLINE_S
    )
    assert done.returncode == 0, done.stderr
    return binary


def run(binary: Path, *args: str, **environment: str) -> str:
    """The tests' output; they must pass."""
    done = subprocess.run(
        [str(binary), "-test.v", *args],
        cwd=binary.parent, env={**os.environ, **environment}, text=True, capture_output=True, check=False,
        timeout=RUN_DEADLINE_S,
    )  # fmt: skip
    assert done.returncode == 0, (done.stdout + done.stderr)[-8000:]
    return done.stdout


def loop_devices_of_tests() -> set[str]:
    """Backing files, below a Go test's own folder, of the machine's loop devices."""
    files = {path.read_text().strip() for path in Path("/sys/block").glob("loop*/loop/backing_file")}
    return {name for name in files if re.search(r"/Test[A-Z]\w+/\d{3}/volumes/", name)}


@pytest.mark.parametrize("kind", ["mount", "block", "xfs", "shared", "local"])
def test_upstream_sanity_suite(san_tests: Path, kind: str) -> None:
    """Upstream's suite passes, and no fewer of its specs run than the driver's capabilities ask for."""
    output = run(san_tests, "-test.run=^TestSanity$", "-ginkgo.no-color", SAN_SANITY_KIND=kind)
    passed, failed = re.search(r"(\d+) Passed \| (\d+) Failed", output).groups()  # type: ignore[union-attr]
    assert (int(passed), int(failed)) == (SANITY_SPECS, 0)
    assert loop_devices_of_tests() == set()


def test_own_promises(san_tests: Path) -> None:
    """Detach of a volume in use, kill -9 of every process, formatting, purge: as the driver's Go tests say."""
    output = run(san_tests, "-test.skip=^TestSanity$")
    passed = set(re.findall(r"^--- PASS: (\w+)", output, re.M))
    assert passed == OWN_TESTS
    assert loop_devices_of_tests() == set()

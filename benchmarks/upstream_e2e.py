"""Upstream's own end-to-end tests against an embedded cluster, given nothing but its kubeconfig.

    python benchmarks/upstream_e2e.py [--only statefulset] [--procs 1] [--name default] [--out FOLDER]

Builds e2e.test, ginkgo and agnhost from Kubernetes' Go modules, and the images that the specs ask for from Debian
packages; all of it goes into the cache (about ten minutes the first time). Prints a line per group of specs.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from steadyset.fixtures.cache import cache_dir
from steadyset.fixtures.clusters import embedded
from steadyset.fixtures.clusters.embedded import components, operations
from steadyset.fixtures.clusters.embedded.cluster import Cluster
from steadyset.fixtures.golang import go_binary
from steadyset.fixtures.images.oci import ImageConfig, write_archive
from steadyset.fixtures.images.recipes import run_step

HERE = Path(__file__).parent / "upstream"
E2E = "registry.k8s.io/e2e-test-images"
# Group -> (focus, skip): regular expressions over the specs' full names.
GROUPS = {
    "statefulset": (r"\[sig-apps\] StatefulSet .*\[Conformance\]", ""),
    "statefulset-volumes": (
        r"\[sig-apps\] StatefulSet .*(should provide basic identity|should adopt matching orphans|"
        r"should not deadlock when a pod's predecessor fails|should perform rolling updates and roll backs of template "
        r"modifications with PVCs|Non-retain StatefulSetPersistentVolumeClaimPolicy)",
        "",
    ),
    "dns": (r"\[sig-network\] DNS .*\[Conformance\]", ""),
    "services": (r"\[sig-network\] Services .*\[Conformance\]", ""),
    "daemonset": (r"\[sig-apps\] Daemon set .*\[Conformance\]", ""),
    "storage": (r"External Storage", r"\[Slow\]|\[Disruptive\]|\[Serial\]|\[Feature:"),
}
# The specs look things up from jessie-dnsutils and read a file from nginx: a Debian with those tools serves both.
NAMES = {
    "agnhost": (f"{E2E}/agnhost:2.59", f"{E2E}/agnhost:2.55", f"{E2E}/jessie-dnsutils:1.7", f"{E2E}/nginx:1.14-4"),
    "busybox": (f"{E2E}/busybox:1.37.0-1",),
    "pause": ("registry.k8s.io/pause:3.10.1",),
}


def say(text: str) -> None:
    """A line of progress on stderr."""
    sys.stderr.write(text + "\n")


def build(version: str) -> Path:
    """Folder with e2e.test, ginkgo and agnhost of `version`, built when missing."""
    target = cache_dir() / "upstream" / version
    if (target / "agnhost").is_file():
        return target
    target.mkdir(parents=True, exist_ok=True)
    major, minor, _ = version.split(".")
    stamp = "k8s.io/component-base/version"
    stamps = {"gitVersion": f"v{version}", "gitMajor": major, "gitMinor": minor}
    ldflags = "-s -w " + " ".join(f"-X {stamp}.{key}={value}" for key, value in stamps.items())
    env = {"CGO_ENABLED": "0", "GOFLAGS": "-buildvcs=false", "GOWORK": "off"}
    go = go_binary()
    for argv in (
        [go, "test", "-c", "-trimpath", "-ldflags", ldflags, "-o", str(target / "e2e.test"),
         "k8s.io/kubernetes/test/e2e"],
        [go, "build", "-ldflags=-s -w", "-o", str(target / "ginkgo"), "github.com/onsi/ginkgo/v2/ginkgo"],
        [go, "build", "-trimpath", "-ldflags=-s -w", "-o", str(target / "agnhost"),
         "k8s.io/kubernetes/test/images/agnhost"],
    ):  # fmt: skip
        run_step(argv, say, cwd=HERE, env=env)
    return target


def rootfs(layer: Path, packages: str, *hooks: str) -> None:
    """A Debian root file system with `packages`, as a tar."""
    argv = ["mmdebstrap", "--mode=auto", "--format=tar", "--variant=essential", "--components=main"]
    argv += [f"--include={packages}", '--aptopt=Apt::Install-Recommends "false"', *hooks, "bookworm", str(layer)]
    run_step(argv, say, env={"SOURCE_DATE_EPOCH": "0", "TMPDIR": str(layer.parent)})


def archives(built: Path) -> list[Path]:
    """The images' archives, made when missing; one archive for each name."""
    folder = built / "images"
    folder.mkdir(exist_ok=True)
    folder.chmod(0o755)
    found = []
    for kind, names in NAMES.items():
        layer = folder / f"{kind}.layer.tar"
        for name in names:
            archive = folder / (name.rpartition("/")[2].replace(":", "-") + ".tar")
            if not archive.exists():
                if not layer.exists():
                    _layer(kind, layer, built)
                write_archive(archive, name, layer, _config(kind))
            found.append(archive)
        layer.unlink(missing_ok=True)
    return found


def _layer(kind: str, layer: Path, built: Path) -> None:
    if kind == "busybox":
        rootfs(layer, "busybox-static", '--customize-hook=chroot "$1" /bin/busybox --install -s /usr/local/bin')
        return
    if kind == "pause":
        from steadyset.fixtures.images.oci import write_layer

        write_layer(layer, {"/pause": components.parts() / "pause"})
        return
    module = Path(
        json.loads(
            subprocess.run(
                [go_binary(), "list", "-m", "-json", "k8s.io/kubernetes"],
                cwd=HERE, text=True, capture_output=True, check=True,
            ).stdout
        )["Dir"]
    )  # fmt: skip
    porter = module / "test" / "images" / "agnhost" / "porter"
    copies = (
        f"--customize-hook=copy-in {built / 'agnhost'} /",
        f"--customize-hook=copy-in {porter / 'localhost.crt'} {porter / 'localhost.key'} /",
        '--customize-hook=ln -s agnhost "$1/agnhost-2" && mkdir -p "$1/uploads"',
    )
    rootfs(layer, "bind9-dnsutils,curl,netcat-openbsd,iproute2,bash,iputils-ping", *copies)


def _config(kind: str) -> ImageConfig:
    entry = {"agnhost": ("/agnhost", "pause"), "busybox": (), "pause": ("/pause",)}[kind]
    path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    return ImageConfig(entrypoint=entry[:1], command=entry[1:] or (("sh",) if not entry else ()), env={"PATH": path})


@contextmanager
def loaded(name: str, images: list[Path]) -> Iterator[Cluster]:
    """The cluster, up and with the images on every node; removed at the end when it was not there before."""
    existed = Cluster.find(name) is not None
    embedded.ensure_up(name)
    try:
        cluster = Cluster.get(name)
        for archive in images:
            say(f"loading {archive.stem}")
            operations.load_image(cluster, archive)
        yield cluster
    finally:
        if not existed:
            embedded.down(name)


def run_group(group: str, built: Path, cluster: Cluster, procs: int, out: Path) -> dict[str, float]:
    """Run one group of specs; counts and seconds."""
    focus, skip = GROUPS[group]
    argv = [str(built / "ginkgo"), f"--procs={procs}", f"--focus={focus}", "--no-color", "--timeout=60m"]
    argv += [f"--skip={skip}"] if skip else []
    argv += [f"--json-report={group}.json", f"--output-dir={out}", str(built / "e2e.test"), "--"]
    argv += [f"--kubeconfig={cluster.certificates().admin()}", "--provider=skeleton", "--disable-log-dump"]
    if group == "storage":
        argv.append(f"--storage.testdriver={HERE / 'driver.yaml'}")
    started = time.monotonic()
    with (out / f"{group}.log").open("w") as log:
        subprocess.run(argv, stdout=log, stderr=subprocess.STDOUT, check=False, env={**os.environ, "KUBECONFIG": ""})
    seconds = time.monotonic() - started
    counts = {"passed": 0.0, "failed": 0.0, "seconds": seconds}
    for suite in json.loads((out / f"{group}.json").read_text()):
        for spec in suite.get("SpecReports") or []:
            if spec["LeafNodeType"] != "It" or spec["State"] in ("skipped", "pending"):
                continue
            passed = spec["State"] == "passed"
            counts["passed" if passed else "failed"] += 1
            if not passed:
                say(f"{group}: {spec['State']}: {spec['LeafNodeText']}")
    return counts


def main() -> int:
    """Run the groups and print the table; exit code 1 when a spec failed or a group ran none."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", choices=list(GROUPS), help="a group of specs; all by default")
    parser.add_argument("--procs", type=int, default=1, help="ginkgo's parallel processes")
    parser.add_argument("--name", default="upstream", help="embedded cluster; brought up and removed when not there")
    parser.add_argument("--out", type=Path, default=Path(".benchmarks/upstream"), help="logs and ginkgo's reports")
    args = parser.parse_args()
    out = args.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    built = build(components.DEFAULT_VERSION)
    lines, bad = [f"{'specs':<22}{'passed':>8}{'failed':>8}{'seconds':>9}"], False
    with loaded(args.name, archives(built)) as cluster:
        for group in args.only or GROUPS:
            say(f"running {group}")
            found = run_group(group, built, cluster, args.procs, out)
            bad = bad or bool(found["failed"]) or not found["passed"]
            lines.append(f"{group:<22}{found['passed']:>8.0f}{found['failed']:>8.0f}{found['seconds']:>9.0f}")
    sys.stdout.write("\n".join(lines) + "\n")
    return int(bad)


if __name__ == "__main__":
    sys.exit(main())

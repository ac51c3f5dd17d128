"""`steadyset conformance`: every promise to stateful workloads, in parallel, judged over the whole history."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from steadyset.cli import nightly
from steadyset.cli.nightly import INTERRUPTED, note, say
from steadyset.clusterinfo import ClusterInfo
from steadyset.config import config_option
from steadyset.errors import DeadlineError, InstrumentError, SteadysetError, UsageError
from steadyset.names import names_in
from steadyset.requirements.reading import Covering, read_tests
from steadyset.rundir import RunDir
from steadyset.verdict import Verdict

if TYPE_CHECKING:
    from steadyset.observer import Observer

WORKERS_MAX = 12
GONE_DEADLINE_S = 120.0  # until every namespace of the run is gone
PROBE = "probe"
PLUGINS = ("steadyset.fixtures.plugin", "steadyset.fixtures.progress", "allure_pytest.plugin", "xdist.plugin")


@click.command("conformance")
@config_option("conformance")
@click.option("--tier", type=click.Choice(["quick", "full"]), default="full", show_default=True, help="How much.")
@click.option("--only", default="", help="Comma-separated requirement ids or patterns, STS-ORD-*; all by default.")
@click.option("--skip", "not_these", default="", help="Ids or patterns that count as not tested.")
@click.option("--tests", default="", help="Comma-separated parts of test functions' names; all by default.")
@click.option("--controls", is_flag=True, help="Run the negative controls too: each must fail as it says.")
@click.option("--suite", "suites", default="", help="Comma-separated suites (folders of suites/). All by default.")
@click.option("--workers", type=int, default=0, help="Tests at a time; chosen from the cluster's size by default.")
@click.option("--cluster-name", default="default", show_default=True, help="Embedded cluster to use or to bring up.")
@click.option("--kubernetes-version", default="", help="Version of a new embedded cluster.")
@click.option("--profile", default="", help="Timings of a new embedded cluster: fast or upstream; beta adds features.")
@click.option("--kubeconfig", default="", help="A cluster of yours instead of an embedded one.")
@click.option("--context", "kube_context", default="", help="Context of the kubeconfig.")
@click.option("--confirm-uid", default="", help="UID of your cluster, to confirm tests on it (doctor prints it).")
@click.option("--storage-class", default="", help="StorageClass of the claims; your cluster's default one otherwise.")
@click.option("--registry", default="", help="Registry prefix of our images (see: steadyset images push).")
@click.option("--pull-secret", default="", help="Image pull secret, as name or namespace/name.")
@click.option("--seed", type=int, default=0, help="Seed of every random choice; drawn and noted by default.")
@click.option("--runs", type=click.Path(file_okay=False, path_type=Path), default=Path("runs"), show_default=True)
@click.option("--keep", is_flag=True, help="Leave the tests' namespaces as they are at the end.")
@click.option("--keep-cluster/--down", default=True, show_default=True, help="Keep the embedded cluster for next time.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON on stdout.")
def command(*, runs: Path, keep_cluster: bool, as_json: bool, workers: int, **given: Any) -> int:
    """Test what Kubernetes promises to stateful workloads; judge over the whole history; write the page.

    Each test has a namespace of its own and several run at a time; those that disturb the cluster run alone, at the
    end. `steadyset explain` lists the promises. Exit code: 0 PASS, 1 FAIL, 3 INVALID, 4 ERROR, 130 interrupted (the
    namespaces are removed, and the run can be rechecked).
    """
    from steadyset.fixtures.conformance.selection import ids
    from steadyset.fixtures.session import Options, note_cluster, run_params

    options = Options(
        cluster="kubeconfig" if given["kubeconfig"] or given["kube_context"] else "embedded",
        context=given["kube_context"],
        stack=PROBE,
        lenient=True,
        **{name: given[name] for name in Options.__dataclass_fields__ if name in given},
    )
    if workers < 0:
        raise UsageError("--workers is negative", expected="1 or more, or 0 to choose", seen=str(workers))
    suites = nightly.suite_paths(given["suites"])
    selected = {name: ",".join(ids(given[name])) for name in ("only", "not_these")}
    given |= selected
    tests = choose(suites, given)
    options.seed = options.seed or int.from_bytes(os.urandom(3)) + 1
    params = {
        **run_params(options),
        "stack": "",
        "kind": "conformance",
        "tier": given["tier"],
        "tests": given["tests"],
        **selected,
    }
    run = RunDir.create(runs.resolve(), params)
    say(f"run {run.path}")
    code, info, left = Verdict.ERROR.exit_code, None, list[str]()
    with nightly.interruptible():
        try:
            info = nightly.bring_up(options)
            options.cluster_file = info.path
            note_cluster(run, info)
            tell_rights(info)
            code = run_tests(info, options, run, Path(suites[0]).parent, tests, {**given, "workers": workers})
        except KeyboardInterrupt:
            code = INTERRUPTED
            say("interrupted")
        except SteadysetError as error:
            note(run, "error", str(error))
            raise
        finally:
            with nightly.uninterrupted():
                if info is not None and not options.keep:
                    left = remove_namespaces(info, run)
                left += nightly.clean_up(info, options, keep_cluster=keep_cluster)
                note(run, "left_behind", left)
                document = nightly.write_reports(run)
    nightly.show(run, document, as_json=as_json)
    if code == INTERRUPTED:
        return INTERRUPTED
    return Verdict.ERROR.exit_code if left else int(document["exit_code"])


def choose(suites: Sequence[str], given: dict[str, Any]) -> list[Covering]:
    """The test functions that the options select, by their sources; UsageError when there are none."""
    base = Path(suites[0]).parent
    folders = {Path(suite).name for suite in suites}
    only = set(given["only"].split(",")) if given["only"] else set()
    parts = names_in(given["tests"])
    found = [
        test
        for test in read_tests(base)
        if test.file.split("/")[0] in folders
        and (not only or only & set(test.ids))
        and (not parts or any(part in test.function for part in parts))
        and (given["controls"] or not test.control)
        and (given["tier"] == "full" or not test.full)
    ]
    if not found:
        raise UsageError("no conformance test fits", do="leave out --only, --tests, --suite or --tier quick")
    return found


def tell_rights(info: ClusterInfo) -> None:
    """Say at the start which rights the account lacks: tests that need them will be counted as not tested."""
    from steadyset.fixtures.conformance.rights import RIGHTS, refused

    missing = refused(info)
    if missing:
        say(f"the account lacks {len(missing)} of {len(RIGHTS)} rights; tests that need them are not tested:")
        for right in missing:
            say(f"  {right}: {right.why}")
        say("docs/rbac-conformance.yaml makes an account that has them all")


def run_tests(
    info: ClusterInfo, options: Any, run: RunDir, base: Path, tests: list[Covering], given: dict[str, Any]
) -> int:
    """Run the parallel tests, then the disruptive ones one at a time, with one observer over both."""
    from steadyset.fixtures.conformance.session import TRACE
    from steadyset.fixtures.preload import preload
    from steadyset.observer import Observer

    preload(info, [PROBE], say)
    workers = given["workers"] or workers_for(info, sum(not test.alone for test in tests))
    started = time.monotonic()
    code = 0
    with Observer(info, run.path / TRACE, namespace="") as observer:
        # The workers start meanwhile, and wait for the observer's word before their first test.
        vouching = threading.Thread(target=vouch, args=(observer,), daemon=True)
        vouching.start()
        options.trace_file = f"{observer.pid}:{observer.path}"
        for what, count in (("not disruptive", workers), ("disruptive", 0)):
            files = sorted({test.file for test in tests if test.alone is (what == "disruptive")})
            if files and code != INTERRUPTED:
                argv = pytest_argv(options, run, base, files, given, what, count)
                code = max(code, nightly.run_suites(argv, workers=True))
        vouching.join()
    say(f"tests ended after {time.monotonic() - started:.1f} s, {workers} at a time")
    return code


def vouch(observer: Observer) -> None:
    """Note in the trace that every kind has been listed: from here on nothing is missed. No note when it fails."""
    from steadyset.fixtures.conformance.session import SYNCED
    from steadyset.trace import TraceWriter

    try:
        observer.wait_synced()
    except InstrumentError as error:
        say(f"observer: {error}")
        return
    with TraceWriter(observer.path) as writer:
        writer.note(SYNCED)


def pytest_argv(
    options: Any, run: RunDir, base: Path, files: Sequence[str], given: dict[str, Any], what: str, workers: int
) -> list[str]:
    """The pytest command for one pass; `what` is the part of the marker expression that tells the passes apart."""
    argv = [sys.executable, "-m", "pytest", "-c", os.devnull, "--rootdir", str(base)]
    argv += ["--import-mode=importlib", "-p", "no:cacheprovider", "-p", "no:terminal"]
    for plugin in PLUGINS:
        argv += ["-p", plugin]
    argv += ["--run-dir", str(run.path)]
    argv += ["--alluredir", str(run.path / "allure-results"), "--tier", given["tier"]]
    for name in ("cluster_file", "trace_file", "seed"):
        argv += [f"--{name.replace('_', '-')}", str(getattr(options, name))]
    for name in ("only", "not_these"):
        if given[name]:
            argv += [f"--{name.replace('_', '-')}", given[name]]
    if given["tests"]:
        argv += ["-k", " or ".join(names_in(given["tests"]))]
    if options.keep:
        argv.append("--keep")
    if workers:
        argv += ["-n", str(workers), "--dist", "worksteal"]
    controls = "" if given["controls"] else " and not control"
    return [*argv, "-m", f"requirement and {what}{controls}", *(str(base / file) for file in files)]


def workers_for(info: ClusterInfo, tests: int) -> int:
    """Tests at a time: what the machine of an embedded cluster has processors for, or what a cluster has nodes for.

    For few tests fewer: a worker takes seconds of processor time to start.
    """
    size = (os.cpu_count() or 1) if info.provider == "embedded" else max(1, len(info.nodes))
    return max(1, min(WORKERS_MAX, 2 + 2 * size, (tests + 1) // 2))


def remove_namespaces(info: ClusterInfo, run: RunDir) -> list[str]:
    """Delete every namespace of the run and wait until they are gone; returns what is still there, in words."""
    from steadyset.chaos.kube import Kube, RefusedError
    from steadyset.fixtures.conformance.space import RUN_LABEL
    from steadyset.wait import wait_for

    kube, started = Kube(info), time.monotonic()
    label = f"{RUN_LABEL}={run.path.name.lower()}"

    def remaining() -> list[str]:
        found = kube.items("/api/v1/namespaces", labelSelector=label)
        for item in found:
            if "deletionTimestamp" not in item["metadata"]:
                try:
                    kube.request("DELETE", f"/api/v1/namespaces/{item['metadata']['name']}")
                except RefusedError as error:
                    if error.status not in (404, 409):
                        raise
        return [item["metadata"]["name"] for item in found]

    try:
        wait_for(
            lambda: not remaining(),
            what="the run's namespaces are gone",
            deadline_name="GONE_DEADLINE_S",
            deadline_s=GONE_DEADLINE_S,
            poll_s=0.25,
        )
    except DeadlineError:
        return [f"namespace {name} is still there" for name in remaining()]
    except RefusedError as error:
        begun = [s.namespace for s in run.scenarios() if s.namespace and s.outcome != "skipped"]
        if error.unauthorized and not begun:
            return []  # an account that may not even list namespaces has made none
        return [f"namespaces of the run: {error.message}"]
    except InstrumentError as error:
        return [f"namespaces of the run: {error.message}"]
    say(f"namespaces removed after {time.monotonic() - started:.1f} s")
    return []

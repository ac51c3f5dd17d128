"""`steadyset nightly`: cluster, stack, load, faults, judgement, page; the main job from one command."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

import steadyset
from steadyset.clusterinfo import ClusterInfo
from steadyset.config import config_option
from steadyset.errors import InstrumentError, SteadysetError, UsageError
from steadyset.load.commands import need_port
from steadyset.load.shape import SHAPES, STEADY
from steadyset.names import names_in
from steadyset.rundir import RunDir
from steadyset.verdict import Verdict

INTERRUPTED = 130
LOG_COLUMNS = 140  # of the table where stdout is no terminal
CLEANUP_DEADLINE_S = 240.0  # an interrupted pytest heals faults and removes the stack within this
LOAD = ("load_shape", "load_seconds", "load_workers", "load_web_ui")  # options that pytest is passed as they are
PYTEST_NO_TESTS = 5
PYTEST_USAGE, PYTEST_INTERNAL, PYTEST_INTERRUPTED = 4, 3, 2


@click.command("nightly")
@config_option("nightly")
@click.option("--stack", default="probe", show_default=True, help="Reference stack to deploy.")
@click.option(
    "--target",
    default="",
    metavar="FILE",
    help="A workload of yours that is running already, instead of a stack: docs/bring-your-own.md.",
)
@click.option("--variant", default="", help="Deliberate mis-configuration of it; it must be found.")
@click.option(
    "--faults",
    default="",
    help="Comma-separated: kill, drain, detach, partition, …, or cells of the matrix: kill-all, …; or matrix, for all.",
)
@click.option("--controls", is_flag=True, help="Run the negative controls too: each must fail as it says.")
@click.option("--suite", "suites", default="", help="Comma-separated suites (folders of suites/). All by default.")
@click.option("--cluster-name", default="default", show_default=True, help="Embedded cluster to use or to bring up.")
@click.option("--kubernetes-version", default="", help="Version of a new embedded cluster.")
@click.option("--profile", default="", help="Timings of a new embedded cluster: fast or upstream.")
@click.option("--kubeconfig", default="", help="A cluster of yours instead of an embedded one.")
@click.option("--context", "kube_context", default="", help="Context of the kubeconfig.")
@click.option("--confirm-uid", default="", help="UID of your cluster, to confirm faults on it (doctor prints it).")
@click.option("--storage-class", default="", help="StorageClass of the claims; your cluster's default one otherwise.")
@click.option("--registry", default="", help="Registry prefix of our images (see: steadyset images push).")
@click.option("--image", multiple=True, metavar="NAME=REF", help="Image of the stack instead of ours (repeatable).")
@click.option("--pull-secret", default="", help="Image pull secret, as name or namespace/name.")
@click.option("--seed", type=int, default=0, help="Seed of every random choice; drawn and noted by default.")
@click.option("--users", type=int, default=0, help="Concurrent load users, instead of each test's own number.")
@click.option("--load-shape", type=click.Choice(list(SHAPES)), default=STEADY, show_default=True,
              help="; ".join(f"{name}: {what}" for name, what in SHAPES.items()) + ".")  # fmt: skip
@click.option("--load-seconds", type=float, default=0.0, help="How long each load lasts at least; 600 for a soak.")
@click.option("--load-workers", type=int, default=1, show_default=True, help="Locust processes that share each load.")
@click.option("--workers-in-cluster", type=int, default=0, metavar="N",
              help="Locust workers as a Job in the cluster, beside a master here.")  # fmt: skip
@click.option("--load-web-ui", type=int, default=0, metavar="PORT", help="Locust's own pages on 127.0.0.1:PORT.")
@click.option("--runs", type=click.Path(file_okay=False, path_type=Path), default=Path("runs"), show_default=True)
@click.option("--keep", is_flag=True, help="Leave the stack's namespace as it is at the end.")
@click.option("--keep-cluster/--down", default=True, show_default=True, help="Keep the embedded cluster for next time.")
@click.option("--plan", is_flag=True, help="Print what would be done, test by test, and do nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON on stdout.")
def command(*, runs: Path, keep_cluster: bool, as_json: bool, **given: Any) -> int:
    """Deploy a stack (or take a workload of yours: --target), drive load, run the faults, judge, write the page.

    The first run on a machine builds Kubernetes and takes a quarter of an hour; later runs reuse everything. Exit code:
    0 PASS, 1 FAIL, 3 INVALID, 4 ERROR, 130 interrupted (healed, cleaned, and the run can be rechecked).
    """
    from steadyset.fixtures.session import Options, run_params

    options = Options(
        cluster="kubeconfig" if given["kubeconfig"] or given["kube_context"] else "embedded",
        context=given["kube_context"],
        **{name: given[name] for name in Options.__dataclass_fields__ if name in given},
    )
    if options.target:
        from steadyset.cli.nightly_target import aim

        aim(options, given, keep_cluster=keep_cluster)
    targets = suite_paths(given["suites"])
    faults = fault_names(given["faults"])
    load = options.load()
    if load.web_ui:
        need_port(load.web_ui)
    options.faults = ",".join(faults)
    lacking = check_stack(options.stack, options.variant, options.image)
    if given["plan"]:
        from steadyset.cli.nightly_plan import print_plan

        return print_plan(options, selection(options, targets, faults, controls=given["controls"]), as_json=as_json)
    options.seed = options.seed or int.from_bytes(os.urandom(3)) + 1
    run = RunDir.create(runs.resolve(), {**run_params(options), "controls": given["controls"], "faults": faults})
    say(f"run {run.path}, seed {options.seed}")
    code, info = Verdict.ERROR.exit_code, None
    with interruptible():
        try:
            if lacking:  # every test will say so, and none needs the cluster
                say(f"stack {options.stack} needs an image from elsewhere: --image {lacking[0]}=REF")
            else:
                info = bring_up(options)
                options.cluster_file = info.path
            if info is not None and options.target:
                from steadyset.cli.nightly_target import look

                look(info, options, run, say)
            code = run_suites(pytest_argv(options, run, targets, faults, controls=given["controls"]))
        except KeyboardInterrupt:
            code = INTERRUPTED
            say("interrupted")
        except SteadysetError as error:
            note(run, "error", str(error))
            raise
        finally:
            with uninterrupted():
                left = [*run.params().get("left_behind", []), *clean_up(info, options, keep_cluster=keep_cluster)]
                note(run, "left_behind", left)
                document = write_reports(run)
    show(run, document, as_json=as_json)
    if code == INTERRUPTED:
        return INTERRUPTED
    if left:
        return Verdict.ERROR.exit_code
    return int(document["exit_code"])


def say(text: str) -> None:
    """A line of progress on stderr."""
    click.echo(text, err=True)


def suite_paths(names: str) -> list[str]:
    """Paths of the suites named (comma-separated), or of all; UsageError for an unknown one."""
    base = Path(steadyset.__file__).parent / "suites"
    known = sorted(p.name for p in base.iterdir() if p.is_dir() and any(p.glob("test_*.py")))
    wanted = names_in(names)
    for name in wanted:
        if name not in known:
            raise UsageError(f"no suite is called {name}", expected=f"some of: {', '.join(known)}", seen=name)
    return [str(base.resolve() / name) for name in wanted or known]


def fault_names(names: str) -> list[str]:
    """Full names of the faults given by full or short name ("kill" is pod-kill), and cells of the matrix by theirs.

    UsageError for an unknown one.
    """
    from steadyset.chaos.faults import FAULTS
    from steadyset.fixtures.matrix import ALL_CELLS, CELLS

    cells = (ALL_CELLS, *(cell.name for cell in CELLS))
    found = []
    for name in names_in(names):
        if name in cells:
            found.append(name)
            continue
        matches = [f.name for f in FAULTS if f.name == name] or [f.name for f in FAULTS if f.name.endswith(f"-{name}")]
        if len(matches) != 1:
            known = ", ".join((*(f.name for f in FAULTS), *cells))
            raise UsageError(f"{name} names no single fault", expected=f"some of: {known}", seen=name)
        found += matches
    return found


def check_stack(name: str, variant: str, given_images: Iterable[str] = ()) -> list[str]:
    """UsageError when there is no such stack, variant or image of it; before anything is brought up.

    Returns the images that the stack lacks: with any, it is not tested.
    """
    from steadyset.fixtures.stacks import make_stack

    stack = make_stack(name, given_images)
    variants = stack.variants
    if variant not in variants:
        known = ", ".join(v for v in variants if v) or "none"
        raise UsageError(f"stack {name} has no variant {variant}", expected=f"one of: {known}", seen=variant)
    return stack.lacking_images()


def bring_up(options: Any) -> ClusterInfo:
    """The cluster, with a progress bar on a terminal and lines elsewhere."""
    from steadyset.cli.progress import Bar
    from steadyset.fixtures.session import open_cluster

    started = time.monotonic()
    with Bar() as bar:
        info = open_cluster(options, say, bar)
    say(f"cluster {info.name}: Kubernetes {info.version}, {len(info.nodes)} nodes, {time.monotonic() - started:.1f} s")
    return info


def pytest_argv(options: Any, run: RunDir, targets: list[str], faults: list[str], *, controls: bool) -> list[str]:
    """The pytest command that runs the suites against the cluster."""
    argv = [sys.executable, "-m", "pytest", "-q", "--no-header", "-rs", "--tb=short"]
    argv += ["--run-dir", str(run.path), "--alluredir", str(run.path / "allure-results")]
    for name in ("cluster_file", "seed", "users", "target", "workers_in_cluster", *LOAD):
        if getattr(options, name):
            argv += [f"--{name.replace('_', '-')}", str(getattr(options, name))]
    for image in options.image:
        argv += ["--image", image]
    if options.keep:
        argv.append("--keep")
    return argv + selection(options, targets, faults, controls=controls)


def selection(options: Any, targets: list[str], faults: list[str], *, controls: bool) -> list[str]:
    """pytest's arguments that select the tests."""
    argv = ["-c", os.devnull, "--rootdir", str(Path(targets[0]).parent)]
    argv += ["--import-mode=importlib", "-p", "no:cacheprovider", "--stack", options.stack]
    if options.variant:
        argv += ["--variant", options.variant]
    if faults:
        argv += ["--faults", ",".join(faults)]
    argv += ["-m", "not requirement" if controls else "not requirement and not control"]
    return [*argv, *targets]


def run_suites(argv: list[str], *, workers: bool = False) -> int:
    """Run pytest as a child in a session of its own, output to stderr; an interrupt is passed on and waited for.

    Returns 0, 1 or 130. Raises UsageError when no test fits, InstrumentError when pytest itself broke. With `workers`
    it has some: an interrupt reaches them too, and only the plugins that `argv` names are loaded, since each of them
    would load all that the environment has.
    """
    env = {name: value for name, value in os.environ.items() if name != "PYTEST_ADDOPTS"}
    if workers:
        env["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    argv = [*argv, "--parent", str(os.getpid())]
    child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=sys.stderr, env=env, start_new_session=True)
    try:
        code = child.wait()
    except KeyboardInterrupt:
        _interrupt(child, group=workers)
        return INTERRUPTED
    if code == PYTEST_NO_TESTS:
        raise UsageError("no test fits this stack and these faults", do="leave out --faults or --suite")
    if code == PYTEST_INTERRUPTED:
        return INTERRUPTED
    if code not in (0, 1):
        raise InstrumentError(f"pytest ended with code {code}", expected="0 or 1", do="read its output above")
    return code


def _interrupt(child: subprocess.Popen[bytes], *, group: bool = False) -> None:
    say("interrupted: healing faults and removing the stack; press Ctrl-C again to leave that to `steadyset sweep`")
    if group:
        os.killpg(child.pid, signal.SIGINT)
    else:
        child.send_signal(signal.SIGINT)
    try:
        child.wait(CLEANUP_DEADLINE_S)
        return
    except subprocess.TimeoutExpired:
        say(f"still not cleaned up after {CLEANUP_DEADLINE_S:g} s: giving up on it")
    except KeyboardInterrupt:
        say("giving up on the clean-up")
    child.kill()
    child.wait()


@contextmanager
def interruptible() -> Iterator[None]:
    """SIGTERM and SIGHUP interrupt as Ctrl-C does."""

    def interrupt(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    with _handlers(interrupt, signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        yield


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Signals wait: what cleans up and saves the evidence is short and must end."""

    def later(_number: int, _frame: object) -> None:
        say("cleaning up and writing the report: a moment")

    with _handlers(later, signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        yield


@contextmanager
def _handlers(handler: Callable[[int, Any], None], *numbers: signal.Signals) -> Iterator[None]:
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


def clean_up(info: ClusterInfo | None, options: Any, *, keep_cluster: bool) -> list[str]:
    """Undo faults left behind and, with --down, remove the embedded cluster. Returns what is still not right."""
    if info is None:
        return []
    from steadyset.chaos.sweep import sweep

    left: list[str] = []
    try:
        swept = sweep(info, namespace=namespace_of(options))
        left = [*swept.failed, *swept.left]
        for line in [*swept.undone, *left]:
            say(f"sweep: {line}")
    except SteadysetError as error:
        left = [f"sweep: {error.message}"]
        say(str(error))
    if not keep_cluster and info.provider == "embedded":
        from steadyset.fixtures.clusters import embedded

        say(f"removing cluster {options.cluster_name}")
        embedded.down(options.cluster_name)
    return left


def namespace_of(options: Any) -> str:
    """The namespace that the workload is in."""
    if not options.target:
        return f"steadyset-{options.stack}"
    from steadyset.fixtures.targets import read_document

    return read_document(Path(options.target)).namespace


def note(run: RunDir, name: str, value: Any) -> None:
    """Add a parameter to run.json."""
    run.write_json("run.json", {**run.params(), name: value})


def write_reports(run: RunDir) -> dict[str, Any]:
    """document.json, index.html and junit.xml of the run, from its saved scenarios."""
    from steadyset.reports.publish import publish

    return publish(run)


def show(run: RunDir, document: dict[str, Any], *, as_json: bool) -> None:
    """The verdict table on stdout, or the result as JSON."""
    if as_json:
        result = {
            "run": str(run.path),
            "verdict": document["verdict"],
            "exit_code": document["exit_code"],
            "counts": document["counts"],
            "page": str(run.path / "index.html"),
            "scenarios": [
                {name: scenario[name] for name in ("slug", "verdict", "expected", "seconds", "why")}
                | {"judgements": {j["rule"]: j["verdict"] for j in scenario["judgements"]}}
                for scenario in document["scenarios"]
            ],
            "not_tested": document["not_tested"],
        }
        click.echo(json.dumps(result, indent=1))
        return
    from rich.console import Console

    from steadyset.reports.terminal import print_verdicts

    console = Console(highlight=False, width=None if sys.stdout.isatty() else LOG_COLUMNS)
    print_verdicts(document, console, page=str(run.path / "index.html"))

"""`steadyset nightly --target FILE`: a workload that somebody else deployed, looked at before it is touched."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from steadyset.clusterinfo import ClusterInfo
from steadyset.errors import UsageError
from steadyset.fixtures.session import Options
from steadyset.names import names_in
from steadyset.rundir import RunDir

SUITE = "matrix"
_MEANINGLESS = {
    "variant": "a variant is how we deploy a stack",
    "image": "the images are the target's own",
    "controls": "the negative controls deploy their own stacks",
    "suites": "a target stands the suite matrix alone",
    "storage_class": "the claims are the target's own",
    "registry": "the images are the target's own",
    "pull_secret": "the images are the target's own",
    "keep": "the target stays anyway",
}


def aim(options: Options, given: dict[str, Any], *, keep_cluster: bool) -> None:
    """Read the target's file and fill in what it says: the stack, and the faults unless they are given.

    UsageError for a wrong file, and for an option that means nothing with a target.
    """
    from steadyset.fixtures.targets.document import check_faults, read_document

    for name, why in _MEANINGLESS.items():
        if given[name]:
            option = {"suites": "suite"}.get(name, name.replace("_", "-"))
            raise UsageError(f"--{option} with --target: {why}", do="leave one of them out")
    if not keep_cluster:
        raise UsageError("--down with --target: the target would go with its cluster", do="leave out --down")
    document = read_document(Path(options.target))
    source = click.get_current_context().get_parameter_source("stack")
    if source is click.core.ParameterSource.COMMANDLINE and options.stack != document.stack:
        raise UsageError(
            f"--stack {options.stack} with a target that is {document.stack}", do="leave out --stack: the file says it"
        )
    options.target = str(Path(options.target).resolve())
    options.stack = document.stack
    given["suites"] = SUITE
    if given["faults"]:
        check_faults(names_in(given["faults"]), "--faults")
    given["faults"] = given["faults"] or ",".join(document.faults)


def look(info: ClusterInfo, options: Options, run: RunDir, say: Callable[[str], None]) -> None:
    """See that the target is there, lets us in, and that no fault would be refused; note what it is in run.json.

    UsageError before anything is done to it. (What its account may do is tried on a scratch place, removed at once.)
    """
    from steadyset.fixtures.targets import make_target, preflight, read_document

    target = make_target(read_document(Path(options.target)))
    lacking = preflight.check(info, target, options.faults.split(","))
    say(f"target: {target.name}, StatefulSet {target.statefulset} in namespace {target.namespace}")
    for cell in lacking:
        say(f"not tested: {cell}: cluster {info.name} ({info.provider}) lacks what its fault needs")
    try:
        target.log_in()
    finally:
        target.undeploy()
    say(f"target: every member lets us in; faults: {options.faults}")
    described = {"namespace": target.namespace, "selector": target.document.selector, "objects": target.objects()}
    run.write_json("run.json", {**run.params(), "target": {"file": options.target, **described}})

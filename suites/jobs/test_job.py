"""Jobs: work that is done once, as far as Kubernetes promises it; and where it does not."""

import pytest

from steadyset.chaos.kube import UnreachableError, is_ready
from steadyset.fixtures.conformance.volumes import ask, make_claim, pod_manifest, told

INDEX = "batch.kubernetes.io/job-completion-index"
HELD_S = 20  # longer than a Job waits before it makes up for its first failure, 10 s
CRON_S = 150.0  # named `cron_s`: two ticks of a schedule that ticks each minute


def _template(space, claim="", **spec):
    """A pod template of one probe, which ends when it is told to."""
    manifest = pod_manifest(space, "work", claim=claim, restartPolicy="Never", **spec)
    return {"metadata": manifest["metadata"], "spec": manifest["spec"]}


def _job(space, name="work", claim="", pod=None, **spec):
    template = _template(space, claim, **(pod or {}))
    return space.create({"kind": "Job", "metadata": {"name": name}, "spec": {"template": template, **spec}})


def _workers(space):
    """The pods of the Job that run and serve, by name."""
    found = space.view.all("Pod")
    return {name: pod for name, pod in found.items() if is_ready(pod)}


def _end(space, pod, code=0):
    def told_to_end():
        if not is_ready(space.view.get("Pod", pod)):
            return True
        try:
            space.proxy(pod, f"exit?code={code}", "POST")
        except UnreachableError:
            return False
        return True

    space.until(f"{pod} is told to end", told_to_end)
    space.until(f"{pod} has ended", lambda: pod not in _workers(space))


def _status(space, name="work"):
    return (space.read("Job", name) or {}).get("status") or {}


def _finished(space, kind, name="work"):
    conditions = _status(space, name).get("conditions") or []
    return any(c["type"] == kind and c["status"] == "True" for c in conditions)


@pytest.mark.requirement("JOB-RUN-001", "JOB-RUN-002")
def test_indexed(space, report):
    """Goal: without failures each index of an Indexed Job runs once, no more at a time than its parallelism.

    Method: four completions, two at a time; each pod ends when told to; count pods by index.
    """
    _job(space, completions=4, parallelism=2, completionMode="Indexed")
    done, most = [], 0
    for _ in range(4):
        pod = space.until("a worker serves", lambda: next((n for n in _workers(space) if n not in done), ""))
        most = max(most, len(_workers(space)))
        done.append(pod)
        _end(space, pod)
    space.until("the Job is complete", lambda: _finished(space, "Complete"))
    pods = {record.uid: record.obj for record in space.view.states("Pod")}
    indexes = sorted(pod["metadata"]["annotations"][INDEX] for pod in pods.values())
    report.promise("each index ran once", expected=["0", "1", "2", "3"], seen=indexes)
    report.promise("never more than two at a time", expected=True, seen=most <= 2)
    report.promise("all are counted", expected=4, seen=_status(space).get("succeeded"))


@pytest.mark.requirement("JOB-RUN-003")
def test_failures(space, report):
    """Goal: a Job whose pods fail more often than its backoffLimit fails, and starts no more of them.

    Method: backoffLimit 1; fail both pods.
    """
    _job(space, backoffLimit=1)
    seen = []
    for _ in range(2):
        pod = space.until("a worker serves", lambda: next((n for n in _workers(space) if n not in seen), ""))
        seen.append(pod)
        _end(space, pod, code=1)
    space.until("the Job has failed", lambda: _finished(space, "Failed"))
    pods = {record.uid for record in space.view.states("Pod")}
    report.promise("two pods and no more", expected=2, seen=len(pods))


@pytest.mark.requirement("JOB-ONE-001")
@pytest.mark.tier("full")
@pytest.mark.since("1.34")
@pytest.mark.parametrize("policy", ["Failed", "TerminatingOrFailed"])
def test_replacement(space, report, policy):
    """Goal: with podReplacementPolicy Failed a pod that is being deleted has ended before another one is made.

    Method: delete the only pod, which takes its time to end in its preStop, and then fails; look when a second is made.
    """
    held = {"preStop": {"sleep": {"seconds": HELD_S}}}
    template = _template(space, grace_s=2 * HELD_S, args=("-exit=1",))
    template["spec"]["containers"][0]["lifecycle"] = held
    job = {"template": template, "podReplacementPolicy": policy}
    space.create({"kind": "Job", "metadata": {"name": "work"}, "spec": job})
    first = space.until("a worker serves", lambda: next(iter(_workers(space)), ""))
    space.delete("Pod", first)
    second = space.until("another one is made", lambda: next((n for n in space.view.all("Pod") if n != first), ""))
    made = next(r.t for r in space.view.states("Pod", second))
    ended = [r.t for r in space.view.states("Pod", first) if _ended(r)]
    overlap = not ended or made < ended[0]
    report.promise("two exist at a time", expected=policy != "Failed", seen=overlap)


def _ended(record):
    return record.e == "DELETED" or (record.obj.get("status") or {}).get("phase") in ("Failed", "Succeeded")


@pytest.mark.control
@pytest.mark.requirement("JOB-RUN-001")
def test_work_is_not_done_exactly_once(space, report):
    """Goal: who leans on a Job to do its work exactly once is found out: a pod that is lost after its work runs again.

    Method: one completion, parallelism 1, no failure of the work itself; the pod writes to a volume and is deleted
    before it ends; its replacement writes again. (Kubernetes says so: the same program may sometimes be started twice.)
    A worker that is told to stop ends with 1: with 0 it may be taken for done.
    """
    report.expect("FAIL", rule="promise")
    make_claim(space)
    _job(space, claim="data", pod={"exit_code": 1}, completions=1, parallelism=1)
    seen = []
    for last in (False, True):
        pod = space.until("a worker serves", lambda: next((n for n in _workers(space) if n not in seen), ""))
        seen.append(pod)
        space.until("the work is done", lambda p=pod: space.proxy(p, "append?key=work&value=1", "POST"))
        values = ask(space, pod, "values?key=work")["values"]
        if last:
            report.promise("the work was done once", expected=[1], seen=values)
            _end(space, pod)
        else:
            space.delete("Pod", pod)
    space.until("the Job is complete", lambda: _finished(space, "Complete"))


@pytest.mark.requirement("JOB-CRN-001")
@pytest.mark.tier("full")
@pytest.mark.takes(110)
def test_cron_does_not_overlap(space, report):
    """Goal: with concurrencyPolicy Forbid a CronJob starts no run while its last one is at work.

    Method: a schedule that ticks each minute and a run that does not end; wait for the tick that is skipped.
    """
    spec = {
        "schedule": "* * * * *",
        "concurrencyPolicy": "Forbid",
        "jobTemplate": {"spec": {"template": _template(space)}},
    }
    space.create({"kind": "CronJob", "metadata": {"name": "tick"}, "spec": spec})
    space.until("the first run works", lambda: _workers(space), CRON_S, "cron_s")
    space.until("a tick is skipped", lambda: _skipped(space), CRON_S, "cron_s")
    report.promise("one run and no more", expected=1, seen=len(space.items("Job")))
    report.promise("one pod and no more", expected=1, seen=len({r.uid for r in space.view.states("Pod")}))


def _skipped(space):
    events = space.view.states("Event")
    return any(record.obj.get("reason") == "JobAlreadyActive" for record in events)


@pytest.mark.requirement("JOB-CRN-002")
def test_cron_suspended(space, report):
    """Goal: a suspended CronJob starts nothing, and a run made by hand from it belongs to it.

    Method: create it suspended; make a Job that it owns, as `kubectl create job --from` does; look for others.
    """
    template = _template(space)
    spec = {"schedule": "* * * * *", "suspend": True, "jobTemplate": {"spec": {"template": template}}}
    made = space.create({"kind": "CronJob", "metadata": {"name": "tick"}, "spec": spec})
    owner = {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "name": "tick",
        "uid": made["metadata"]["uid"],
        "controller": True,
    }
    meta = {
        "name": "by-hand",
        "ownerReferences": [owner],
        "annotations": {"cronjob.kubernetes.io/instantiate": "manual"},
    }
    space.create({"kind": "Job", "metadata": meta, "spec": {"template": template}})
    told(space, "tick", "UnexpectedJob")
    pod = space.until("the run works", lambda: next(iter(_workers(space)), ""))
    _end(space, pod)
    space.until("it is complete", lambda: _finished(space, "Complete", "by-hand"))
    report.promise("no other run", expected=["by-hand"], seen=[job["metadata"]["name"] for job in space.items("Job")])

"""`steadyset nightly`: what it refuses before anything is brought up, and what it passes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from click.testing import CliRunner

from steadyset import cli
from steadyset.cli import nightly
from steadyset.errors import InstrumentError, UsageError
from steadyset.fixtures.matrix import CELLS
from steadyset.fixtures.session import Options, run_params
from steadyset.rundir import RunDir

CHILD_LIFE_S = 60.0
INTERRUPT_AFTER_S = 2.0


def test_faults_by_short_name() -> None:
    """`kill` is pod-kill; a name that is no fault's, or several's, is refused with those there are."""
    assert nightly.fault_names("kill, node-drain") == ["pod-kill", "node-drain"]
    assert nightly.fault_names("") == []
    with pytest.raises(UsageError, match="names no single fault") as caught:
        nightly.fault_names("kil")
    assert "pod-kill" in caught.value.expected


def test_suites_by_name() -> None:
    """Every folder of suites/ by default; an unknown one is refused with those there are."""
    names = [Path(path).name for path in nightly.suite_paths("")]
    assert {"identity", "ordering", "failover", "retention", "partition", "negative"} <= set(names)
    assert [Path(path).name for path in nightly.suite_paths("failover,identity")] == ["failover", "identity"]
    with pytest.raises(UsageError, match="no suite is called"):
        nightly.suite_paths("identitty")


def test_an_unknown_stack_or_variant_is_refused_first() -> None:
    """Before a cluster is brought up for it."""
    with pytest.raises(UsageError, match="no stack is called mysql"):
        nightly.check_stack("mysql", "")
    with pytest.raises(UsageError, match="no variant asynk") as caught:
        nightly.check_stack("postgresql", "asynk")
    assert "async" in caught.value.expected


def test_a_stack_without_its_image_is_not_tested(tmp_path: Path) -> None:
    """Nothing is brought up; every test counts as not tested, with the option that would bring the image; INVALID."""
    runs = str(tmp_path / "runs")
    argv = ["nightly", "--stack", "stolon", "--suite", "failover,partition", "--runs", runs, "--json"]
    done = subprocess.run([sys.executable, "-m", "steadyset", *argv], capture_output=True, text=True, check=False)
    assert done.returncode == 3, done.stderr
    result = json.loads(done.stdout)
    assert result["counts"]["scenarios"] == 0
    assert len(result["not_tested"]) == 3
    assert {item["reason"] for item in result["not_tested"]} == {
        "stack stolon needs an image from elsewhere: --image stolon=REF"
    }
    with pytest.raises(UsageError, match="--image stolon"):
        nightly.check_stack("postgresql", "", ["stolon=x"])


def test_what_is_chosen_of_the_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By flag, environment or file, like every other option, and refused before anything is brought up."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "steadyset.toml").write_text('[nightly]\nload-shape = "ramp"\nload-workers = 99\n')
    for argv, env, said in (
        (["--load-workers", "2"], {"STEADYSET_NIGHTLY_LOAD_SHAPE": "wave"}, "'wave' is not one of"),
        ([], {}, "--load-workers 99"),
        (["--load-workers", "2"], {"STEADYSET_NIGHTLY_WORKERS_IN_CLUSTER": "3"}, "--workers-in-cluster with"),
        (["--load-workers", "1", "--load-web-ui", "99999"], {}, "--load-web-ui 99999"),
    ):
        result = CliRunner(env=env).invoke(
            cli.cli, ["nightly", *argv], standalone_mode=False, auto_envvar_prefix="STEADYSET"
        )
        assert said in str(result.exception), result.exception
    assert not (tmp_path / "runs").exists()


def test_the_run_says_how_to_repeat_it(tmp_path: Path) -> None:
    """Seed, parameters, versions and machine are written before anything runs."""
    run = RunDir.create(tmp_path, run_params(Options(stack="probe", seed=7)))
    params = run.params()
    assert (params["seed"], params["stack"]) == (7, "probe")
    assert params["versions"]["steadyset"]
    assert params["host"]["cpus"] > 0


def test_pytest_gets_what_was_asked(tmp_path: Path) -> None:
    """Controls are left out unless asked for; a run with its own folder, seed and faults."""
    run = RunDir.create(tmp_path, {})
    targets = nightly.suite_paths("identity")
    argv = nightly.pytest_argv(Options(stack="probe", seed=7, keep=True), run, targets, ["pod-kill"], controls=False)
    assert argv[argv.index("-m", 3) + 1] == "not requirement and not control"
    assert argv[argv.index("--seed") + 1] == "7"
    assert argv[argv.index("--faults") + 1] == "pod-kill"
    assert "--keep" in argv
    assert "not control" not in nightly.pytest_argv(Options(), run, targets, [], controls=True)


@pytest.mark.parametrize(("code", "ends"), [(0, 0), (1, 1), (2, 130)])
def test_pytests_exit_codes(code: int, ends: int) -> None:
    """Passed, failed, interrupted."""
    assert nightly.run_suites([sys.executable, "-c", f"raise SystemExit({code})"]) == ends


@pytest.mark.parametrize(("code", "error"), [(5, UsageError), (3, InstrumentError), (-9, InstrumentError)])
def test_pytests_own_failures(code: int, error: type[Exception]) -> None:
    """Nothing collected is a matter of the options; a crash is one of the instrument, and neither is a verdict."""
    source = f"import os, signal; os.kill(os.getpid(), {-code})" if code < 0 else f"raise SystemExit({code})"
    with pytest.raises(error):
        nightly.run_suites([sys.executable, "-c", source])


def test_an_interrupt_is_passed_on_and_waited_for(tmp_path: Path) -> None:
    """Ctrl-C: the child is interrupted once, cleans up, and only then does nightly go on."""
    cleaned = tmp_path / "cleaned"
    source = (
        "import signal, pathlib, sys\n"
        "def stop(*_):\n"
        f"    pathlib.Path({str(cleaned)!r}).write_text('once')\n"
        "    sys.exit(2)\n"
        f"signal.signal(signal.SIGINT, stop)\nsignal.alarm({CHILD_LIFE_S:.0f})\nsignal.pause()\n"
    )
    with nightly.interruptible():
        timer = threading.Timer(INTERRUPT_AFTER_S, os.kill, (os.getpid(), signal.SIGTERM))
        timer.start()
        assert nightly.run_suites([sys.executable, "-c", source]) == 130
        timer.join()
    assert cleaned.read_text() == "once"


def test_bad_usage_exits_2_with_the_reason() -> None:
    """No traceback: what was expected, what was seen, what to do."""
    argv = [sys.executable, "-m", "steadyset", "nightly", "--stack", "mysql"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "no stack is called mysql" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_kubeconfig_that_is_not_there_exits_2_and_leaves_a_report(tmp_path: Path) -> None:
    """What fails before there is a cluster still ends with its reason and a page, not with a traceback."""
    argv = [
        sys.executable,
        "-m",
        "steadyset",
        "nightly",
        "--kubeconfig",
        str(tmp_path / "none"),
        "--runs",
        str(tmp_path),
    ]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert f"no kubeconfig at {tmp_path / 'none'}" in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.glob("*/index.html"))


def test_a_crash_is_no_fail(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """An exception that nobody foresaw ends as ERROR: FAIL is a verdict about the cluster."""

    def broken(**_: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(cli.cli, "main", broken)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 4
    assert "steadyset itself broke: RuntimeError: a bug" in capsys.readouterr().err


def test_a_plan_says_what_would_be_done_and_does_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests, faults with how they end, and the quorum; no cluster is brought up and no run is made."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(nightly, "bring_up", lambda options: pytest.fail("a plan brought up a cluster"))
    words = ["--plan", "--stack", "postgresql", "--suite", "failover,partition", "--json"]
    done = CliRunner().invoke(nightly.command, words, catch_exceptions=False)
    plan = json.loads(done.stdout)
    assert {row["suite"] for row in plan["tests"]} == {"failover", "partition"}
    assert {f["fault"] for row in plan["tests"] for f in row["faults"]} >= {
        "pod-kill",
        "node-drain",
        "network-partition",
    }
    assert plan["quorum"].endswith("majority of 2 remains: writes should go on")
    assert not any(row["control"] for row in plan["tests"]) and list(tmp_path.iterdir()) == []
    printed = CliRunner().invoke(nightly.command, words[:-1], catch_exceptions=False).stdout
    assert "network-partition (kernel-expiring); needs pod-network, else not tested" in printed
    with pytest.raises(UsageError, match="no test fits"):
        CliRunner().invoke(
            nightly.command, ["--plan", "--suite", "failover", "--faults", "detach"], catch_exceptions=False
        )


def test_by_default_a_stack_meets_four_faults() -> None:
    """Kill, drain, partition and detach, as on every stack that fails over; the matrix only when it is asked for."""

    def suites(*arguments: str) -> list[str]:
        words = ["--stack", "kafka", "--plan", "--json", *arguments]
        found = CliRunner().invoke(nightly.command, words, catch_exceptions=False)
        return [test["suite"] for test in json.loads(found.stdout)["tests"]]

    assert suites() == ["failover", "failover", "partition", "retention"]
    assert suites("--faults", "matrix") == ["matrix"] * len(CELLS)
    """A cell goes by its own name, `matrix` is all of them, and a typing error lists both kinds."""
    assert nightly.fault_names("kill-all, drain, matrix") == ["kill-all", "node-drain", "matrix"]
    with pytest.raises(UsageError, match="kil-all") as caught:
        nightly.fault_names("kil-all")
    assert "kill-all" in caught.value.expected and "pod-kill" in caught.value.expected

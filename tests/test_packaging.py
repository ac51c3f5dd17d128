"""The distribution holds exactly what the tree holds: five top-level folders become subpackages by symlinks."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LINKED = ("chaos", "fixtures", "load", "reports", "suites")


def tracked() -> list[str]:
    """Names of the files under version control that exist, symlinks included."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout.decode()
    return [name for name in listed.split("\0") if name and (ROOT / name).exists()]


def in_wheel(name: str) -> str:
    """Where a file of the tree lies in the wheel; "" when it does not belong there."""
    top = name.partition("/")[0]
    if top in LINKED:
        return f"steadyset/{name}"
    return name.removeprefix("src/") if name.startswith("src/") else ""


def test_top_level_folders_are_linked() -> None:
    """Each is importable as steadyset.<name>, by a relative symlink, so that a clone can lie anywhere."""
    for name in LINKED:
        link = ROOT / "src" / "steadyset" / name
        assert link.is_symlink()
        assert link.readlink() == Path("../..") / name


@pytest.mark.slow
def test_wheel_holds_the_tree(tmp_path: Path) -> None:
    """A file that packaging drops works in a clone and fails for whoever installs the wheel."""
    for name in tracked():
        (tmp_path / "tree" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, tmp_path / "tree" / name, follow_symlinks=False)
    argv = [sys.executable, "-m", "build", "--wheel", "--installer", "uv", "--outdir", str(tmp_path), "tree"]
    env = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(argv, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        packed = {name for name in wheel.namelist() if ".dist-info/" not in name and not name.endswith("/")}
    linked = {f"src/steadyset/{name}" for name in LINKED}
    expected = {in_wheel(name) for name in tracked() if name not in linked} - {""}
    assert {"dropped": expected - packed, "added": packed - expected} == {"dropped": set(), "added": set()}

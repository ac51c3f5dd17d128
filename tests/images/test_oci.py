"""Image archives: equal inputs give equal bytes, what is in them is what was asked for, builds happen once."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from steadyset.errors import InstrumentError, UsageError
from steadyset.fixtures import images
from steadyset.fixtures.images.oci import ImageConfig, open_archive, write_archive, write_layer
from steadyset.fixtures.images.recipes import run_step
from steadyset.wait import wait_for

START_S = 20.0


def archive(folder: Path, content: bytes = b"\x7fELF", config: ImageConfig | None = None) -> Path:
    folder.mkdir()
    binary, layer, target = folder / "tool", folder / "layer.tar", folder / "image.tar"
    binary.write_bytes(content)
    write_layer(layer, {"/bin/tool": binary})
    write_archive(target, "steadyset.local/tool:1", layer, config or ImageConfig(entrypoint=("/bin/tool",)))
    return target


def test_equal_inputs_give_equal_bytes(tmp_path: Path) -> None:
    """Nothing of the building machine or the time is in an archive."""
    first = archive(tmp_path / "a")
    os.utime(tmp_path / "a" / "tool", (1, 1))
    second = archive(tmp_path / "b")
    assert first.read_bytes() == second.read_bytes()
    assert first.read_bytes() != archive(tmp_path / "c", b"other").read_bytes()


def test_every_blob_has_the_digest_it_is_named_by(tmp_path: Path) -> None:
    """Index, manifest, config and layer refer to each other by content."""
    path = archive(tmp_path / "a", config=ImageConfig(entrypoint=("/bin/tool",), user="7:7", env={"A": "b"}))
    with tarfile.open(path) as tar:
        blobs = [m.name for m in tar.getmembers() if m.name.startswith("blobs/")]
        digests = {
            name.rpartition("/")[2]: hashlib.sha256(tar.extractfile(name).read()).hexdigest()  # type: ignore[union-attr]
            for name in blobs
        }
    assert {name: name for name in digests} == digests
    with open_archive(path) as image:
        config = json.loads(image.read(image.path(image.manifest["config"]["digest"])))
        layer = image.manifest["layers"][0]
        assert image.reference == "steadyset.local/tool:1"
        assert [layer["digest"]] == config["rootfs"]["diff_ids"]
        assert (config["config"]["User"], config["config"]["Env"]) == ("7:7", ["A=b"])
        with tarfile.open(fileobj=image.open(image.path(layer["digest"]))) as content:
            assert content.getnames() == ["bin", "bin/tool"]
            assert content.getmember("bin/tool").mode == 0o755


def test_a_damaged_archive_says_so(tmp_path: Path) -> None:
    """A blob that is missing is named, with what to do."""
    path = archive(tmp_path / "a")
    with open_archive(path) as image, pytest.raises(UsageError, match="has no blobs/sha256/none"):
        image.read("blobs/sha256/none")


def test_a_scratch_image_is_cached_by_content(tmp_path: Path) -> None:
    """The same binary is built once, another one under another file name; both carry the asked-for name."""
    binary = tmp_path / "pause"
    binary.write_bytes(b"one")
    _, first = images.scratch_image("pause", "3.10", binary, cache=tmp_path / "cache")
    before = first.stat().st_mtime_ns
    assert ("steadyset.local/pause:3.10", first) == images.scratch_image("pause", "3.10", binary, cache=first.parent)
    assert before == first.stat().st_mtime_ns
    binary.write_bytes(b"two")
    assert first != images.scratch_image("pause", "3.10", binary, cache=first.parent)[1]
    with pytest.raises(UsageError, match="no binary"):
        images.scratch_image("pause", "3.10", tmp_path / "absent", cache=first.parent)


def test_concurrent_builds_of_one_image_build_once(tmp_path: Path) -> None:
    """Two runners that need the same image wait for one build; no half-built file is ever visible."""
    lines: list[str] = []
    threads = [threading.Thread(target=images.build, args=("probe", tmp_path, lines.append)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum("building" in line for line in lines) == 1, lines
    assert [images.build("probe", tmp_path).name] == [p.name for p in tmp_path.glob("*.tar")]
    assert [p for p in tmp_path.iterdir() if p.is_dir()] == [], "the work folder is left behind"


def test_names_follow_content_and_registry() -> None:
    """The tag changes with the recipe, the prefix is the registry's."""
    assert images.reference("probe").startswith("steadyset.local/probe:1-")
    assert images.reference("probe", "host:5000/team/").startswith("host:5000/team/probe:1-")
    with pytest.raises(UsageError, match="no image is called nope"):
        images.reference("nope")


def test_a_failing_step_shows_the_end_of_its_output() -> None:
    """A build that fails says what the tool said and how to run it by hand."""
    with pytest.raises(InstrumentError, match="exited with 3") as caught:
        run_step(["sh", "-c", "echo broken pipe of dreams; exit 3"], lambda line: None)
    assert "broken pipe of dreams" in caught.value.seen


@pytest.fixture
def containerd(tmp_path: Path) -> Iterator[list[str]]:
    """A private containerd; yields the ctr command that talks to it."""
    if os.geteuid() or not shutil.which("containerd"):
        pytest.skip("needs root and containerd")
    config, socket = tmp_path / "config.toml", tmp_path / "c.sock"
    config.write_text(
        f'version = 2\nroot = "{tmp_path}/root"\nstate = "{tmp_path}/state"\n'
        f'disabled_plugins = ["io.containerd.grpc.v1.cri"]\n[grpc]\naddress = "{socket}"\n'
    )
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(["containerd", "-c", str(config)], stdout=log, stderr=log)
    ctr = ["ctr", "-a", str(socket), "-n", "k8s.io"]
    try:
        wait_for(
            lambda: subprocess.run([*ctr, "version"], capture_output=True, check=False).returncode == 0,
            what="containerd answers",
            deadline_name="START_S",
            deadline_s=START_S,
        )
        yield ctr
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


@pytest.mark.cluster
def test_containerd_imports_and_unpacks_it(containerd: list[str]) -> None:
    """What the nodes' containerd does with an archive: import, unpack, know it by its name."""
    subprocess.run([*containerd, "images", "import", str(images.build("probe"))], check=True, capture_output=True)
    listed = subprocess.run([*containerd, "images", "list", "-q"], check=True, capture_output=True, text=True).stdout
    assert [images.reference("probe")] == listed.split()


def test_a_built_image_is_known_to_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tools of a build are asked for only while its image is not in the cache: this looks where `build` puts it."""
    monkeypatch.setenv("STEADYSET_CACHE_DIR", str(tmp_path))
    assert not images.is_built("kafka")
    archive = tmp_path / "images" / f"kafka-{images.reference('kafka').rpartition('-')[2]}.tar"
    archive.parent.mkdir()
    archive.touch()
    assert images.is_built("kafka")
    assert images.build("kafka") == archive

"""`steadyset images`: build, load and push the images of the reference stacks."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import click

from steadyset.clusterinfo import load_cluster_info
from steadyset.errors import InstrumentError
from steadyset.fixtures import images
from steadyset.fixtures.images.registry import Registry

_CLUSTERS = Path("/var/lib/steadyset/clusters")


def _names(names: tuple[str, ...]) -> list[str]:
    chosen = list(names) or list(images.RECIPES)
    for name in chosen:
        images.recipe(name)
    return chosen


def _print(result: dict[str, str], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(result, indent=1))
    else:
        for reference, where in result.items():
            click.echo(f"{reference}  {where}")


@click.group("images")
def command() -> None:
    """Build, load and push the images of the reference stacks. Without NAME: all of them."""


@command.command("build")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--json", "as_json", is_flag=True, help="Print {image: archive} as JSON.")
def build_command(names: tuple[str, ...], as_json: bool) -> None:
    """Build images into the cache (nothing to do when they are there) and print where they lie."""
    _print({ref: str(path) for ref, path in images.archives(_names(names)).items()}, as_json)


@command.command("load")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--cluster", "cluster", default="default", show_default=True, help="Name of an embedded cluster.")
@click.option("--json", "as_json", is_flag=True, help="Print {image: nodes} as JSON.")
def load_command(names: tuple[str, ...], cluster: str, as_json: bool) -> None:
    """Import images into every running node of an embedded cluster."""
    info = load_cluster_info(_CLUSTERS / cluster / "cluster.json")
    running = [node.name for node in info.nodes if node.pid]
    ctr = str(Path(info.bin_dir) / "ctr") if (Path(info.bin_dir) / "ctr").is_file() else "ctr"
    loaded = {}
    for reference, archive in images.archives(_names(names)).items():
        for node in running:
            click.echo(f"image {reference}: importing on {node} …", err=True)
            with archive.open("rb") as stream:
                done = subprocess.run(
                    info.node_command(node, [ctr, "-n", "k8s.io", "images", "import", "-"]),
                    stdin=stream,
                    capture_output=True,
                    text=True,
                    check=False,
                )
            if done.returncode:
                raise InstrumentError(
                    f"node {node} did not import {reference}", seen=done.stderr.strip(), do="steadyset cluster status"
                )
        loaded[reference] = ",".join(running)
    _print(loaded, as_json)


@command.command("push")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--registry", required=True, metavar="HOST/PATH", help="Where your cluster pulls from.")
@click.option("--username", default="", help="Registry account.")
@click.option("--password-file", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Its password.")
@click.option("--insecure", is_flag=True, help="Plain HTTP instead of HTTPS.")
@click.option("--json", "as_json", is_flag=True, help="Print {image: digest} as JSON.")
def push_command(
    *, names: tuple[str, ...], registry: str, username: str, password_file: Path | None, insecure: bool, as_json: bool
) -> None:
    """Push images to a registry; run suites with the same --registry afterwards."""
    password = password_file.read_text().strip() if password_file else ""
    target = Registry(registry, username=username, password=password, insecure=insecure)
    pushed = {}
    for name in _names(names):
        archive = images.build(name)
        full = images.reference(name, registry)
        click.echo(f"image {full}: pushing …", err=True)
        pushed[full] = target.push(archive, full)
    _print(pushed, as_json)

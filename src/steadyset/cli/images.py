"""`steadyset images`: build, load and push the images of the reference stacks."""

from __future__ import annotations

import json
from pathlib import Path

import click

from steadyset.fixtures import images
from steadyset.fixtures.clusters.embedded import operations
from steadyset.fixtures.clusters.embedded.cluster import Cluster
from steadyset.fixtures.images.registry import Registry


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
@click.argument("names", nargs=-1, metavar="[NAME|ARCHIVE]...")
@click.option(
    "--cluster", "--name", "cluster", default="default", show_default=True, help="Name of an embedded cluster."
)
@click.option("--json", "as_json", is_flag=True, help="Print {image: nodes} as JSON.")
def load_command(names: tuple[str, ...], cluster: str, as_json: bool) -> None:
    """Import images of ours, or any OCI or Docker archive, into every running node of an embedded cluster."""
    target = Cluster.get(cluster)
    files = [name for name in names if Path(name).is_file()]
    ours = [name for name in names if name not in files]
    archives = {str(Path(name).resolve()): Path(name).resolve() for name in files}
    if ours or not files:
        archives |= images.archives(_names(tuple(ours)))
    loaded = {}
    for reference, archive in archives.items():
        click.echo(f"image {reference}: importing …", err=True)
        loaded[reference] = ",".join(operations.load_image(target, archive))
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

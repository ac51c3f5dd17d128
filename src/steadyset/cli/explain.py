"""`steadyset explain`: the promises that the conformance tests cover, in our own words."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

import steadyset


@click.command("explain")
@click.argument("names", nargs=-1, metavar="[ID…]")
@click.option("--json", "as_json", is_flag=True, help="Print the promises as JSON on stdout.")
def command(names: tuple[str, ...], as_json: bool) -> int:
    """Print the promises with these ids or patterns (STS-ORD-*): sentence, source, rules, tests. All without any."""
    from steadyset.requirements import REQUIREMENTS, select
    from steadyset.requirements.reading import by_requirement

    chosen = select(list(names)) if names else [r.id for r in REQUIREMENTS]
    tests = by_requirement(Path(steadyset.__file__).parent / "suites")
    found = [r for r in REQUIREMENTS if r.id in chosen]
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode([{**vars(r), "tests": tests.get(r.id, [])} for r in found])))
        return 0
    if not names:
        for r in found:
            click.echo(f"{r.id:12}{r.text}")
        return 0
    for r in found:
        click.echo(f"{r.id}  {r.text}")
        click.echo(f"  source    {r.source}")
        click.echo(f"  since     Kubernetes {r.since}")
        click.echo(f"  judged by {', '.join(r.rules)}")
        for test in tests.get(r.id, []):
            click.echo(f"  test      {test}")
        if r.open:
            click.echo(f"  open      {r.open}")
    return 0

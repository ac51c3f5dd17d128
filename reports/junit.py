"""JUnit XML for CI: one test case per scenario and rule, so that a CI's page names the promise that broke.

FAIL and INVALID are failures (of that type), ERROR is an error, what was not tested is skipped. A negative control is
one test case: it passes when it failed as it must.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from steadyset.rundir import RunDir

NAME = "junit.xml"
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def render_junit(document: dict[str, Any]) -> str:
    """The document as JUnit XML."""
    suites = ElementTree.Element("testsuites", name="steadyset")
    suite = ElementTree.SubElement(suites, "testsuite", name=_clean(f"steadyset {document['run'].get('stack', '')}"))
    properties = ElementTree.SubElement(suite, "properties")
    run = document["run"]
    cluster = run.get("cluster") or {}
    for name, value in (
        ("run", run.get("id", "")),
        ("verdict", document["verdict"]),
        ("seed", run.get("seed", "")),
        ("stack", run.get("stack", "")),
        ("cluster", cluster.get("name", "")),
        ("kubernetes", cluster.get("version", "")),
        ("profile", cluster.get("profile", "")),
        *((f"version.{name}", version) for name, version in (run.get("versions") or {}).items()),
    ):
        ElementTree.SubElement(properties, "property", name=name, value=_clean(value))
    for scenario in document["scenarios"]:
        _scenario(suite, scenario)
    for item in document["not_tested"]:
        case = ElementTree.SubElement(suite, "testcase", classname="not tested", name=_clean(item["title"]), time="0")
        ElementTree.SubElement(case, "skipped", message=_clean(item["reason"]))
    for name, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        suite.set(name, str(len(suite.findall(f"testcase/{tag}"))))
    suite.set("tests", str(len(suite.findall("testcase"))))
    suite.set("time", f"{document['seconds'] or 0:.3f}")
    if run.get("started"):
        suite.set("timestamp", _clean(run["started"]).removesuffix("Z"))
    for name in ("tests", "failures", "errors", "skipped", "time"):
        suites.set(name, suite.get(name, "0"))
    ElementTree.indent(suites)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(suites, encoding="unicode") + "\n"


def _scenario(suite: ElementTree.Element, scenario: dict[str, Any]) -> None:
    classname = ".".join(filter(None, (scenario["suite"], scenario["stack"], scenario["slug"])))
    took = f"{scenario['took_s'] or scenario['seconds']:.3f}"
    if scenario["expected"]:
        lines = [f"{j['verdict']} {j['rule']}: {j['summary']}" for j in scenario["judgements"]]
        name = f"negative control: must end with {scenario['expected']}"
        _case(suite, classname, name, {**scenario, "summary": scenario["why"], "witness": lines}, took)
        return
    for judgement in scenario["judgements"]:
        case = _case(suite, classname, judgement["rule"], judgement, took)
        if took != "0":
            _properties(case, scenario)
        took = "0"  # the scenario's time counts once
    if scenario["why"] or not scenario["judgements"]:
        _case(suite, classname, "scenario", {**scenario, "summary": scenario["why"], "witness": []}, took)


def _properties(case: ElementTree.Element, scenario: dict[str, Any]) -> None:
    """The promises that a conformance test covers, those that it found broken, and its steps."""
    found = [("requirement", name) for name in scenario["requirements"]]
    found += [("broken", name) for name in scenario["blamed"]]
    found += [("step", f"{step['from']:.2f} to {step['until']:.2f} s: {step['step']}") for step in scenario["steps"]]
    if found:
        properties = ElementTree.Element("properties")
        case.insert(0, properties)
        for name, value in found:
            ElementTree.SubElement(properties, "property", name=name, value=_clean(value))


def _case(
    suite: ElementTree.Element, classname: str, name: str, judged: dict[str, Any], took: str
) -> ElementTree.Element:
    case = ElementTree.SubElement(suite, "testcase", classname=_clean(classname), name=_clean(name), time=took)
    verdict = judged["verdict"]
    if verdict != "PASS":
        tag = "error" if verdict == "ERROR" else "failure"
        found = ElementTree.SubElement(case, tag, type=verdict, message=_clean(judged["summary"]))
        claim = [f"guarantee: {judged['claim']}"] if judged.get("claim") else []
        found.text = _clean("\n".join([*claim, *judged["witness"]]))
    elif judged["witness"]:
        ElementTree.SubElement(case, "system-out").text = _clean("\n".join(judged["witness"]))
    return case


def _clean(value: object) -> str:
    """Text without the characters that XML 1.0 forbids."""
    return _NOT_XML.sub("\ufffd", str(value))


def write_junit(run: RunDir, document: dict[str, Any]) -> Path:
    """Write junit.xml into the run and return its path."""
    path = run.path / NAME
    temporary = path.with_name(f"{NAME}.tmp")
    temporary.write_text(render_junit(document), encoding="utf-8")
    temporary.rename(path)
    return path

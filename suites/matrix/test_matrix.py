"""The matrix: every stack under every fault that it must stand, judged by its own claims."""

import pytest

from steadyset.chaos.faults import FAULTS
from steadyset.fixtures.matrix import CELLS

BY_NAME = {fault.name: fault for fault in FAULTS}
HOLD_S = 15.0  # a fault without a takeover to wait for is held this long, or until a successor is in charge


def marked(cell):
    """A cell as a parameter, with the marks by which it is selected and left out."""
    marks = [pytest.mark.cell(cell.name), pytest.mark.extra()]
    marks += [pytest.mark.fails_over] if cell.peers else []
    marks += [pytest.mark.fault(cell.fault)] if cell.fault else []
    return pytest.param(cell, id=cell.name, marks=marks)


@pytest.mark.parametrize("cell", [marked(cell) for cell in CELLS])
def test_matrix(cell, stack, observer, load, chaos, report):
    """Goal: whatever breaks, the stack keeps what it claims, and is whole again within its deadlines.

    Method: drive load through the Service and by sessions to each member, inject the fault, wait for a successor where
    one must take over, heal, wait for steady state, read everything back.
    """
    report.remember("cell", cell.name)
    takeover = cell.takeover and stack.fails_over
    quiet = {} if cell.replaces else {"replacements_min": 0, "creations_min": 0}
    with load.run() as history:
        report.claims(stack.claims(history.relative, transitions_min=int(takeover)), **quiet, **cell.claims)
        if not cell.fault:
            stack.restart(deadline_s=stack.deadlines.recovery_s)
        else:
            target = stack.primary() if cell.target == "primary" else cell.target
            with chaos.inject(BY_NAME[cell.fault], target, **cell.params):
                if takeover:
                    stack.wait_for_new_epoch(deadline_s=stack.deadlines.failover_s)
                elif not cell.replaces:
                    stack.successor(at_most_s=HOLD_S)
                if cell.steady:
                    stack.wait_for_steady_state(deadline_s=stack.deadlines.recovery_s)
        stack.wait_for_steady_state(deadline_s=stack.deadlines.recovery_s)
        history.wait_for_acknowledged()
        history.read_back()

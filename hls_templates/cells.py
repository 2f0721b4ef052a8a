"""C++ text of the cells of recurrent layers: what one unit computes in one step."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from .cpp_types import integer_type, value_type
from .functions import FunctionText, Statements
from .plan import Plan
from .processes import Cell, RecurrenceProcess


@dataclass(frozen=True)
class StateText:
    """A struct of what a unit keeps: its members' names and types."""

    name: str
    members: Mapping[str, str]


def state_text(plan: Plan, process: RecurrenceProcess) -> StateText:
    """The state of a recurrent layer's unit."""
    members = {f"m{i}": value_type(plan.format(name)) for i, name in enumerate(process.kept)}
    return StateText(f"{process.name}_state", members)


def cell_text(
    plan: Plan, tables: Mapping[str, str], process: RecurrenceProcess, cell: Cell
) -> FunctionText:
    """The struct of a cell."""
    loop, code = process.loop, Statements(plan, tables)
    last = cell is process.cells[-1]
    for i, part in enumerate(loop.parts):
        code.name(part, f"x[{i}]")
    for i, node in enumerate(cell.dense):
        type_ = code.type(node.output)
        code.lines.append(f"const {type_} s{i} = lutra::low_bits<{type_} >(sums[{i}]);")
        code.lines.append(f"lutra::trace<{plan.ids[node.output]}>(s{i});")
        code.name(node.output, f"s{i}")
    made = {node.output for node in (*cell.dense, *cell.nodes)}
    members = {name: f"m{i}" for i, name in enumerate(process.kept)}
    after = {s.before: s.after for s in loop.states if s.before in members} if last else {}
    read = {cell.result, *after.values(), *(name for node in cell.nodes for name in node.inputs)}
    for name, member in members.items():
        if name in read and name not in made:
            code.lines.append(f"const {code.type(name)} {member} = kept.{member};")
            code.name(name, member)
    for node in cell.nodes:
        code.add(node)
    leaves = after if last else {name: name for name in members if name in made}
    code.lines += [f"kept.{members[name]} = {code.read(value)};" for name, value in leaves.items()]
    code.lines.append(f"return {code.read(cell.result)};")
    types = {"in": code.type(loop.parts[0]), "acc": integer_type(cell.acc)}
    used = "\n".join(code.lines)
    x = "x" if re.search(r"\bx\[", used) else ""
    kept = "kept" if "kept." in used else ""
    parameters = (
        f"const in (&{x})[{len(loop.parts)}], const acc (&sums)[{len(cell.dense)}], "
        f"{process.name}_state& {kept}".rstrip()
    )
    out = code.type(cell.result)
    return FunctionText(cell.name, types, out, parameters, tuple(code.lines))

"""Where a file spells out in several nodes what we have one op for.

An idiom is found by what its nodes compute: their ops, how they are joined, and their constants.
They are translated as one op where that can be done, and else one by one.  Either way the function
is the same; what changes is its precision in fixed point, and its cost.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Set
from dataclasses import dataclass

from .nodes import Nodes
from .pattern import Bound, Search
from .table import IDIOMS, Idiom


@dataclass(frozen=True)
class Found:
    """An idiom in a file.

    Attributes:
        idiom: which one.
        bound: what the names in its pattern stand for.
        nodes: the indices of its nodes, in order.
        rank: how many axes ``x`` has at least, as its numbers may have some of size 1.
    """

    idiom: Idiom
    bound: Mapping[str, Bound]
    nodes: tuple[int, ...]
    rank: int

    @property
    def inputs(self) -> tuple[str, ...]:
        """The names of the values that the one op reads; empty where it has no such input."""
        return tuple(str(self.bound[name]) if name else "" for name in self.idiom.inputs)


def find_idioms(nodes: Nodes) -> dict[int, Found]:
    """The idioms in a file, by the index of the node that gives their result.

    No node is in two of them.  Values within an idiom are read nowhere else, and are no outputs,
    but that several may share a node that scales or shifts by a number.
    """
    found: dict[int, Found] = {}
    if not nodes.sound:
        return found
    taken: set[int] = set()
    search = Search(nodes)
    for root in reversed(range(len(nodes.nodes))):
        here = _found(search, root, taken) if root not in taken else None
        if here is not None:
            taken.update(here.nodes)
            found[root] = here
    return found


def _found(search: Search, root: int, taken: Set[int]) -> Found | None:
    """The first idiom whose result the node ``root`` gives."""
    nodes = search.nodes
    output = nodes.result(root)
    if output is None:
        return None
    op = nodes.nodes[root].op_type
    for idiom in _BY_OP.get(op, ()):
        for match in search.matches(idiom.pattern, output):
            if all(nodes.nodes[index].op_type in _CLEAR for index in match.nodes):
                continue
            if not taken.isdisjoint(match.nodes) or not idiom.holds(match.bound):
                continue
            within = nodes.removable(match.nodes, root)
            if within is not None:
                used = within.union(nodes.aliases(within, root))
                return Found(idiom, match.bound, tuple(sorted(used)), nodes.rank(match.nodes))
    return None


_CLEAR = ("Clip", "Relu")
"""Nodes that say by themselves what they mean; an idiom has others."""


def _by_op() -> dict[str, list[Idiom]]:
    """The idioms whose result a node of each op may give."""
    found: dict[str, list[Idiom]] = defaultdict(list)
    for idiom in IDIOMS:
        for op in idiom.pattern.roots:
            found[op].append(idiom)
    return dict(found)


_BY_OP = _by_op()

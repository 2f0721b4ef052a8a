"""LSTM: a recurrent layer whose memory cell is guarded by gates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .base import Array, Pullback, Shape, expect
from .recurrent import collect, gradients, infer_states, merge, spread, unroll


@dataclass(frozen=True, eq=False)
class _Run:
    """What a run through all steps leaves behind, in the order in which they were worked on.

    Attributes:
        blocks: what each step read, ``(T + 1, H + n + 1, batch)``.
        gates: input, output and forget gate and cell candidate, ``(T, 4, H, batch)``.
        cells: memory before each step and behind the last, ``(T + 1, H, batch)``.
        bent: tanh of the memory after each step, ``(T, H, batch)``.
    """

    blocks: Array
    gates: Array
    cells: Array
    bent: Array


@dataclass(frozen=True)
class Lstm:
    """Long short-term memory without peepholes, as ONNX defines it, from zeros.

    With ``i, o, f = sigmoid`` and ``g = tanh`` of their columns of ``x_t · W + h_(t-1) · R + b``::

        c_t = f · c_(t-1) + i · g
        h_t = o · tanh(c_t)

    x ``(T, n)``, W ``(n, 4H)``, R ``(H, 4H)``, b ``(4H,)``; columns: input gate, output gate,
    forget gate, cell candidate.  The result is ``h`` after each step, ``(T, H)``, or with ``last``
    after the step that is worked on last, ``(H,)``.  With ``reverse`` steps are worked on from the
    last to the first; each state keeps the time of its step.  With ``memory``, which needs
    ``last``, the result is ``c`` instead.
    """

    reverse: bool = False
    last: bool = False
    memory: bool = False

    def infer(self, *shapes: Shape) -> Shape:
        expect(
            self.last or not self.memory,
            "an LSTM gives its memory after the last step alone",
            found="every step",
            expected="last",
        )
        return infer_states("an LSTM", 4, self.last, shapes)

    def forward(self, *inputs: Array) -> Array:
        return self._result(self._run(*inputs))

    def _result(self, run: _Run) -> Array:
        states = run.cells[1:] if self.memory else run.blocks[1:, : run.bent.shape[1]]
        return collect(states, self.reverse, self.last)

    def _run(self, x: Array, w: Array, r: Array, b: Array) -> _Run:
        hidden, batch, length = len(r), *x.shape[:2]
        blocks = unroll(x, hidden, self.reverse, np.result_type(x, w, r, b))
        gates = np.empty((length, 4, hidden, batch), blocks.dtype)
        cells = np.zeros((length + 1, hidden, batch), blocks.dtype)
        bent = np.empty((length, hidden, batch), blocks.dtype)
        share = np.empty((hidden, batch), blocks.dtype)
        matrix = merge(w, r, b)
        matrix[:, : 3 * hidden] *= 0.5  # sigmoid(s) = (1 + tanh(s / 2)) / 2: one tanh for all
        for t in range(length):
            sums = gates[t].reshape(4 * hidden, batch)
            np.matmul(matrix.T, blocks[t], out=sums)
            np.tanh(sums, out=sums)
            opening = sums[: 3 * hidden]
            opening *= 0.5
            opening += 0.5
            enter, leave, keep, candidate = gates[t]
            np.multiply(enter, candidate, out=share)
            np.multiply(keep, cells[t], out=cells[t + 1])
            cells[t + 1] += share
            np.tanh(cells[t + 1], out=bent[t])
            np.multiply(leave, bent[t], out=blocks[t + 1, :hidden])
        return _Run(blocks, gates, cells, bent)

    def vjp(self, needs: Sequence[bool], *inputs: Array) -> tuple[Array, Pullback]:
        run = self._run(*inputs)

        def pullback(grad: Array) -> tuple[Array | None, ...]:
            sums = self._back(run, inputs[2], grad)
            return gradients(needs, inputs, run.blocks, sums, self.reverse)

        return self._result(run), pullback

    def _back(self, run: _Run, r: Array, grad: Array) -> Array:
        """Gradient of ``x_t · W + h_(t-1) · R + b`` for each step, ``(T, 4H, batch)``."""
        length, _, hidden, batch = run.gates.shape
        slopes = _slopes(run)  # which the gradients take the place of, step by step
        into_cell = run.bent * run.bent
        np.subtract(1, into_cell, out=into_cell)
        into_cell *= run.gates[:, 1]
        states = spread(grad, length, self.reverse, self.last)
        cell = np.zeros((hidden, batch), run.gates.dtype)
        if self.memory:
            cell, states[-1] = states[-1].copy(), 0
        for t in range(length - 1, -1, -1):
            parts, state = slopes[t], states[t]
            parts[1] *= state
            state *= into_cell[t]
            cell += state
            parts[0] *= cell
            parts[2:] *= cell
            if t:
                cell *= run.gates[t, 2]
                states[t - 1] += r @ parts.reshape(4 * hidden, batch)
        return slopes.reshape(length, 4 * hidden, batch)

    def internals(self, *inputs: Array) -> dict[str, Array]:
        """Values inside, ``(batch, T, H)`` in time.

        ``input_gate``, ``output_gate``, ``forget_gate`` and ``candidate`` before their functions,
        ``cell`` and ``hidden``.
        """
        _, w, r, b = inputs
        run = self._run(*inputs)
        sums = np.matmul(merge(w, r, b).T, run.blocks[:-1]).reshape(run.gates.shape)
        values = {
            "input_gate": sums[:, 0],
            "output_gate": sums[:, 1],
            "forget_gate": sums[:, 2],
            "candidate": sums[:, 3],
            "cell": run.cells[1:],
            "hidden": run.blocks[1:, : len(r)],
        }
        return {name: collect(value, self.reverse) for name, value in values.items()}


def _slopes(run: _Run) -> Array:
    """What each gate's sum changes: its state for the output gate, else its memory.

    ``(T, 4, H, batch)``, from ``sigmoid' = s · (1 - s)`` and ``tanh' = 1 - t²``.
    """
    enter, _, _, candidate = run.gates.swapaxes(0, 1)
    slopes = run.gates * run.gates
    np.subtract(run.gates[:, :3], slopes[:, :3], out=slopes[:, :3])
    np.subtract(1, slopes[:, 3], out=slopes[:, 3])
    slopes[:, 0] *= candidate
    slopes[:, 1] *= run.bent
    slopes[:, 2] *= run.cells[:-1]
    slopes[:, 3] *= enter
    return slopes

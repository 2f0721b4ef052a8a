"""GRU: a recurrent layer that mixes its state with a candidate, in both of its forms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .base import Array, Pullback, Shape, expect
from .recurrent import collect, infer_states, merge, product_gradient, spread, unroll


@dataclass(frozen=True, eq=False)
class _Run:
    """What a run through all steps leaves behind, in the order in which they were worked on.

    Attributes:
        blocks: what each step read, ``(T + 1, H + n + 1, batch)``.
        parts: update gate, reset gate and what the candidate recalls of the state (its product
            with the recurrent weight, or the state behind the reset gate), ``(T, 3, H, batch)``.
        candidates: ``(T, H, batch)``.
    """

    blocks: Array
    parts: Array
    candidates: Array


@dataclass(frozen=True)
class Gru:
    """Gated recurrent unit as ONNX defines it, from a state of zeros.

    With ``z, r = sigmoid`` of their columns of ``x_t · W + h · R + b``, where h is the state
    before the step, and ``_n`` for the columns of the candidate::

        n = tanh(x_t · W_n + b_n + r · (h · R_n + recurrent bias))    if reset_after
        n = tanh(x_t · W_n + b_n + (r · h) · R_n)                     otherwise
        h_t = (1 - z) · n + z · h

    ``reset_after`` is ONNX's ``linear_before_reset = 1``.

    x ``(T, n)``, W ``(n, 3H)``, R ``(H, 3H)``, b ``(3H,)``; columns: update gate, reset gate,
    candidate; and, if ``reset_after``, the candidate's recurrent bias ``(H,)``.  The result is
    the state after each step, ``(T, H)``, or with ``last`` after the step that is worked on last,
    ``(H,)``.  With ``reverse`` steps are worked on from the last to the first; each state keeps
    the time of its step.
    """

    reset_after: bool = True
    reverse: bool = False
    last: bool = False

    def infer(self, *shapes: Shape) -> Shape:
        if not self.reset_after:
            return infer_states("a GRU that resets before", 3, self.last, shapes)
        expect(
            len(shapes) == 5,
            "a GRU that resets after has the wrong number of inputs",
            found=len(shapes),
            expected="5: a sequence, its weight, the recurrent weight, a bias and a recurrent bias",
        )
        states = infer_states("a GRU that resets after", 3, self.last, shapes[:4])
        expect(
            shapes[4] == states[-1:],
            "the recurrent bias of a GRU that resets after does not fit",
            found=shapes[4],
            expected=states[-1:],
        )
        return states

    def forward(self, *inputs: Array) -> Array:
        return self._result(self._run(*inputs))

    def _result(self, run: _Run) -> Array:
        return collect(run.blocks[1:, : run.parts.shape[2]], self.reverse, self.last)

    def _merge(self, w: Array, r: Array, b: Array, *recurrent: Array) -> tuple[Array, Array]:
        """What a step's block is multiplied by, and the candidate's weights for the features.

        The first has the columns of the gates and, if ``reset_after``, of what the candidate
        recalls, which sees no features.  The second has rows for the features and the bias.
        """
        gates = slice(0, 2 * len(r))
        ahead = np.concatenate([w[:, gates.stop :], b[np.newaxis, gates.stop :]])
        if not recurrent:
            return merge(w[:, gates], r[:, gates], b[gates]), ahead
        blind = np.zeros((len(w), len(r)), w.dtype)
        matrix = merge(
            np.concatenate([w[:, gates], blind], axis=1), r, np.concatenate([b[gates], *recurrent])
        )
        return matrix, ahead

    def _run(self, x: Array, w: Array, r: Array, b: Array, *recurrent: Array) -> _Run:
        hidden, batch, length = len(r), *x.shape[:2]
        blocks = unroll(x, hidden, self.reverse, np.result_type(x, w, r, b, *recurrent))
        parts = np.empty((length, 3, hidden, batch), blocks.dtype)
        matrix, ahead = self._merge(w, r, b, *recurrent)
        matrix[:, : 2 * hidden] *= 0.5  # sigmoid(s) = (1 + tanh(s / 2)) / 2
        candidates = np.matmul(ahead.T, blocks[:-1, hidden:])
        back = r[:, 2 * hidden :].T
        for t in range(length):
            sums = parts[t].reshape(3 * hidden, batch)
            np.matmul(matrix.T, blocks[t], out=sums[: matrix.shape[1]])
            gates = sums[: 2 * hidden]
            np.tanh(gates, out=gates)
            gates *= 0.5
            gates += 0.5
            before, after, candidate = blocks[t, :hidden], blocks[t + 1, :hidden], candidates[t]
            update, reset, recalled = parts[t]
            if self.reset_after:
                candidate += reset * recalled
            else:
                np.multiply(reset, before, out=recalled)
                candidate += back @ recalled
            np.tanh(candidate, out=candidate)
            np.subtract(before, candidate, out=after)
            after *= update
            after += candidate
        return _Run(blocks, parts, candidates)

    def vjp(self, needs: Sequence[bool], *inputs: Array) -> tuple[Array, Pullback]:
        run = self._run(*inputs)

        def pullback(grad: Array) -> tuple[Array | None, ...]:
            sums, candidates = self._back(run, inputs[2], grad)
            dx = self._input_gradient(inputs[1], sums, candidates) if needs[0] else None
            if not any(needs[1:]):
                return dx, *(None for _ in inputs[1:])
            return dx, *self._weight_gradients(run, sums, candidates)

        return self._result(run), pullback

    def _back(self, run: _Run, r: Array, grad: Array) -> tuple[Array, Array]:
        """Gradients of the two products of each step, of which :meth:`_merge` gives the weights.

        ``(T, 2H or 3H, batch)`` and ``(T, H, batch)``.
        """
        slopes, candidates = self._slopes(run)  # which the gradients take the place of
        length, kinds, hidden, batch = slopes.shape
        columns = kinds * hidden
        gradients = slopes.reshape(length, columns, batch)
        states = spread(grad, length, self.reverse, self.last)
        for t in range(length - 1, -1, -1):
            state, (update, reset, _) = states[t], run.parts[t]
            candidates[t] *= state
            if self.reset_after:
                slopes[t] *= state
            else:
                slopes[t, 0] *= state
                recalled = r[:, columns:] @ candidates[t]
                slopes[t, 1] *= recalled
                recalled *= reset
            if t:
                state *= update
                states[t - 1] += state
                states[t - 1] += r[:, :columns] @ gradients[t]
                if not self.reset_after:
                    states[t - 1] += recalled
        return gradients, candidates

    def _slopes(self, run: _Run) -> tuple[Array, Array]:
        """What each sum changes: the state, or for the early reset gate what is recalled.

        From ``sigmoid' = s · (1 - s)`` and ``tanh' = 1 - t²``; shaped as the sums.
        """
        update, reset, recalled = run.parts.swapaxes(0, 1)
        before = run.blocks[:-1, : run.parts.shape[2]]
        candidates = run.candidates * run.candidates
        np.subtract(1, candidates, out=candidates)
        candidates *= 1 - update
        slopes = np.empty_like(run.parts if self.reset_after else run.parts[:, :2])
        gates = run.parts[:, :2]
        np.multiply(gates, gates, out=slopes[:, :2])
        np.subtract(gates, slopes[:, :2], out=slopes[:, :2])
        slopes[:, 0] *= before - run.candidates
        if self.reset_after:
            slopes[:, 1] *= recalled
            slopes[:, 1] *= candidates
            np.multiply(candidates, reset, out=slopes[:, 2])
        else:
            slopes[:, 1] *= before
        return slopes, candidates

    def _input_gradient(self, w: Array, sums: Array, candidates: Array) -> Array:
        gates = 2 * candidates.shape[1]
        steps = np.matmul(w[:, :gates], sums[:, :gates])
        steps += np.matmul(w[:, gates:], candidates)
        return collect(steps, self.reverse)

    def _weight_gradients(self, run: _Run, sums: Array, candidates: Array) -> tuple[Array, ...]:
        """Gradients of W, R, b and, if ``reset_after``, the recurrent bias."""
        hidden = candidates.shape[1]
        gates = 2 * hidden
        matrix = product_gradient(run.blocks[:-1], sums)
        ahead = product_gradient(run.blocks[:-1, hidden:], candidates)
        dw = np.concatenate([matrix[hidden:-1, :gates], ahead[:-1]], axis=1)
        db = np.concatenate([matrix[-1, :gates], ahead[-1]])
        if self.reset_after:
            return dw, matrix[:hidden], db, matrix[-1, gates:]
        back = product_gradient(run.parts[:, 2], candidates)
        return dw, np.concatenate([matrix[:hidden], back], axis=1), db

    def internals(self, *inputs: Array) -> dict[str, Array]:
        """Values inside, ``(batch, T, H)`` in time.

        ``update_gate``, ``reset_gate`` and ``candidate`` before their functions, ``hidden``, and
        ``recurrent_candidate``, that is ``h · R_n + recurrent bias``, or ``reset_hidden``, that
        is ``r · h``.
        """
        run = self._run(*inputs)
        _, _, r, *_ = inputs
        hidden = len(r)
        matrix, ahead = self._merge(*inputs[1:])
        sums = np.matmul(matrix.T, run.blocks[:-1])
        reset, recalled = run.parts[:, 1], run.parts[:, 2]
        share = reset * recalled if self.reset_after else r[:, 2 * hidden :].T @ recalled
        values = {
            "update_gate": sums[:, :hidden],
            "reset_gate": sums[:, hidden : 2 * hidden],
            "candidate": np.matmul(ahead.T, run.blocks[:-1, hidden:]) + share,
            "hidden": run.blocks[1:, :hidden],
            "recurrent_candidate" if self.reset_after else "reset_hidden": recalled,
        }
        return {name: collect(value, self.reverse) for name, value in values.items()}

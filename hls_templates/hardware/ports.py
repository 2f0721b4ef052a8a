"""What the ports of a design take, beside its processes: what Vitis HLS puts around the C++.

Sources: two movers between memory and a stream in a public design made by FINN with Vitis HLS and
Vivado, each with an adaptor of 32 or 64 bits and control registers, take 938 and 1149 LUTs, 1439
and 1602 flip-flops and a block RAM of 18 Kbit after synthesis; a report of Vitis HLS 2020.1 gives
1223, 1055 and 34 for one of 512 bits.
"""

from __future__ import annotations

import math

from ..plan import Plan
from .figures import Resources
from .operators import Bill
from .parts import Target

ADDRESS = 64
"""Bits of an address in memory."""


def port_resources(plan: Plan, target: Target) -> Resources:
    """What is around the processes of a design: nothing with plain FIFO ports, which are wires;
    register slices with AXI4-Stream; adaptors to memory, loops that fill their bursts, and control
    registers with ports to memory."""
    bill = Bill(target)
    if plan.bus is None:
        return bill.total()
    bits = plan.bus.bits
    for _ in (*plan.inputs, *plan.outputs):
        if plan.bus.kind == "axis":
            # A word, a bit a byte for each of two marks, and the last one's; two places for each.
            marked = bits + bits // 4 + 1
            bill.registers(marked, 2 * marked, 3 * marked + 20)
            bill.logic(6, 10 + marked / 2, 60 + marked)
            continue
        bill.logic(500, 800 + bits, 2000 + 3 * bits)
        bill.registers(600, 1200 + 2 * bits, 2500 + 6 * bits)
        bill.blocks(math.ceil(bits / 72), math.ceil(bits / 36), 2 * math.ceil(bits / 36) + 4)
        bill.fifo(bits, 2)
    if plan.bus.kind == "m_axi":
        # Two addresses, a number of frames, and what starts and stops.
        held = 2 * ADDRESS + 32
        bill.logic(60, held, 3 * held)
        bill.registers(held, 2 * held, 4 * held)
    return bill.total()

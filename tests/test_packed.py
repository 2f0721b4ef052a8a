"""Two products in one multiplication: every pair of operands against single products."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from lutra.sim.toolchain import compile_cpp, find_headers, run_program

PROGRAM = """
#include <cstdio>
#include "lutra/multiply.h"

// Counts the wrong ones among all values of `shared`, and those of the others that are next to
// each `STEP`-th value.
template <typename A, typename B, int STEP>
int check() {
    int wrong = 0;
    for (int low = 0; low < (1 << B::width); ++low) {
        for (int high = low % STEP; high < (1 << B::width); high += STEP) {
            B others[2] = {lutra::from_raw<B>(low), lutra::from_raw<B>(high)};
            for (int i = 0; i < (1 << A::width); ++i) {
                A shared = lutra::from_raw<A>(i);
                decltype(shared * others[0]) products[2];
                lutra::multiply_packed::of(shared, others, products);
                wrong += products[0] != shared * others[0] || products[1] != shared * others[1];
            }
        }
    }
    return wrong;
}

template <int A, int B, int STEP>
int signs() {
    return check<ap_fixed<A, 2>, ap_fixed<B, B>, STEP>() +
           check<ap_ufixed<A, 3>, ap_fixed<B, B>, STEP>() +
           check<ap_fixed<A, 2>, ap_ufixed<B, B>, STEP>() +
           check<ap_ufixed<A, 0>, ap_ufixed<B, 1>, STEP>();
}

int main() {
    printf("%d %d %d %d\\n", signs<4, 4, 1>(), signs<1, 5, 1>(), signs<5, 1, 1>(),
           signs<8, 8, STEP_OF_8>());
    return 0;
}
"""


def test_packed_products_are_the_single_ones(tmp_path: Path) -> None:
    """Narrow operands in all their values; of 8 bits each value of two with every sixteenth of the
    third, whose offset changes with the others."""
    (tmp_path / "packed.cpp").write_text(PROGRAM)
    package = resources.files("lutra.hls_templates") / "include"
    with resources.as_file(package) as include:
        compile_cpp(
            [tmp_path / "packed.cpp"],
            tmp_path / "packed",
            headers=find_headers(),
            flags=["-O2", "-DSTEP_OF_8=16", f"-I{include}"],
            cwd=tmp_path,
        )
    done = run_program([str(tmp_path / "packed")], tmp_path)
    assert done.stdout.split() == ["0"] * 4

// Grouped convolutions behind a sliding window; depthwise ones have groups of one channel.
#ifndef LUTRA_GROUPED_H
#define LUTRA_GROUPED_H

#include <ap_fixed.h>
#include <ap_int.h>
#include <hls_stream.h>

#include "fixed.h"
#include "keep.h"
#include "multiply.h"
#include "trace.h"

namespace lutra {

// For each of `positions` windows of `taps` vectors: out = post(weights * window + bias), where
// `outputs` results of each group depend on the group's `inputs` channels alone.
//   Config: id, positions, taps, groups, inputs, outputs (of one group), simd (inputs a cycle), pe
//           (outputs a cycle), across (groups a cycle: 1, unless simd is inputs and pe is outputs),
//           types in, weight, acc, multiply (see multiply.h), post.
//   in has across * simd lanes, out across * pe.
//   weights: a row for each tap, beat of a tap, and group of pe outputs, in this order: across * pe
//            * simd values, the simd values of one output side by side; bias: a row of across * pe
//            values for each beat of a result.
// As the window arrives tap by tap, the sums of all outputs grow together: one row a cycle.
// Partial sums are kept modulo 2^width, as in dense().
// Interval 1: the sums of a group grow in `running` while its part of a tap arrives, and come back
// after PARTS iterations; between its taps they wait in `waiting`, for all groups' part of a tap
// but the own (DISTANCE).  Each is registers or a memory (keep.h).
template <typename Config, int ROWS, int WORDS, int SUMS, int BIAS_WORDS>
void grouped(hls::stream<ap_uint<Config::across * Config::simd * Config::in::width> >& in,
             hls::stream<ap_uint<Config::across * Config::pe * Config::post::out::width> >& out,
             const word_t (&weights)[ROWS][WORDS], const word_t (&bias)[SUMS][BIAS_WORDS]) {
    typedef typename Config::acc acc_t;
    static const int X_BITS = Config::simd * Config::in::width;
    static const int W_BITS = Config::pe * Config::simd * Config::weight::width;
    static const int RESULTS = Config::across * Config::pe;
    static const int PARTS = Config::outputs / Config::pe;
    static const int FOLDS = Config::inputs / Config::simd;
    static const int GROUPS = Config::groups / Config::across;
    static_assert(FOLDS * Config::simd == Config::inputs, "simd divides a group's inputs");
    static_assert(PARTS * Config::pe == Config::outputs, "pe divides a group's outputs");
    static_assert(GROUPS * Config::across == Config::groups, "across divides the groups");
    static_assert(Config::across == 1 || (FOLDS == 1 && PARTS == 1), "only whole groups at a time");
    static_assert(SUMS == GROUPS * PARTS, "a row of biases for each beat of a result");
    static_assert(ROWS == Config::taps * GROUPS * FOLDS * PARTS, "a row of weights a cycle");
#pragma HLS ARRAY_RESHAPE variable=weights type=complete dim=2
#pragma HLS ARRAY_RESHAPE variable=bias type=complete dim=2

    static const int DISTANCE = ((GROUPS - 1) * FOLDS + 1) * PARTS;
    static const bool NEAR = PARTS <= NEAREST;
    static const bool SOON = DISTANCE <= NEAREST;
    typedef ap_uint<RESULTS * acc_t::width> sums_t;
    sums_t running_registers[NEAR ? PARTS : 1];
#pragma HLS ARRAY_PARTITION variable=running_registers type=complete dim=1
    sums_t running_memory[NEAR ? 1 : PARTS];
    sums_t waiting_registers[SOON ? SUMS : 1];
#pragma HLS ARRAY_PARTITION variable=waiting_registers type=complete dim=1
    sums_t waiting_memory[SOON ? 1 : SUMS];
    ap_uint<Config::across * Config::simd * Config::in::width> x = 0;

    int tap = 0;
    int group = 0;
    int fold = 0;
    int part = 0;
    int row = 0;
    for (int i = 0; i < Config::positions * ROWS; ++i) {
#pragma HLS PIPELINE II=1 style=flp
#pragma HLS DEPENDENCE variable=running_memory type=inter direction=RAW distance=16 dependent=true
#pragma HLS DEPENDENCE variable=waiting_memory type=inter direction=RAW distance=16 dependent=true
        if (part == 0) {
            x = in.read();
        }
        int sum = group * PARTS + part;
        bool complete = tap == Config::taps - 1 && fold == FOLDS - 1;
        ap_uint<RESULTS * Config::simd * Config::weight::width> w =
            unpack<RESULTS * Config::simd * Config::weight::width>(weights[row]);
        sums_t before = unpack<RESULTS * acc_t::width>(bias[sum]);
        if (fold != 0) {
            before = recall<NEAR>(running_registers, running_memory, part);
        } else if (tap != 0) {
            before = recall<SOON>(waiting_registers, waiting_memory, sum);
        }
        sums_t after;
        ap_uint<RESULTS * Config::post::out::width> y;
        for (int a = 0; a < Config::across; ++a) {
#pragma HLS UNROLL
            ap_uint<X_BITS> group_x = x.range((a + 1) * X_BITS - 1, a * X_BITS);
            ap_uint<W_BITS> group_w = w.range((a + 1) * W_BITS - 1, a * W_BITS);
            acc_t sums[Config::pe];
#pragma HLS ARRAY_PARTITION variable=sums type=complete dim=1
            sums_of_products<typename Config::multiply, typename Config::in,
                             typename Config::weight, acc_t, Config::pe,
                             Config::simd>::of(group_x, group_w, sums);
            for (int p = 0; p < Config::pe; ++p) {
#pragma HLS UNROLL
                acc_t total = lane<acc_t>(before, a * Config::pe + p) + sums[p];
                set_lane(after, a * Config::pe + p, total);
                if (complete) {
                    trace<Config::id>(total);
                    set_lane(y, a * Config::pe + p, Config::post::apply(total));
                }
            }
        }
        if (fold < FOLDS - 1) {
            keep<NEAR>(running_registers, running_memory, part, after);
        } else {
            keep<SOON>(waiting_registers, waiting_memory, sum, after);
        }
        if (complete) {
            out.write(y);
        }
        row = row == ROWS - 1 ? 0 : row + 1;
        if (part < PARTS - 1) {
            ++part;
        } else {
            part = 0;
            if (fold < FOLDS - 1) {
                ++fold;
            } else {
                fold = 0;
                if (group < GROUPS - 1) {
                    ++group;
                } else {
                    group = 0;
                    tap = tap == Config::taps - 1 ? 0 : tap + 1;
                }
            }
        }
    }
}

}  // namespace lutra

#endif

// Grouped convolutions behind a sliding window; depthwise ones have groups of one channel.
#ifndef LUTRA_GROUPED_H
#define LUTRA_GROUPED_H

#include <ap_fixed.h>
#include <ap_int.h>
#include <hls_stream.h>

#include "fixed.h"
#include "trace.h"

namespace lutra {

// For each of `positions` windows of `taps` vectors: out = post(weights * window + bias), where
// `outputs` results of each group depend on the group's `inputs` channels alone.
//   Config: id, positions, taps, groups, inputs, outputs (of one group), simd (inputs a cycle), pe
//           (outputs a cycle), across (groups a cycle: 1, unless simd is inputs and pe is outputs),
//           types in, weight, acc, post.
//   in has across * simd lanes, out across * pe.
//   weights: a row for each tap, beat of a tap, and group of pe outputs, in this order: across * pe
//            * simd values, the simd values of one output side by side; bias: a row of across * pe
//            values for each beat of a result.
// As the window arrives tap by tap, the sums of all outputs grow together: one row a cycle.
// Partial sums are kept modulo 2^width, as in dense().
template <typename Config, int ROWS, int WORDS, int SUMS, int BIAS_WORDS>
void grouped(hls::stream<ap_uint<Config::across * Config::simd * Config::in::width> >& in,
             hls::stream<ap_uint<Config::across * Config::pe * Config::post::out::width> >& out,
             const word_t (&weights)[ROWS][WORDS], const word_t (&bias)[SUMS][BIAS_WORDS]) {
    typedef typename Config::acc acc_t;
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

    acc_t acc[SUMS][RESULTS];
#pragma HLS ARRAY_PARTITION variable=acc type=complete dim=0
    ap_uint<Config::across * Config::simd * Config::in::width> x = 0;

    int tap = 0;
    int group = 0;
    int fold = 0;
    int part = 0;
    int row = 0;
    for (int i = 0; i < Config::positions * ROWS; ++i) {
#pragma HLS PIPELINE II=1 style=flp
        if (part == 0) {
            x = in.read();
        }
        int sum = group * PARTS + part;
        bool first = tap == 0 && fold == 0;
        bool complete = tap == Config::taps - 1 && fold == FOLDS - 1;
        ap_uint<RESULTS * Config::simd * Config::weight::width> w =
            unpack<RESULTS * Config::simd * Config::weight::width>(weights[row]);
        ap_uint<RESULTS * acc_t::width> b = unpack<RESULTS * acc_t::width>(bias[sum]);
        ap_uint<RESULTS * Config::post::out::width> y;
        for (int r = 0; r < RESULTS; ++r) {
#pragma HLS UNROLL
            acc_t products[Config::simd];
#pragma HLS ARRAY_PARTITION variable=products type=complete dim=1
            for (int s = 0; s < Config::simd; ++s) {
#pragma HLS UNROLL
                products[s] =
                    lane<typename Config::in>(x, r / Config::pe * Config::simd + s) *
                    lane<typename Config::weight>(w, r * Config::simd + s);
            }
            acc_t start = lane<acc_t>(b, r);
            if (!first) {
                start = acc[sum][r];
            }
            acc_t total = start + sum_tree<acc_t, Config::simd>::of(products, 0);
            acc[sum][r] = total;
            if (complete) {
                trace<Config::id>(total);
                set_lane(y, r, Config::post::apply(total));
            }
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

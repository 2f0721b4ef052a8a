// Reduction of windows, channel by channel: max pooling, sums for average pooling, row sums.
#ifndef LUTRA_POOL_H
#define LUTRA_POOL_H

#include <ap_fixed.h>
#include <ap_int.h>
#include <hls_stream.h>

#include "elementwise.h"
#include "fixed.h"
#include "keep.h"
#include "trace.h"

namespace lutra {

// The larger of the values.
struct maximum {
    template <typename Acc, typename In>
    static Acc merge(const Acc& best, const In& value) {
#pragma HLS INLINE
        Acc result = best;
        if (value > best) {
            result = value;
        }
        return result;
    }
};

// The sum of the values; Acc holds it exactly.
struct sum {
    template <typename Acc, typename In>
    static Acc merge(const Acc& total, const In& value) {
#pragma HLS INLINE
        Acc result = total + value;
        return result;
    }
};

// For each of `positions` windows of `window` vectors: out = post(reduction of the window).
//   Config: id, positions, window, channels, pe (channels a cycle), types in, acc, reduce, post.
// Interval 1: a result comes back after FOLDS iterations, from registers or a memory (keep.h).
template <typename Config>
void pool(hls::stream<ap_uint<Config::pe * Config::in::width> >& in,
          hls::stream<ap_uint<Config::pe * Config::post::out::width> >& out) {
    typedef typename Config::acc acc_t;
    static const int FOLDS = Config::channels / Config::pe;
    static_assert(FOLDS * Config::pe == Config::channels, "pe divides the channels");

    static const bool NEAR = FOLDS <= NEAREST;
    typedef ap_uint<Config::pe * acc_t::width> results_t;
    results_t registers[NEAR ? FOLDS : 1];
#pragma HLS ARRAY_PARTITION variable=registers type=complete dim=1
    results_t memory[NEAR ? 1 : FOLDS];

    int fold = 0;
    int tap = 0;
    for (int i = 0; i < Config::positions * Config::window * FOLDS; ++i) {
#pragma HLS PIPELINE II=1 style=flp
#pragma HLS DEPENDENCE variable=memory type=inter direction=RAW distance=16 dependent=true
        ap_uint<Config::pe * Config::in::width> x = in.read();
        results_t before = 0;
        if (tap != 0) {
            before = recall<NEAR>(registers, memory, fold);
        }
        results_t after;
        ap_uint<Config::pe * Config::post::out::width> y;
        for (int p = 0; p < Config::pe; ++p) {
#pragma HLS UNROLL
            typename Config::in value = lane<typename Config::in>(x, p);
            acc_t merged = value;
            if (tap != 0) {
                merged = Config::reduce::merge(lane<acc_t>(before, p), value);
            }
            set_lane(after, p, merged);
            if (tap == Config::window - 1) {
                trace<Config::id>(merged);
                set_lane(y, p, Config::post::apply(merged));
            }
        }
        keep<NEAR>(registers, memory, fold, after);
        if (tap == Config::window - 1) {
            out.write(y);
        }
        if (fold < FOLDS - 1) {
            ++fold;
        } else {
            fold = 0;
            tap = tap == Config::window - 1 ? 0 : tap + 1;
        }
    }
}

}  // namespace lutra

#endif

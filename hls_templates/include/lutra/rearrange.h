// A frame in another order: transposed, sliced, reversed, padded, repeated, spread out.
#ifndef LUTRA_REARRANGE_H
#define LUTRA_REARRANGE_H

#include <ap_fixed.h>
#include <ap_int.h>
#include <hls_stream.h>

#include "fixed.h"
#include "trace.h"

namespace lutra {

// One axis of the result.  Index i stands for the position START + STEP * i; the index along the
// source axis, of LIMIT indices that lie STRIDE beats apart, is the position divided by DIVISOR,
// rounded down.  Outside of the source axis stands the fill; if SPARSE, also at positions that
// DIVISOR does not divide.
// Nothing is divided: quotient and remainder are kept up to date by additions.
template <int SIZE, int START, int STEP, int DIVISOR, int LIMIT, bool SPARSE, int STRIDE>
struct axis {
    static constexpr int floor_of(int position) {
        return position >= 0 ? position / DIVISOR : -((DIVISOR - 1 - position) / DIVISOR);
    }
    static const int FIRST = floor_of(START);
    static const int FIRST_REST = START - FIRST * DIVISOR;
    static const int MORE = floor_of(STEP);
    static const int MORE_REST = STEP - MORE * DIVISOR;

    int index;
    int quotient;
    int rest;
    int offset;  // quotient * STRIDE

    void start() {
#pragma HLS INLINE
        index = 0;
        quotient = FIRST;
        rest = FIRST_REST;
        offset = FIRST * STRIDE;
    }
    bool inside() const {
#pragma HLS INLINE
        return quotient >= 0 && quotient < LIMIT && !(SPARSE && rest != 0);
    }
    // The next index; true if there is none, and the axis starts again.
    bool advance() {
#pragma HLS INLINE
        if (index == SIZE - 1) {
            start();
            return true;
        }
        ++index;
        if (rest + MORE_REST >= DIVISOR) {
            rest += MORE_REST - DIVISOR;
            quotient += MORE + 1;
            offset += (MORE + 1) * STRIDE;
        } else {
            rest += MORE_REST;
            quotient += MORE;
            offset += MORE * STRIDE;
        }
        return false;
    }
};

// All axes of the result, the outermost first.
template <typename Axis, typename... Inner>
struct axes {
    static const int BEATS = axes<Axis>::BEATS * axes<Inner...>::BEATS;
    axes<Axis> outer;
    axes<Inner...> inner;

    void start() {
#pragma HLS INLINE
        outer.start();
        inner.start();
    }
    bool inside() const {
#pragma HLS INLINE
        return outer.inside() && inner.inside();
    }
    int address() const {
#pragma HLS INLINE
        return outer.address() + inner.address();
    }
    bool advance() {
#pragma HLS INLINE
        bool over = false;
        if (inner.advance()) {
            over = outer.advance();
        }
        return over;
    }
};

template <int SIZE, int START, int STEP, int DIVISOR, int LIMIT, bool SPARSE, int STRIDE>
struct axes<axis<SIZE, START, STEP, DIVISOR, LIMIT, SPARSE, STRIDE> > {
    static const int BEATS = SIZE;
    axis<SIZE, START, STEP, DIVISOR, LIMIT, SPARSE, STRIDE> only;

    void start() {
#pragma HLS INLINE
        only.start();
    }
    bool inside() const {
#pragma HLS INLINE
        return only.inside();
    }
    int address() const {
#pragma HLS INLINE
        return only.offset;
    }
    bool advance() {
#pragma HLS INLINE
        return only.advance();
    }
};

// For each index of the result, in order: out = post(the frame's value there, or the fill).
//   Config: id, in_beats (of a frame), lanes, axes (one axis<> for each axis of the result, in
//           beats: with more than one lane the last axis is the source's), lead (beats that arrive
//           before the first one leaves: so many that one a cycle can do both from then on), fill
//           (raw value), types in, value (holds those of `in` and the fill exactly), post.
// The frame is kept.  One beat in and one out a cycle.
// Interval 1: what is written comes from the stream, never from the frame, so that reading only has
// to follow writing; the offsets are sums of constants.
template <typename Config>
void rearrange(hls::stream<ap_uint<Config::lanes * Config::in::width> >& in,
               hls::stream<ap_uint<Config::lanes * Config::post::out::width> >& out) {
    typedef ap_uint<Config::lanes * Config::in::width> beat_t;
    static const int END = Config::lead + Config::axes::BEATS;
    static const int STEPS = END > Config::in_beats ? END : Config::in_beats;

    beat_t frame[Config::in_beats];
    typename Config::axes place;
    place.start();
    for (int i = 0; i < STEPS; ++i) {
#pragma HLS PIPELINE II=1 style=flp
        if (i < Config::in_beats) {
            beat_t arrived = in.read();
            frame[i] = arrived;
        }
        if (i >= Config::lead && i < END) {
            beat_t x = 0;
            bool inside = place.inside();
            if (inside) {
                x = frame[place.address()];
            }
            ap_uint<Config::lanes * Config::post::out::width> y;
            for (int p = 0; p < Config::lanes; ++p) {
#pragma HLS UNROLL
                typename Config::value value = from_raw<typename Config::value>(Config::fill);
                if (inside) {
                    value = lane<typename Config::in>(x, p);
                }
                trace<Config::id>(value);
                set_lane(y, p, Config::post::apply(value));
            }
            out.write(y);
            place.advance();
        }
    }
}

}  // namespace lutra

#endif

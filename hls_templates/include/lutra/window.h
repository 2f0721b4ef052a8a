// Sliding window over an image that arrives row by row, channels last.
#ifndef LUTRA_WINDOW_H
#define LUTRA_WINDOW_H

#include <ap_int.h>
#include <hls_stream.h>

#include "fixed.h"

namespace lutra {

// For each output position, row by row, the kernel's values in the order (row, column, channel).
//   Config: type in, lanes, channels, height, width, kernel_h, kernel_w, stride_h, stride_w,
//           dilation_h, dilation_w (distance of the kernel's neighbouring rows and columns),
//           pad_top, pad_left, out_h, out_w, fill (raw value of the padding).
// The rows from the first to the last that a window needs, and stride_h more, are kept; while the
// windows of one output row leave, the rows that the next one needs arrive.  One value group in and
// one out a cycle.
template <typename Config>
void sliding_window(hls::stream<ap_uint<Config::lanes * Config::in::width> >& in,
                    hls::stream<ap_uint<Config::lanes * Config::in::width> >& out) {
    typedef ap_uint<Config::lanes * Config::in::width> beat_t;
    static const int FOLDS = Config::channels / Config::lanes;
    static_assert(FOLDS * Config::lanes == Config::channels, "lanes divide the channels");
    static const int ROW = Config::width * FOLDS;
    static const int REACH_H = (Config::kernel_h - 1) * Config::dilation_h + 1;
    static const int REACH_W = (Config::kernel_w - 1) * Config::dilation_w + 1;
    static const int SLOTS = REACH_H + Config::stride_h;
    static const int FIRST = REACH_H - Config::pad_top;
    static const int PREFETCH = FIRST < 0 ? 0 : FIRST > Config::height ? Config::height : FIRST;
    static const int EMIT = Config::out_w * Config::kernel_h * Config::kernel_w * FOLDS;
    static const int FETCH = Config::stride_h * ROW;
    static const int STEPS = EMIT > FETCH ? EMIT : FETCH;

    beat_t rows[SLOTS][ROW];
    beat_t padding;
    for (int i = 0; i < Config::lanes; ++i) {
#pragma HLS UNROLL
        set_lane(padding, i, from_raw<typename Config::in>(Config::fill));
    }

    int slot_in = 0;   // where the next input row goes
    int col_in = 0;    // beat within that row
    int rows_in = 0;   // rows complete
    for (int i = 0; i < PREFETCH * ROW; ++i) {
#pragma HLS PIPELINE II=1 style=flp
        beat_t arrived = in.read();
        rows[slot_in][col_in] = arrived;
        if (col_in == ROW - 1) {
            col_in = 0;
            ++rows_in;
            slot_in = slot_in == SLOTS - 1 ? 0 : slot_in + 1;
        } else {
            ++col_in;
        }
    }

    int top = -Config::pad_top;                               // image row of the window's first row
    int slot_top = (SLOTS - Config::pad_top % SLOTS) % SLOTS;  // where that row is kept
    int needed = FIRST + Config::stride_h;                    // rows for the next output row
    for (int oh = 0; oh < Config::out_h; ++oh) {
        int limit = needed;
        if (oh == Config::out_h - 1 || needed > Config::height) {
            limit = Config::height;
        }
        int left = -Config::pad_left;
        int kh = 0;  // distance from the window's first row and column
        int kw = 0;
        int fold = 0;
        for (int i = 0; i < STEPS; ++i) {
#pragma HLS PIPELINE II=1 style=flp
#pragma HLS DEPENDENCE variable=rows type=inter dependent=false
            if (i < FETCH && rows_in < limit) {
                beat_t arrived = in.read();
                rows[slot_in][col_in] = arrived;
                if (col_in == ROW - 1) {
                    col_in = 0;
                    ++rows_in;
                    slot_in = slot_in == SLOTS - 1 ? 0 : slot_in + 1;
                } else {
                    ++col_in;
                }
            }
            if (i < EMIT) {
                int y = top + kh;
                int x = left + kw;
                int slot = slot_top + kh >= SLOTS ? slot_top + kh - SLOTS : slot_top + kh;
                beat_t value = padding;
                if (y >= 0 && y < Config::height && x >= 0 && x < Config::width) {
                    value = rows[slot][x * FOLDS + fold];
                }
                out.write(value);
                if (fold < FOLDS - 1) {
                    ++fold;
                } else {
                    fold = 0;
                    if (kw < REACH_W - 1) {
                        kw += Config::dilation_w;
                    } else {
                        kw = 0;
                        if (kh < REACH_H - 1) {
                            kh += Config::dilation_h;
                        } else {
                            kh = 0;
                            left += Config::stride_w;
                        }
                    }
                }
            }
        }
        top += Config::stride_h;
        needed += Config::stride_h;
        slot_top = slot_top + Config::stride_h >= SLOTS ? slot_top + Config::stride_h - SLOTS
                                                        : slot_top + Config::stride_h;
    }
}

}  // namespace lutra

#endif

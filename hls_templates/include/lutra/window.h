// Sliding window over an image that arrives row by row, channels last.
#ifndef LUTRA_WINDOW_H
#define LUTRA_WINDOW_H

#include <ap_int.h>
#include <hls_stream.h>

#include "fixed.h"

namespace lutra {

// A place along one axis of an image whose neighbours lie in BANKS memories in turns: the memory,
// and where in it, in steps of UNIT; at LIMIT it starts again from 0, unless LIMIT is 0.
// Steps are constants once loops are unrolled, so that nothing is divided in hardware.
template <int BANKS, int UNIT, int LIMIT>
struct banked {
    int bank;
    int address;

    banked plus(int step) const {
#pragma HLS INLINE
        int turns = step / BANKS;
        if (LIMIT != 0) {
            turns %= LIMIT == 0 ? 1 : LIMIT / UNIT;
        }
        banked next;
        next.bank = bank + step % BANKS;
        next.address = address + turns * UNIT;
        if (next.bank >= BANKS) {
            next.bank -= BANKS;
            next.address += UNIT;
        }
        if (LIMIT != 0 && next.address >= LIMIT) {
            next.address -= LIMIT;
        }
        return next;
    }
};

// For each output position, row by row, the kernel's values in the order (row, column, channel).
//   Config: type in, lanes (values of a beat that arrives), group_h, group_w (rows and columns of
//           the kernel that leave together, as lanes of one beat; if several, lanes is channels),
//           channels, height, width, kernel_h, kernel_w, stride_h, stride_w, dilation_h,
//           dilation_w (distance of the kernel's neighbouring rows and columns), pad_top, pad_left,
//           out_h, out_w, fill (raw value of the padding),
//           lead, slots (rows kept in each bank), row_banks, column_banks: see windows.py.
//
// Time: one loop.  In each iteration at most one beat arrives and one leaves.  First `lead` beats
// arrive; then, for each row of windows, both run side by side at an even pace, so that the rows
// for the next windows have arrived when these have left.  Neither ever waits for the other: a call
// takes lead and, for each row of windows, what arrives or what leaves, whichever is more.
//
// Memory: neighbouring rows and columns lie in different banks in turns, so that what leaves
// together comes out of different banks.  A bank is read once and one of them is written once an
// iteration: two ports.  A row is overwritten when the last window has left it behind; what is read
// was written at least 4 iterations before, which is `GAP` in windows.py and what the pragma says.
template <typename Config>
void sliding_window(
    hls::stream<ap_uint<Config::lanes * Config::in::width> >& in,
    hls::stream<ap_uint<Config::group_h * Config::group_w * Config::lanes * Config::in::width> >&
        out) {
    typedef ap_uint<Config::lanes * Config::in::width> beat_t;
    static const int BITS = Config::lanes * Config::in::width;
    static const int ROWS = Config::group_h;
    static const int COLUMNS = Config::group_w;
    static const int ROW_BANKS = Config::row_banks;
    static const int COLUMN_BANKS = Config::column_banks;
    static const int FOLDS = Config::channels / Config::lanes;
    static const int ROW_GROUPS = Config::kernel_h / ROWS;
    static const int COLUMN_GROUPS = Config::kernel_w / COLUMNS;
    static_assert(FOLDS * Config::lanes == Config::channels, "lanes divide the channels");
    static_assert(ROW_GROUPS * ROWS == Config::kernel_h, "groups divide the kernel's rows");
    static_assert(COLUMN_GROUPS * COLUMNS == Config::kernel_w, "groups divide the columns");
    static_assert(ROWS * COLUMNS == 1 || FOLDS == 1, "several taps only with all their channels");
    static const int BEATS = Config::height * Config::width * FOLDS;
    static const int FETCH = Config::stride_h * Config::width * FOLDS;
    static const int EMIT = Config::out_w * ROW_GROUPS * COLUMN_GROUPS * FOLDS;
    static const int STEPS = EMIT > FETCH ? EMIT : FETCH;
    static const int PACE = EMIT > FETCH ? FETCH : EMIT;
    static const int LEAD = Config::lead > 0 ? Config::lead : 0;
    // Columns are counted from the first padded one, less the whole turns of banks in the padding.
    static const int SKIPPED = Config::pad_left / COLUMN_BANKS * FOLDS;
    static const int SPARE = Config::pad_left % COLUMN_BANKS;
    static const int PITCH = ((Config::width - 1 + SPARE) / COLUMN_BANKS + 1) * FOLDS;
    static const int WORDS = Config::slots * PITCH;
    typedef banked<ROW_BANKS, PITCH, WORDS> row_place;
    typedef banked<COLUMN_BANKS, FOLDS, 0> column_place;

    beat_t kept[ROW_BANKS * COLUMN_BANKS][WORDS];
#pragma HLS ARRAY_PARTITION variable=kept type=complete dim=1
    beat_t padding;
    for (int i = 0; i < Config::lanes; ++i) {
#pragma HLS UNROLL
        set_lane(padding, i, from_raw<typename Config::in>(Config::fill));
    }

    const row_place origin_row = {0, 0};
    const column_place origin_column = {0, -SKIPPED};
    // Where the next beat goes.
    int turn = Config::lead > 0 ? 0 : Config::lead;
    row_place row_in = origin_row.plus(Config::pad_top);
    const column_place first_column = {SPARE, 0};
    column_place column_in = first_column;
    int x_in = 0;
    int fold_in = 0;
    // The first row and column of the windows, of this window, and of the group that leaves: as
    // coordinates of the image and as places.
    int top = -Config::pad_top;
    int left = -Config::pad_left;
    int y = top;
    int x = left;
    row_place top_row = origin_row;
    row_place row = origin_row;
    column_place left_column = origin_column;
    column_place column = origin_column;
    int window = 0;
    int row_group = 0;
    int column_group = 0;
    int fold = 0;
    int pace = 0;
    for (int i = 0; i < LEAD + Config::out_h * STEPS; ++i) {
#pragma HLS PIPELINE II=1 style=flp
#pragma HLS DEPENDENCE variable=kept type=inter direction=RAW distance=4 dependent=true
        bool leading = i < LEAD;
        bool due = false;
        if (!leading) {
            pace += PACE;
            if (pace >= STEPS) {
                pace -= STEPS;
                due = true;
            }
        }
        if (leading || FETCH == STEPS || due) {
            if (turn >= 0 && turn < BEATS) {
                beat_t arrived = in.read();
                kept[row_in.bank * COLUMN_BANKS + column_in.bank]
                    [row_in.address + column_in.address + fold_in] = arrived;
                if (fold_in < FOLDS - 1) {
                    ++fold_in;
                } else {
                    fold_in = 0;
                    if (x_in < Config::width - 1) {
                        ++x_in;
                        column_in = column_in.plus(1);
                    } else {
                        x_in = 0;
                        column_in = first_column;
                        row_in = row_in.plus(1);
                    }
                }
            }
            ++turn;
        }
        if (!leading && (EMIT == STEPS || due)) {
            // Which tap each bank holds, if any, and where.
            row_place rows[ROWS];
#pragma HLS ARRAY_PARTITION variable=rows type=complete dim=1
            bool row_inside[ROWS];
#pragma HLS ARRAY_PARTITION variable=row_inside type=complete dim=1
            int row_address[ROW_BANKS];
#pragma HLS ARRAY_PARTITION variable=row_address type=complete dim=1
            for (int b = 0; b < ROW_BANKS; ++b) {
#pragma HLS UNROLL
                row_address[b] = 0;
            }
            for (int r = 0; r < ROWS; ++r) {
#pragma HLS UNROLL
                int at = y + r * Config::dilation_h;
                row_inside[r] = at >= 0 && at < Config::height;
                rows[r] = row.plus(r * Config::dilation_h);
                row_address[rows[r].bank] = rows[r].address;
            }
            column_place columns[COLUMNS];
#pragma HLS ARRAY_PARTITION variable=columns type=complete dim=1
            bool column_inside[COLUMNS];
#pragma HLS ARRAY_PARTITION variable=column_inside type=complete dim=1
            int column_address[COLUMN_BANKS];
#pragma HLS ARRAY_PARTITION variable=column_address type=complete dim=1
            for (int b = 0; b < COLUMN_BANKS; ++b) {
#pragma HLS UNROLL
                column_address[b] = 0;
            }
            for (int c = 0; c < COLUMNS; ++c) {
#pragma HLS UNROLL
                int at = x + c * Config::dilation_w;
                column_inside[c] = at >= 0 && at < Config::width;
                columns[c] = column.plus(c * Config::dilation_w);
                if (column_inside[c]) {
                    column_address[columns[c].bank] = columns[c].address;
                }
            }
            beat_t words[ROW_BANKS][COLUMN_BANKS];
#pragma HLS ARRAY_PARTITION variable=words type=complete dim=0
            for (int r = 0; r < ROW_BANKS; ++r) {
#pragma HLS UNROLL
                for (int c = 0; c < COLUMN_BANKS; ++c) {
#pragma HLS UNROLL
                    words[r][c] =
                        kept[r * COLUMN_BANKS + c][row_address[r] + column_address[c] + fold];
                }
            }
            ap_uint<ROWS * COLUMNS * BITS> beat;
            for (int r = 0; r < ROWS; ++r) {
#pragma HLS UNROLL
                for (int c = 0; c < COLUMNS; ++c) {
#pragma HLS UNROLL
                    beat_t value = words[rows[r].bank][columns[c].bank];
                    if (!row_inside[r] || !column_inside[c]) {
                        value = padding;
                    }
                    beat.range((r * COLUMNS + c + 1) * BITS - 1, (r * COLUMNS + c) * BITS) = value;
                }
            }
            out.write(beat);
            // The next group, window, or row of windows.
            if (fold < FOLDS - 1) {
                ++fold;
            } else {
                fold = 0;
                if (column_group < COLUMN_GROUPS - 1) {
                    ++column_group;
                    x += COLUMNS * Config::dilation_w;
                    column = column.plus(COLUMNS * Config::dilation_w);
                } else {
                    column_group = 0;
                    if (row_group < ROW_GROUPS - 1) {
                        ++row_group;
                        y += ROWS * Config::dilation_h;
                        row = row.plus(ROWS * Config::dilation_h);
                    } else {
                        row_group = 0;
                        if (window < Config::out_w - 1) {
                            ++window;
                            left += Config::stride_w;
                            left_column = left_column.plus(Config::stride_w);
                        } else {
                            window = 0;
                            left = -Config::pad_left;
                            left_column = origin_column;
                            top += Config::stride_h;
                            top_row = top_row.plus(Config::stride_h);
                        }
                        y = top;
                        row = top_row;
                    }
                    x = left;
                    column = left_column;
                }
            }
        }
    }
}

}  // namespace lutra

#endif

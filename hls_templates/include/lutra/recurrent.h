// Recurrent layers: a loop over time whose state stays inside one process.
//
// A frame is x (steps, parts * units), and a step has `units` values of everything:
//     sums = Dense of hidden;  hidden = cell(x, sums, state)                        recurrent
//     sums = Dense of hidden;  operand = first_cell(x, sums, state)
//     sums = Dense of operand; hidden = second_cell(x, sums, state)                 recurrent_two
// `hidden` is the layer's result.  It and the state are zero when a frame starts.
//
// A cell computes one unit of one step, in straight-line code:
//     typedef ... out;
//     static out apply(const in (&x)[parts], const acc (&sums)[count], state& kept);
// It traces what the network names, the sums included: units in order, steps in the order of
// processing.  So if `reverse`, the trace of each value of the body runs from the last time to the
// first, and its reader flips it; what leaves the process is in the order of time all the same.
// state is a struct, with `static state zero()`, of what a unit keeps: its value of each state of
// the layer, hidden included where the cell reads it, and what first_cell leaves to second_cell.
//
// A group is some Dense, units to units, of the same operand.  They may differ in the fractions of
// weights and sums, so their arithmetic is on raw integers, and the cell gives each sum its type:
//     ap_fixed<17, 6> v3 = lutra::low_bits<ap_fixed<17, 6> >(sums[0]);
//   group: count (of Dense), pe and simd (outputs and inputs of one a cycle), types in (width and
//          sign of the operand), weight (of all weights), acc (of all sums and biases), each an
//          ap_fixed<W, W> or ap_ufixed<W, W>, and multiply (see multiply.h).
// Weights and biases have rows as in dense(): all of the first Dense, then all of the second, with
// zeros for the bias of one that has none.
//
// Interval 1: in the loop of the sums one addition an iteration comes back to each, in registers;
// operand and x are only read there or come from the stream.  In the loop of the cells every unit
// has its own element of states, and what the next step reads is written before that step begins.
#ifndef LUTRA_RECURRENT_H
#define LUTRA_RECURRENT_H

#include <ap_fixed.h>
#include <ap_int.h>
#include <hls_stream.h>

#include "fixed.h"
#include "multiply.h"

namespace lutra {

// The low bits of `value` as a value of type T.
template <typename T, typename From>
T low_bits(const From& value) {
#pragma HLS INLINE
    static_assert(T::width <= From::width, "a value has all the bits that are asked of it");
    ap_uint<T::width> bits = value.range(T::width - 1, 0);
    T result;
    result.range(T::width - 1, 0) = bits;
    return result;
}

// How a recurrent layer keeps x: the beats of one step, or of the whole frame if it is read
// backwards, each part apart.
template <typename Config>
struct recurrent_input {
    typedef ap_uint<Config::lanes * Config::in::width> beat;
    static const int FOLDS = Config::units / Config::lanes;
    static const int KEPT = Config::reverse ? Config::steps * FOLDS : FOLDS;
    static const int STEP = Config::parts * FOLDS;
    static const int BEFORE = Config::reverse ? Config::steps * STEP : 0;  // beats read beforehand
    static const int MEANWHILE = Config::reverse ? 0 : STEP;               // beats read in each step
    static const int WAITING = Config::reverse && !Config::last ? Config::steps * FOLDS : 1;
};

// How a recurrent layer keeps the operand of a group of Dense, and its sums.
template <typename Config, typename Group>
struct recurrent_words {
    typedef ap_uint<Group::simd * Group::in::width> operand;
    typedef ap_uint<Group::pe * Group::acc::width> sum;
    static const int FOLDS = Config::units / Group::simd;
    static const int GROUPS = Config::units / Group::pe;
    static_assert(FOLDS * Group::simd == Config::units, "simd divides the units");
    static_assert(GROUPS * Group::pe == Config::units, "pe divides the units");
    static_assert(Group::simd % Config::lanes == 0, "lanes divide simd");
    static_assert(Group::pe % Config::lanes == 0, "lanes divide pe");
};

// Where the units of one beat lie in words of `WIDTH` units.
template <int LANES, int WIDTH>
struct recurrent_place {
    int word;
    int lane;
    bool at_end() const {
#pragma HLS INLINE
        return lane == WIDTH - LANES;
    }
    void advance() {
#pragma HLS INLINE
        if (at_end()) {
            lane = 0;
            ++word;
        } else {
            lane += LANES;
        }
    }
};

// The whole frame, if it is read backwards.
template <typename Config, int KEPT>
void recurrent_load(hls::stream<typename recurrent_input<Config>::beat>& in,
                    typename recurrent_input<Config>::beat (&x)[Config::parts][KEPT]) {
#pragma HLS INLINE
    typedef recurrent_input<Config> input;
    int step = 0;
    int part = 0;
    int fold = 0;
    for (int i = 0; i < input::BEFORE; ++i) {
#pragma HLS PIPELINE II=1 style=flp
        typename input::beat arrived = in.read();
        x[part][step * input::FOLDS + fold] = arrived;
        if (fold < input::FOLDS - 1) {
            ++fold;
        } else {
            fold = 0;
            if (part < Config::parts - 1) {
                ++part;
            } else {
                part = 0;
                ++step;
            }
        }
    }
}

// The sums of one step, pe a cycle; meanwhile the first LOAD beats of the step's x arrive.
template <typename Config, typename Group, int LOAD, int KEPT, int ROWS, int WORDS, int GROUPS,
          int BIAS_WORDS>
void recurrent_sums(
    hls::stream<typename recurrent_input<Config>::beat>& in,
    typename recurrent_input<Config>::beat (&x)[Config::parts][KEPT], bool operand_is_zero,
    const typename recurrent_words<Config, Group>::operand (
        &operand)[recurrent_words<Config, Group>::FOLDS],
    const word_t (&weights)[ROWS][WORDS], const word_t (&bias)[GROUPS][BIAS_WORDS],
    typename recurrent_words<Config, Group>::sum (
        &sums)[Group::count][recurrent_words<Config, Group>::GROUPS]) {
#pragma HLS INLINE
    typedef recurrent_words<Config, Group> words;
    typedef typename Group::acc acc_t;
    static_assert(GROUPS == Group::count * words::GROUPS, "a row of biases for each group");
    static_assert(ROWS == GROUPS * words::FOLDS, "a row of weights for each group and fold");
    static const int STEPS = ROWS > LOAD ? ROWS : LOAD;

    acc_t acc[Group::pe];
#pragma HLS ARRAY_PARTITION variable=acc type=complete dim=1
    int part = 0;
    int beat = 0;
    int matrix = 0;
    int group = 0;
    int fold = 0;
    int row = 0;
    int bias_row = 0;
    for (int i = 0; i < STEPS; ++i) {
#pragma HLS PIPELINE II=1 style=flp
        if (i < LOAD) {
            typename recurrent_input<Config>::beat arrived = in.read();
            x[part][beat] = arrived;
            if (beat < recurrent_input<Config>::FOLDS - 1) {
                ++beat;
            } else {
                beat = 0;
                ++part;
            }
        }
        if (i < ROWS) {
            typename words::operand h = 0;
            if (!operand_is_zero) {
                h = operand[fold];
            }
            ap_uint<Group::pe * Group::simd * Group::weight::width> w =
                unpack<Group::pe * Group::simd * Group::weight::width>(weights[row]);
            ap_uint<Group::pe * acc_t::width> b =
                unpack<Group::pe * acc_t::width>(bias[bias_row]);
            typename words::sum complete;
            acc_t found[Group::pe];
#pragma HLS ARRAY_PARTITION variable=found type=complete dim=1
            sums_of_products<typename Group::multiply, typename Group::in, typename Group::weight,
                             acc_t, Group::pe, Group::simd>::of(h, w, found);
            for (int p = 0; p < Group::pe; ++p) {
#pragma HLS UNROLL
                acc_t start = lane<acc_t>(b, p);
                if (fold != 0) {
                    start = acc[p];
                }
                acc[p] = start + found[p];
                set_lane(complete, p, acc[p]);
            }
            ++row;
            if (fold < words::FOLDS - 1) {
                ++fold;
            } else {
                sums[matrix][group] = complete;
                fold = 0;
                ++bias_row;
                if (group < words::GROUPS - 1) {
                    ++group;
                } else {
                    group = 0;
                    ++matrix;
                }
            }
        }
    }
}

// One beat of a cell's results; `word` and `first` are where its sums lie.
template <typename Config, typename Group, typename Cell, int KEPT, int LENGTH>
ap_uint<Config::lanes * Cell::out::width> recurrent_cells(
    const typename recurrent_input<Config>::beat (&x)[Config::parts][KEPT], int beat,
    const typename recurrent_words<Config, Group>::sum (&sums)[Group::count][LENGTH], int word,
    int first, typename Config::state (&states)[Config::lanes], bool starts) {
#pragma HLS INLINE
    ap_uint<Config::lanes * Cell::out::width> result;
    for (int i = 0; i < Config::lanes; ++i) {
#pragma HLS UNROLL
        typename Config::in parts[Config::parts];
#pragma HLS ARRAY_PARTITION variable=parts type=complete dim=1
        for (int k = 0; k < Config::parts; ++k) {
#pragma HLS UNROLL
            parts[k] = lane<typename Config::in>(x[k][beat], i);
        }
        typename Group::acc totals[Group::count];
#pragma HLS ARRAY_PARTITION variable=totals type=complete dim=1
        for (int k = 0; k < Group::count; ++k) {
#pragma HLS UNROLL
            totals[k] = lane<typename Group::acc>(sums[k][word], first + i);
        }
        typename Config::state kept = starts ? Config::state::zero() : states[i];
        typename Cell::out value = Cell::apply(parts, totals, kept);
        states[i] = kept;
        set_lane(result, i, value);
    }
    return result;
}

// Put a beat of results into the words that Group reads as its operand.
template <typename Config, typename Group, int LENGTH, int N>
void recurrent_keep(typename recurrent_words<Config, Group>::operand (&operand)[LENGTH],
                    const recurrent_place<Config::lanes, Group::simd>& place,
                    typename recurrent_words<Config, Group>::operand& word,
                    const ap_uint<N>& beat) {
#pragma HLS INLINE
    static_assert(N == Config::lanes * Group::in::width, "a group reads what the cell computes");
    for (int i = 0; i < Config::lanes; ++i) {
#pragma HLS UNROLL
        set_lane(word, place.lane + i, lane<typename Group::in>(beat, i));
    }
    if (place.at_end()) {
        operand[place.word] = word;
    }
}

// One beat of the layer's results leaves, or waits in `results` if the frame is read backwards.
template <typename Config, typename Beat, int LENGTH>
void recurrent_leave(hls::stream<Beat>& out, Beat (&results)[LENGTH], int step, int index,
                     const Beat& beat) {
#pragma HLS INLINE
    if (Config::last) {
        if (step == Config::steps - 1) {
            out.write(beat);
        }
    } else if (Config::reverse) {
        results[index] = beat;
    } else {
        out.write(beat);
    }
}

// What waited in `results`, in the order of time.
template <typename Config, typename Beat, int LENGTH>
void recurrent_end(hls::stream<Beat>& out, const Beat (&results)[LENGTH]) {
#pragma HLS INLINE
    if (Config::reverse && !Config::last) {
        for (int i = 0; i < LENGTH; ++i) {
#pragma HLS PIPELINE II=1 style=flp
            Beat beat = results[i];
            out.write(beat);
        }
    }
}

// Recurrent layer whose Dense all read `hidden`.
//   Config: steps, units, parts (of x), lanes (values of a beat, and units that the cell computes a
//           cycle; divides pe and simd), reverse (from the last step to the first), last (only the
//           result of the final step leaves), types in (of x), state, group, cell.
//   in:  for each step all units of the first part of x, then of the second, and so on.
//   out: (steps, units), or (units) if last.
// While the sums of a step are formed, its x arrives.  If reverse, the frame is read beforehand,
// and results wait for the end, unless last.
template <typename Config, int ROWS, int WORDS, int GROUPS, int BIAS_WORDS>
void recurrent(hls::stream<ap_uint<Config::lanes * Config::in::width> >& in,
               hls::stream<ap_uint<Config::lanes * Config::cell::out::width> >& out,
               const word_t (&weights)[ROWS][WORDS], const word_t (&bias)[GROUPS][BIAS_WORDS]) {
#pragma HLS ARRAY_RESHAPE variable=weights type=complete dim=2
#pragma HLS ARRAY_RESHAPE variable=bias type=complete dim=2
    typedef recurrent_input<Config> input;
    typedef typename Config::group group_t;
    typedef recurrent_words<Config, group_t> words;
    typedef ap_uint<Config::lanes * Config::cell::out::width> beat_t;

    typename input::beat x[Config::parts][input::KEPT];
#pragma HLS ARRAY_PARTITION variable=x type=complete dim=1
    typename words::operand hidden[words::FOLDS];
    typename words::sum sums[group_t::count][words::GROUPS];
#pragma HLS ARRAY_PARTITION variable=sums type=complete dim=1
    typename Config::state states[input::FOLDS][Config::lanes];
#pragma HLS ARRAY_PARTITION variable=states type=complete dim=2
    beat_t results[input::WAITING];

    recurrent_load<Config>(in, x);
    for (int step = 0; step < Config::steps; ++step) {
        int first = Config::reverse ? (Config::steps - 1 - step) * input::FOLDS : 0;
        recurrent_sums<Config, group_t, input::MEANWHILE>(in, x, step == 0, hidden, weights, bias,
                                                          sums);
        recurrent_place<Config::lanes, group_t::pe> from = {0, 0};
        recurrent_place<Config::lanes, group_t::simd> to = {0, 0};
        typename words::operand word = 0;
        for (int fold = 0; fold < input::FOLDS; ++fold) {
#pragma HLS PIPELINE II=1 style=flp
            beat_t y = recurrent_cells<Config, group_t, typename Config::cell>(
                x, first + fold, sums, from.word, from.lane, states[fold], step == 0);
            recurrent_keep<Config, group_t>(hidden, to, word, y);
            recurrent_leave<Config>(out, results, step, first + fold, y);
            from.advance();
            to.advance();
        }
    }
    recurrent_end<Config>(out, results);
}

// Recurrent layer with a second group of Dense, which reads what the first cell computes.
//   Config: as for recurrent, but instead of group and cell: first_group, first_cell,
//           second_group, second_cell.
//   Streams and order as there.
template <typename Config, int ROWS, int WORDS, int GROUPS, int BIAS_WORDS, int ROWS_2, int WORDS_2,
          int GROUPS_2, int BIAS_WORDS_2>
void recurrent_two(hls::stream<ap_uint<Config::lanes * Config::in::width> >& in,
                   hls::stream<ap_uint<Config::lanes * Config::second_cell::out::width> >& out,
                   const word_t (&weights)[ROWS][WORDS], const word_t (&bias)[GROUPS][BIAS_WORDS],
                   const word_t (&second_weights)[ROWS_2][WORDS_2],
                   const word_t (&second_bias)[GROUPS_2][BIAS_WORDS_2]) {
#pragma HLS ARRAY_RESHAPE variable=weights type=complete dim=2
#pragma HLS ARRAY_RESHAPE variable=bias type=complete dim=2
#pragma HLS ARRAY_RESHAPE variable=second_weights type=complete dim=2
#pragma HLS ARRAY_RESHAPE variable=second_bias type=complete dim=2
    typedef recurrent_input<Config> input;
    typedef typename Config::first_group first_t;
    typedef typename Config::second_group second_t;
    typedef recurrent_words<Config, first_t> first_words;
    typedef recurrent_words<Config, second_t> second_words;
    typedef ap_uint<Config::lanes * Config::first_cell::out::width> between_t;
    typedef ap_uint<Config::lanes * Config::second_cell::out::width> beat_t;

    typename input::beat x[Config::parts][input::KEPT];
#pragma HLS ARRAY_PARTITION variable=x type=complete dim=1
    typename first_words::operand hidden[first_words::FOLDS];
    typename first_words::sum first_sums[first_t::count][first_words::GROUPS];
#pragma HLS ARRAY_PARTITION variable=first_sums type=complete dim=1
    typename second_words::operand operand[second_words::FOLDS];
    typename second_words::sum second_sums[second_t::count][second_words::GROUPS];
#pragma HLS ARRAY_PARTITION variable=second_sums type=complete dim=1
    typename Config::state states[input::FOLDS][Config::lanes];
#pragma HLS ARRAY_PARTITION variable=states type=complete dim=2
    beat_t results[input::WAITING];

    recurrent_load<Config>(in, x);
    for (int step = 0; step < Config::steps; ++step) {
        int first = Config::reverse ? (Config::steps - 1 - step) * input::FOLDS : 0;
        recurrent_sums<Config, first_t, input::MEANWHILE>(in, x, step == 0, hidden, weights, bias,
                                                          first_sums);
        recurrent_place<Config::lanes, first_t::pe> first_from = {0, 0};
        recurrent_place<Config::lanes, second_t::simd> first_to = {0, 0};
        typename second_words::operand first_word = 0;
        for (int fold = 0; fold < input::FOLDS; ++fold) {
#pragma HLS PIPELINE II=1 style=flp
            between_t y = recurrent_cells<Config, first_t, typename Config::first_cell>(
                x, first + fold, first_sums, first_from.word, first_from.lane, states[fold],
                step == 0);
            recurrent_keep<Config, second_t>(operand, first_to, first_word, y);
            first_from.advance();
            first_to.advance();
        }
        recurrent_sums<Config, second_t, 0>(in, x, false, operand, second_weights, second_bias,
                                            second_sums);
        recurrent_place<Config::lanes, second_t::pe> second_from = {0, 0};
        recurrent_place<Config::lanes, first_t::simd> second_to = {0, 0};
        typename first_words::operand second_word = 0;
        for (int fold = 0; fold < input::FOLDS; ++fold) {
#pragma HLS PIPELINE II=1 style=flp
            beat_t y = recurrent_cells<Config, second_t, typename Config::second_cell>(
                x, first + fold, second_sums, second_from.word, second_from.lane, states[fold],
                false);
            recurrent_keep<Config, first_t>(hidden, second_to, second_word, y);
            recurrent_leave<Config>(out, results, step, first + fold, y);
            second_from.advance();
            second_to.advance();
        }
    }
    recurrent_end<Config>(out, results);
}

}  // namespace lutra

#endif

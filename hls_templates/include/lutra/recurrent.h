// Recurrent layers: a loop over time whose state stays inside one process.
//
// A frame is x (steps, parts * units), and every step is, with `units` values of everything,
//     sums = Dense of the hidden state;  state, result = cell(x, sums, state)         recurrent
//     sums = Dense of the hidden state;  between = first cell(x, sums, state)
//     sums = Dense of between.operand;   state, result = second cell(x, sums, between, state)
//                                                                                recurrent_two
// The state is zero when a frame starts.
//
// A cell computes one unit of one step in straight-line code, and traces what the network names,
// the sums included: units in order, steps in the order of processing.  So if `reverse`, the trace
// of every value of the body runs from the last time to the first, and its reader flips it; what
// leaves the process is in the order of time all the same.
//
// The Dense of a group have one operand, but may differ in the formats of weights and sums.  Their
// arithmetic is therefore on raw integers, and the cell gives each sum its format:
//     ap_fixed<17, 6> v3 = lutra::low_bits<ap_fixed<17, 6> >(sums[0]);
// Group (of Dense):
//   count            how many Dense, each units to units
//   pe, simd         outputs and inputs of it a cycle; both divide the units
//   in, weight, acc  integer types ap_fixed<W, W> or ap_ufixed<W, W>: `in` with width and sign of
//                    the operand, the others for all weights and for all sums (and biases)
// Its weights are rows as dense() has them, first all of the first Dense, then all of the second;
// its bias is a row of pe values for each group of outputs, likewise, with zeros for a Dense that
// has none.
#ifndef LUTRA_RECURRENT_H
#define LUTRA_RECURRENT_H

#include <ap_fixed.h>
#include <ap_int.h>
#include <hls_stream.h>

#include "fixed.h"

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

// Recurrent layer whose Dense all read the hidden state.
//   Config: steps, units, parts (of x), lanes (values of a beat in and out, and units that the cell
//           computes a cycle; divides pe and simd), reverse (from the last step to the first), last
//           (only the result of the final step leaves), types in (of x), state, group, cell.
//   state: a struct with a member for each state, among them `hidden`, the operand of the Dense;
//          static state zero().
//   cell:  type out; static out apply(const in (&x)[parts], const acc (&sums)[count],
//                                     const state& before, state& after).
//   in:  for each step all units of the first part of x, then of the second, and so on.
//   out: the results, (steps, units), or (units) if last.
template <typename Config, int ROWS, int WORDS, int GROUPS, int BIAS_WORDS>
void recurrent(hls::stream<ap_uint<Config::lanes * Config::in::width> >& in,
               hls::stream<ap_uint<Config::lanes * Config::cell::out::width> >& out,
               const word_t (&weights)[ROWS][WORDS], const word_t (&bias)[GROUPS][BIAS_WORDS]);

// Recurrent layer with a second group of Dense, which reads a value that the first cell computes.
//   Config: as for recurrent, but instead of group and cell: first_group, first_cell, second_group,
//           second_cell, between.
//   between: a struct of values of one unit that the first cell leaves to the second, among them
//            `operand`, that of the second group.
//   first_cell:  static between apply(const in (&x)[parts], const acc (&sums)[count],
//                                     const state& before).
//   second_cell: type out; static out apply(const in (&x)[parts], const acc (&sums)[count],
//                                           const between& values, const state& before,
//                                           state& after).
template <typename Config, int ROWS, int WORDS, int GROUPS, int BIAS_WORDS, int ROWS_2, int WORDS_2,
          int GROUPS_2, int BIAS_WORDS_2>
void recurrent_two(hls::stream<ap_uint<Config::lanes * Config::in::width> >& in,
                   hls::stream<ap_uint<Config::lanes * Config::second_cell::out::width> >& out,
                   const word_t (&weights)[ROWS][WORDS], const word_t (&bias)[GROUPS][BIAS_WORDS],
                   const word_t (&second_weights)[ROWS_2][WORDS_2],
                   const word_t (&second_bias)[GROUPS_2][BIAS_WORDS_2]);

}  // namespace lutra

#endif

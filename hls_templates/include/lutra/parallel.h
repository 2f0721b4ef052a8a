// A whole network as one pipelined function: a beat is a frame.
#ifndef LUTRA_PARALLEL_H
#define LUTRA_PARALLEL_H

#include <ap_fixed.h>
#include <ap_int.h>
#include <hls_stream.h>

#include "fixed.h"
#include "multiply.h"
#include "trace.h"

namespace lutra {

// One product, as How multiplies.
template <typename How, typename Out, typename A, typename B>
Out product(const A& a, const B& b) {
#pragma HLS INLINE
    B others[1];
    Out products[1];
    others[0] = b;
    How::of(a, others, products);
    return products[0];
}

// Largest of N values, pairwise, so that the comparisons form a tree.
template <typename T, int N>
struct max_tree {
    template <int M>
    static T of(const T (&values)[M], int first) {
#pragma HLS INLINE
        T left = max_tree<T, N / 2>::of(values, first);
        T right = max_tree<T, N - N / 2>::of(values, first + N / 2);
        T best = left;
        if (right > left) {
            best = right;
        }
        return best;
    }
};

template <typename T>
struct max_tree<T, 1> {
    template <int M>
    static T of(const T (&values)[M], int first) {
#pragma HLS INLINE
        return values[first];
    }
};

// The sum of each row of LENGTH values.
template <int ID, int LENGTH, typename In, typename Out, int SIZE, int ROWS>
void row_sums(const In (&x)[SIZE], Out (&y)[ROWS]) {
#pragma HLS INLINE
    static_assert(ROWS * LENGTH == SIZE, "rows of equal length");
    for (int r = 0; r < ROWS; ++r) {
#pragma HLS UNROLL
        Out row[LENGTH];
#pragma HLS ARRAY_PARTITION variable=row type=complete dim=1
        for (int k = 0; k < LENGTH; ++k) {
#pragma HLS UNROLL
            row[k] = x[r * LENGTH + k];
        }
        y[r] = sum_tree<Out, LENGTH>::of(row, 0);
        trace<ID>(y[r]);
    }
}

// How far each value lies below the largest of its row of LENGTH values.
template <int ID, int LENGTH, typename In, typename Out, int SIZE>
void below_row_max(const In (&x)[SIZE], Out (&y)[SIZE]) {
#pragma HLS INLINE
    for (int r = 0; r < SIZE / LENGTH; ++r) {
#pragma HLS UNROLL
        In row[LENGTH];
#pragma HLS ARRAY_PARTITION variable=row type=complete dim=1
        for (int k = 0; k < LENGTH; ++k) {
#pragma HLS UNROLL
            row[k] = x[r * LENGTH + k];
        }
        In best = max_tree<In, LENGTH>::of(row, 0);
        for (int k = 0; k < LENGTH; ++k) {
#pragma HLS UNROLL
            y[r * LENGTH + k] = best - row[k];
            trace<ID>(y[r * LENGTH + k]);
        }
    }
}

// For each of BATCHES pairs of matrices y = a * b, a (N, K), b (K, M), or (M, K) if TRANSPOSED;
// How is multiply_lut or multiply_dsp.
template <int ID, typename How, int BATCHES, int N, int K, int M, bool TRANSPOSED, typename A,
          typename B, typename Out>
void products(const A (&a)[BATCHES * N * K], const B (&b)[BATCHES * K * M],
              Out (&y)[BATCHES * N * M]) {
#pragma HLS INLINE
    for (int i = 0; i < BATCHES * N; ++i) {
#pragma HLS UNROLL
        for (int m = 0; m < M; ++m) {
#pragma HLS UNROLL
            Out row[K];
#pragma HLS ARRAY_PARTITION variable=row type=complete dim=1
            for (int k = 0; k < K; ++k) {
#pragma HLS UNROLL
                row[k] = product<How, Out>(
                    a[i * K + k], b[(i / N) * K * M + (TRANSPOSED ? m * K + k : k * M + m)]);
            }
            y[i * M + m] = sum_tree<Out, K>::of(row, 0);
            trace<ID>(y[i * M + m]);
        }
    }
}

// out = network(in), a frame a cycle.
//   Config: network, a struct with types in and out, the constants inputs and outputs (values of a
//           frame) and apply.
template <typename Config>
void parallel(hls::stream<ap_uint<Config::network::inputs * Config::network::in::width> >& in,
              hls::stream<ap_uint<Config::network::outputs * Config::network::out::width> >& out) {
#pragma HLS PIPELINE II=1 style=flp
    typedef typename Config::network network;
    typename network::in x[network::inputs];
#pragma HLS ARRAY_PARTITION variable=x type=complete dim=1
    typename network::out y[network::outputs];
#pragma HLS ARRAY_PARTITION variable=y type=complete dim=1
    ap_uint<network::inputs * network::in::width> arrived = in.read();
    for (int i = 0; i < network::inputs; ++i) {
#pragma HLS UNROLL
        x[i] = lane<typename network::in>(arrived, i);
    }
    network::apply(x, y);
    ap_uint<network::outputs * network::out::width> leaving = 0;
    for (int i = 0; i < network::outputs; ++i) {
#pragma HLS UNROLL
        set_lane(leaving, i, y[i]);
    }
    out.write(leaving);
}

}  // namespace lutra

#endif

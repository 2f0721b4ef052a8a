// What each process of nn_top.cpp computes, and in which formats.
#ifndef NN_LAYERS_H
#define NN_LAYERS_H

#include "nn_weights.h"

#include "lutra/concat.h"
#include "lutra/constant.h"
#include "lutra/dense.h"
#include "lutra/elementwise.h"
#include "lutra/grouped.h"
#include "lutra/map.h"
#include "lutra/matmul.h"
#include "lutra/parallel.h"
#include "lutra/pool.h"
#include "lutra/rearrange.h"
#include "lutra/recurrent.h"
#include "lutra/softmax.h"
#include "lutra/stream.h"
#include "lutra/window.h"

struct relu0_function {
    typedef ap_fixed<16, 5> in;
    typedef ap_ufixed<8, 3> out;
    static out apply(const in& v0) {
#pragma HLS INLINE
        ap_ufixed<15, 4> v1 = lutra::relu<1, ap_fixed<16, 5>, ap_ufixed<15, 4> >::apply(v0);
        ap_ufixed<8, 3> v2 = lutra::cast<2, ap_ufixed<15, 4>, ap_ufixed<8, 3, AP_RND, AP_SAT> >::apply(v1);
        return v2;
    }
};

struct relu1_function {
    typedef ap_fixed<17, 7> in;
    typedef ap_ufixed<8, 0> out;
    static out apply(const in& v0) {
#pragma HLS INLINE
        ap_ufixed<1, -9> v1 = lutra::relu<4, ap_fixed<17, 7>, ap_ufixed<1, -9> >::apply(v0);
        ap_ufixed<3, -7> w1 = v1;
        ap_ufixed<8, 0> v2 = lutra::cast<5, ap_ufixed<3, -7>, ap_ufixed<8, 0, AP_RND, AP_SAT> >::apply(w1);
        return v2;
    }
};

struct dense0_layer_config {
    static const int id = 0;
    static const int positions = 1;
    static const int inputs = 4;
    static const int outputs = 3;
    static const int simd = 1;
    static const int pe = 1;
    typedef ap_fixed<8, 3> in;
    typedef ap_fixed<16, 5> acc;
    typedef relu0_function post;
    typedef ap_fixed<8, 2> weight;
    typedef lutra::multiply_dsp multiply;
};

struct dense1_layer_config {
    static const int id = 3;
    static const int positions = 1;
    static const int inputs = 3;
    static const int outputs = 2;
    static const int simd = 1;
    static const int pe = 1;
    typedef ap_ufixed<8, 3> in;
    typedef ap_fixed<17, 7> acc;
    typedef relu1_function post;
    typedef ap_fixed<8, 3> weight;
    typedef lutra::multiply_dsp multiply;
};

#endif

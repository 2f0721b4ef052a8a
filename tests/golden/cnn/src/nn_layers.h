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

struct relu_function {
    typedef ap_fixed<17, 6> in;
    typedef ap_ufixed<8, 3> out;
    static out apply(const in& v0) {
#pragma HLS INLINE
        ap_ufixed<16, 5> v1 = lutra::relu<1, ap_fixed<17, 6>, ap_ufixed<16, 5> >::apply(v0);
        ap_ufixed<8, 3> v2 = lutra::cast<2, ap_ufixed<16, 5>, ap_ufixed<8, 3, AP_RND, AP_SAT> >::apply(v1);
        return v2;
    }
};

struct dense_function {
    typedef ap_fixed<19, 8> in;
    typedef ap_fixed<12, 5> out;
    static out apply(const in& v0) {
#pragma HLS INLINE
        ap_fixed<12, 5> v1 = lutra::cast<5, ap_fixed<19, 8>, ap_fixed<12, 5, AP_RND, AP_SAT> >::apply(v0);
        return v1;
    }
};

struct softmax_exp_function {
    typedef ap_ufixed<12, 5> in;
    typedef ap_ufixed<11, 1> out;
    static out apply(const in& v0) {
#pragma HLS INLINE
        ap_ufixed<11, 1> v1 = lutra::lut<7, ap_ufixed<12, 5>, ap_ufixed<11, 1>, softmax_exp_table>::apply(v0);
        return v1;
    }
};

struct softmax_inverse_first_function {
    typedef ap_ufixed<13, 3> in;
    typedef ap_ufixed<11, 1> out;
    static out apply(const in& v0) {
#pragma HLS INLINE
        ap_ufixed<12, 3> v1 = lutra::cast<9, ap_ufixed<13, 3>, ap_ufixed<12, 3, AP_RND, AP_SAT> >::apply(v0);
        ap_ufixed<11, 1> v2 = lutra::lut<10, ap_ufixed<12, 3>, ap_ufixed<11, 1>, softmax_inverse_first_table>::apply(v1);
        return v2;
    }
};

struct y_function {
    typedef ap_ufixed<11, 1> in;
    typedef ap_ufixed<11, 1> in1;
    typedef ap_ufixed<8, 0> out;
    static out apply(const in& v0, const in1& v1) {
#pragma HLS INLINE
        ap_ufixed<21, 1> v2 = lutra::multiply<11, ap_ufixed<11, 1>, ap_ufixed<11, 1>, ap_ufixed<21, 1> >::apply(v0, v1);
        ap_ufixed<8, 0> v3 = lutra::cast<12, ap_ufixed<21, 1>, ap_ufixed<8, 0, AP_RND, AP_SAT> >::apply(v2);
        return v3;
    }
};

struct conv_window_config {
    static const int lanes = 2;
    static const int group_h = 1;
    static const int group_w = 1;
    static const int channels = 2;
    static const int height = 6;
    static const int width = 6;
    static const int kernel_h = 3;
    static const int kernel_w = 3;
    static const int stride_h = 1;
    static const int stride_w = 1;
    static const int dilation_h = 1;
    static const int dilation_w = 1;
    static const int pad_top = 1;
    static const int pad_left = 1;
    static const int out_h = 6;
    static const int out_w = 6;
    static const int fill = 0;
    static const int lead = 8;
    static const int slots = 3;
    static const int row_banks = 1;
    static const int column_banks = 1;
    typedef ap_fixed<8, 3> in;
};

struct conv_layer_config {
    static const int id = 0;
    static const int positions = 36;
    static const int inputs = 18;
    static const int outputs = 4;
    static const int simd = 2;
    static const int pe = 4;
    typedef ap_fixed<8, 3> in;
    typedef ap_fixed<17, 6> acc;
    typedef relu_function post;
    typedef ap_fixed<8, 2> weight;
    typedef lutra::multiply_dsp multiply;
};

struct relu_narrow_adaptor_config {
    static const int bits = 16;
    static const int factor = 2;
    static const int beats = 36;
};

struct pool_window_config {
    static const int lanes = 2;
    static const int group_h = 1;
    static const int group_w = 1;
    static const int channels = 4;
    static const int height = 6;
    static const int width = 6;
    static const int kernel_h = 2;
    static const int kernel_w = 2;
    static const int stride_h = 2;
    static const int stride_w = 2;
    static const int dilation_h = 1;
    static const int dilation_w = 1;
    static const int pad_top = 0;
    static const int pad_left = 0;
    static const int out_h = 3;
    static const int out_w = 3;
    static const int fill = 0;
    static const int lead = 12;
    static const int slots = 2;
    static const int row_banks = 1;
    static const int column_banks = 1;
    typedef ap_ufixed<8, 3> in;
};

struct pool_layer_config {
    static const int id = 3;
    static const int positions = 9;
    static const int window = 4;
    static const int channels = 4;
    static const int pe = 2;
    typedef ap_ufixed<8, 3> in;
    typedef ap_ufixed<8, 3> acc;
    typedef lutra::pass<ap_ufixed<8, 3> > post;
    typedef lutra::maximum reduce;
};

struct pool_wide_adaptor_config {
    static const int bits = 16;
    static const int factor = 3;
    static const int beats = 6;
};

struct dense_layer_config {
    static const int id = 4;
    static const int positions = 1;
    static const int inputs = 36;
    static const int outputs = 5;
    static const int simd = 6;
    static const int pe = 5;
    typedef ap_ufixed<8, 3> in;
    typedef ap_fixed<19, 8> acc;
    typedef dense_function post;
    typedef ap_fixed<8, 2> weight;
    typedef lutra::multiply_dsp multiply;
};

struct dense_narrow_adaptor_config {
    static const int bits = 12;
    static const int factor = 5;
    static const int beats = 1;
};

struct softmax_exp_stage_config {
    static const int id = 6;
    static const int rows = 1;
    static const int length = 5;
    typedef ap_fixed<12, 5> in;
    typedef ap_ufixed<12, 5> acc;
    typedef softmax_exp_function post;
};

struct softmax_exp_duplicate_config {
    static const int bits = 11;
    static const int beats = 5;
};

struct softmax_inverse_first_stage_config {
    static const int id = 8;
    static const int positions = 1;
    static const int window = 5;
    static const int channels = 1;
    static const int pe = 1;
    typedef ap_ufixed<11, 1> in;
    typedef ap_ufixed<13, 3> acc;
    typedef softmax_inverse_first_function post;
    typedef lutra::sum reduce;
};

struct y_stage_config {
    static const int rows = 1;
    static const int beats_a_row = 5;
    static const int pe = 1;
    typedef y_function post;
};

#endif

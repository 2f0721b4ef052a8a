// What each process of nn_top.cpp computes, and in which formats.
#ifndef NN_LAYERS_H
#define NN_LAYERS_H

#include "nn_weights.h"

#include "lutra/dense.h"
#include "lutra/elementwise.h"
#include "lutra/pool.h"
#include "lutra/softmax.h"
#include "lutra/stream.h"
#include "lutra/window.h"

struct conv_window_config {
    static const int lanes = 2;
    static const int channels = 2;
    static const int height = 6;
    static const int width = 6;
    static const int kernel_h = 3;
    static const int kernel_w = 3;
    static const int stride_h = 1;
    static const int stride_w = 1;
    static const int pad_top = 1;
    static const int pad_left = 1;
    static const int out_h = 6;
    static const int out_w = 6;
    static const int fill = 0;
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
    typedef lutra::chain<lutra::relu<1, ap_fixed<17, 6>, ap_ufixed<16, 5>>, lutra::cast<2, ap_ufixed<16, 5>, ap_ufixed<8, 3, AP_RND, AP_SAT> > > post;
    typedef ap_fixed<8, 2> weight;
};

struct relu_narrow_adaptor_config {
    static const int bits = 16;
    static const int factor = 2;
    static const int beats = 36;
};

struct pool_window_config {
    static const int lanes = 2;
    static const int channels = 4;
    static const int height = 6;
    static const int width = 6;
    static const int kernel_h = 2;
    static const int kernel_w = 2;
    static const int stride_h = 2;
    static const int stride_w = 2;
    static const int pad_top = 0;
    static const int pad_left = 0;
    static const int out_h = 3;
    static const int out_w = 3;
    static const int fill = 0;
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
    static const int id = 5;
    static const int positions = 1;
    static const int inputs = 36;
    static const int outputs = 5;
    static const int simd = 6;
    static const int pe = 5;
    typedef ap_ufixed<8, 3> in;
    typedef ap_fixed<19, 8> acc;
    typedef lutra::cast<6, ap_fixed<19, 8>, ap_fixed<12, 5, AP_RND, AP_SAT> > post;
    typedef ap_fixed<8, 2> weight;
};

struct dense_narrow_adaptor_config {
    static const int bits = 12;
    static const int factor = 5;
    static const int beats = 1;
};

struct softmax_exp_stage_config {
    static const int id = 7;
    static const int rows = 1;
    static const int length = 5;
    typedef ap_fixed<12, 5> in;
    typedef ap_ufixed<12, 5> acc;
    typedef lutra::lut<8, ap_ufixed<12, 5>, ap_ufixed<11, 1>, softmax_exp_table> post;
};

struct softmax_exp_duplicate_config {
    static const int bits = 11;
    static const int beats = 5;
};

struct softmax_inverse_stage_config {
    static const int id = 9;
    static const int positions = 1;
    static const int window = 5;
    static const int channels = 1;
    static const int pe = 1;
    typedef ap_ufixed<11, 1> in;
    typedef ap_ufixed<13, 3> acc;
    typedef lutra::chain<lutra::cast<10, ap_ufixed<13, 3>, ap_ufixed<12, 3, AP_RND, AP_SAT> >, lutra::lut<11, ap_ufixed<12, 3>, ap_ufixed<11, 1>, softmax_inverse_table> > post;
    typedef lutra::sum reduce;
};

struct y_stage_config {
    static const int id = 12;
    static const int rows = 1;
    static const int length = 5;
    typedef ap_ufixed<11, 1> in;
    typedef ap_ufixed<21, 1> acc;
    typedef lutra::cast<13, ap_ufixed<21, 1>, ap_ufixed<8, 0, AP_RND, AP_SAT> > post;
    typedef ap_ufixed<11, 1> factor;
};

#endif

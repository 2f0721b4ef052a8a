#include "nn_top.h"

#include "nn_layers.h"

void nn_top(hls::stream<ap_uint<16> >& x, hls::stream<ap_uint<8> >& y) {
#pragma HLS INTERFACE mode=ap_fifo port=x
#pragma HLS INTERFACE mode=ap_fifo port=y
#pragma HLS DATAFLOW
#pragma HLS BIND_STORAGE variable=conv_layer_weights type=rom_1p impl=lutram
#pragma HLS BIND_STORAGE variable=dense_layer_weights type=rom_1p impl=lutram
    hls::stream<ap_uint<16> > conv_windows;
#pragma HLS STREAM variable=conv_windows depth=2
#pragma HLS BIND_STORAGE variable=conv_windows type=fifo impl=srl
    hls::stream<ap_uint<32> > relu;
#pragma HLS STREAM variable=relu depth=2
#pragma HLS BIND_STORAGE variable=relu type=fifo impl=srl
    hls::stream<ap_uint<16> > relu_narrow;
#pragma HLS STREAM variable=relu_narrow depth=2
#pragma HLS BIND_STORAGE variable=relu_narrow type=fifo impl=srl
    hls::stream<ap_uint<16> > pool_windows;
#pragma HLS STREAM variable=pool_windows depth=2
#pragma HLS BIND_STORAGE variable=pool_windows type=fifo impl=srl
    hls::stream<ap_uint<16> > pool;
#pragma HLS STREAM variable=pool depth=2
#pragma HLS BIND_STORAGE variable=pool type=fifo impl=srl
    hls::stream<ap_uint<48> > pool_wide;
#pragma HLS STREAM variable=pool_wide depth=2
#pragma HLS BIND_STORAGE variable=pool_wide type=fifo impl=srl
    hls::stream<ap_uint<60> > dense;
#pragma HLS STREAM variable=dense depth=2
#pragma HLS BIND_STORAGE variable=dense type=fifo impl=srl
    hls::stream<ap_uint<12> > dense_narrow;
#pragma HLS STREAM variable=dense_narrow depth=2
#pragma HLS BIND_STORAGE variable=dense_narrow type=fifo impl=srl
    hls::stream<ap_uint<11> > softmax_exp;
#pragma HLS STREAM variable=softmax_exp depth=2
#pragma HLS BIND_STORAGE variable=softmax_exp type=fifo impl=srl
    hls::stream<ap_uint<11> > softmax_exp_branch;
#pragma HLS STREAM variable=softmax_exp_branch depth=2
#pragma HLS BIND_STORAGE variable=softmax_exp_branch type=fifo impl=srl
    hls::stream<ap_uint<11> > softmax_exp_branch_2;
#pragma HLS STREAM variable=softmax_exp_branch_2 depth=5
#pragma HLS BIND_STORAGE variable=softmax_exp_branch_2 type=fifo impl=srl
    hls::stream<ap_uint<11> > softmax_inverse_first;
#pragma HLS STREAM variable=softmax_inverse_first depth=2
#pragma HLS BIND_STORAGE variable=softmax_inverse_first type=fifo impl=srl

    lutra::sliding_window<conv_window_config>(x, conv_windows);
    lutra::dense<conv_layer_config>(conv_windows, relu, conv_layer_weights, conv_layer_bias);
    lutra::narrow<relu_narrow_adaptor_config>(relu, relu_narrow);
    lutra::sliding_window<pool_window_config>(relu_narrow, pool_windows);
    lutra::pool<pool_layer_config>(pool_windows, pool);
    lutra::widen<pool_wide_adaptor_config>(pool, pool_wide);
    lutra::dense<dense_layer_config>(pool_wide, dense, dense_layer_weights, dense_layer_bias);
    lutra::narrow<dense_narrow_adaptor_config>(dense, dense_narrow);
    lutra::below_max<softmax_exp_stage_config>(dense_narrow, softmax_exp);
    lutra::duplicate<softmax_exp_duplicate_config>(softmax_exp, softmax_exp_branch, softmax_exp_branch_2);
    lutra::pool<softmax_inverse_first_stage_config>(softmax_exp_branch, softmax_inverse_first);
    lutra::map_row<y_stage_config>(softmax_exp_branch_2, softmax_inverse_first, y);
}

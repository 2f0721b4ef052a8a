# vitis-run --mode hls --tcl run_hls.tcl   (or, up to 2024.2: vitis_hls -f run_hls.tcl)
open_project -reset lutra_hls
add_files src/nn_top.cpp -cflags "-Isrc -std=c++14"
add_files -tb tb/nn_tb.cpp -cflags "-Isrc -std=c++14"
add_files -tb {tb/in.dat tb/golden.dat}
set_top nn_top
open_solution -reset solution1 -flow_target vivado
set_part {xczu7ev-ffvc1156-2-e}
create_clock -period 5 -name default
set_clock_uncertainty 27%
csim_design
csynth_design
cosim_design -trace_level none
export_design -format ip_catalog
exit

// Runs all frames of a file through a design at once, and writes down when what happened.
#ifndef LUTRA_TIMED_BENCH_H
#define LUTRA_TIMED_BENCH_H

#include <ap_int.h>
#include <hls_stream.h>

#include <fstream>
#include <string>
#include <vector>

namespace timed {

// `process NAME DEPTH` gives the depth of a process; `stream NAME DEPTH` gives a FIFO another depth
// than the project's.
inline void read_depths(const char* path) {
    std::ifstream file(path);
    std::string kind;
    std::string name;
    cycle depth;
    while (file >> kind >> name >> depth) {
        if (kind == "process") {
            the().process_depths[name] = depth;
        } else {
            the().stream_depths[name] = static_cast<count>(depth);
        }
    }
}

inline void write_report(const channel& out, count beats) {
    std::ofstream file(the().report.c_str());
    for (count frame = 1; frame <= the().frames; ++frame) {
        file << "finish " << out.written.at(frame * beats - 1) + 1 << '\n';
    }
    for (const channel& each : the().channels) {
        if (each.depth != UNLIMITED) {
            file << "stream " << each.name << ' ' << each.depth << ' ' << each.occupancy() << '\n';
        }
    }
    for (const process& each : the().processes) {
        for (const auto& waited : each.waited) {
            file << "wait " << each.name << (waited.first.second ? " full " : " empty ")
                 << waited.first.first->name << ' ' << waited.second << '\n';
        }
    }
    file.flush();
    if (!file) {
        fail("the report cannot be written");
    }
}

// Arguments: raw integers in, depths, raw integers out, report.
//   Bench: as in lutra/testbench.h.
template <typename Bench>
int bench(char** argv) {
    read_depths(argv[2]);
    the().report = argv[4];
    std::ifstream source(argv[1]);
    std::vector<long long> inputs;
    long long value;
    while (source >> value) {
        inputs.push_back(value);
    }
    the().frames = inputs.size() / Bench::in_values;
    hls::stream<ap_uint<Bench::in_lanes * Bench::in_width> > in("in");
    hls::stream<ap_uint<Bench::out_lanes * Bench::out_width> > out("out");
    for (count i = 0; i < the().frames * Bench::in_values; i += Bench::in_lanes) {
        ap_uint<Bench::in_lanes * Bench::in_width> beat = 0;
        for (int p = 0; p < Bench::in_lanes; ++p) {
            ap_uint<Bench::in_width> bits = inputs[i + p];
            beat.range((p + 1) * Bench::in_width - 1, p * Bench::in_width) = bits;
        }
        in.write(beat);
    }
    Bench::run(in, out);
    write_report(out.history(), Bench::out_values / Bench::out_lanes);
    std::ofstream results(argv[3]);
    while (!out.empty()) {
        ap_uint<Bench::out_lanes * Bench::out_width> beat = out.read();
        for (int p = 0; p < Bench::out_lanes; ++p) {
            ap_uint<Bench::out_width> bits =
                beat.range((p + 1) * Bench::out_width - 1, p * Bench::out_width);
            ap_int<Bench::out_width> as_signed = bits;
            results << (Bench::out_signed ? as_signed.to_int64()
                                          : static_cast<long long>(bits.to_uint64()))
                    << '\n';
        }
    }
    results.flush();
    return results ? 0 : 2;
}

}  // namespace timed

#endif

// Runs all frames of a file through a design at once, and writes down when what happened.
#ifndef LUTRA_TIMED_BENCH_H
#define LUTRA_TIMED_BENCH_H

#include <ap_int.h>
#include <hls_stream.h>

#include <fstream>
#include <string>
#include <vector>

#include "lutra/testbench.h"

namespace timed {

// The ports of lutra/testbench.h, with all frames in one run.

template <typename Bench>
struct fifo_ports : Bench {
    static bool run_values(const lutra::integers& inputs, count frames, lutra::integers& outputs) {
        hls::stream<ap_uint<Bench::in_lanes * Bench::in_width> > in("in");
        hls::stream<ap_uint<Bench::out_lanes * Bench::out_width> > out("out");
        for (count i = 0; i < frames * Bench::in_values; i += Bench::in_lanes) {
            ap_uint<Bench::in_lanes * Bench::in_width> beat = 0;
            for (int p = 0; p < Bench::in_lanes; ++p) {
                ap_uint<Bench::in_width> bits = inputs[i + p];
                beat.range((p + 1) * Bench::in_width - 1, p * Bench::in_width) = bits;
            }
            in.write(beat);
        }
        Bench::run(in, out);
        while (!out.empty()) {
            ap_uint<Bench::out_lanes * Bench::out_width> beat = out.read();
            for (int p = 0; p < Bench::out_lanes; ++p) {
                ap_uint<Bench::out_width> bits =
                    beat.range((p + 1) * Bench::out_width - 1, p * Bench::out_width);
                outputs.push_back(lutra::raw_bits(bits, Bench::out_signed));
            }
        }
        return true;
    }
};

template <typename Bench>
struct axis_ports : lutra::bus_ports<Bench, axis_ports<Bench> > {
    typedef std::vector<ap_uint<Bench::bus> > words;

    static bool run_words(const words& in_words, count, words& out_words) {
        hls::stream<typename Bench::word> in("in");
        hls::stream<typename Bench::word> out("out");
        for (count i = 0; i < in_words.size(); ++i) {
            typename Bench::word next;
            next.data = in_words[i];
            next.keep = -1;
            next.strb = -1;
            next.last = (i + 1) % Bench::in_words == 0;
            in.write(next);
        }
        Bench::run(in, out);
        while (!out.empty()) {
            typename Bench::word next = out.read();
            out_words.push_back(next.data);
        }
        return true;
    }
};

template <typename Bench>
struct memory_ports : lutra::bus_ports<Bench, memory_ports<Bench> > {
    typedef std::vector<ap_uint<Bench::bus> > words;

    static bool run_words(const words& in, count frames, words& out) {
        out.assign(frames * Bench::out_words, ap_uint<Bench::bus>(0));
        Bench::run(in.data(), out.data(), static_cast<int>(frames));
        return true;
    }
};

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

// The output is the stream that processes write and none reads.
inline void write_report() {
    std::ofstream file(the().report.c_str());
    for (const channel& each : the().channels) {
        if (each.writer && each.reader) {
            file << "stream " << each.name << ' ' << each.depth << ' ' << each.occupancy() << '\n';
        } else if (each.writer) {
            const count beats = each.written.size() / the().frames;
            for (count frame = 1; frame <= the().frames; ++frame) {
                file << "finish " << each.written[frame * beats - 1] + 1 << '\n';
            }
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

// Arguments: raw integers in, depths, raw integers out, report.  `values` make a frame, and `run`
// takes frames through the ports.
inline int bench(char** argv, count values,
                 bool (*run)(const lutra::integers&, count, lutra::integers&)) {
    lutra::integers inputs;
    lutra::integers outputs;
    if (!lutra::read_integers(argv[1], inputs)) {
        return 2;
    }
    read_depths(argv[2]);
    the().report = argv[4];
    the().frames = inputs.size() / values;
    run(inputs, the().frames, outputs);
    write_report();
    std::ofstream results(argv[3]);
    for (long long value : outputs) {
        results << value << '\n';
    }
    results.flush();
    return results ? 0 : 2;
}

}  // namespace timed

#endif

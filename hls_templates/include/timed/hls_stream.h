// Takes the place of AMD's hls_stream.h in the timed build: streams of limited depth that note when
// each beat is written and read.  See timed.h.
#ifndef LUTRA_TIMED_HLS_STREAM_H
#define LUTRA_TIMED_HLS_STREAM_H

#include <deque>

#include "timed.h"

namespace hls {

template <typename T>
class stream {
  public:
    // A stream of the top function: two beats, unless a pragma gives it another depth.
    stream() : state_(timed::the().add_channel("", 2)) {}
    // A port of the top function: never full, and what is in it before the run is there at once.
    explicit stream(const char* name)
        : state_(timed::the().add_channel(name, timed::UNLIMITED)) {}

    T read() {
        state_->take();
        T value = values_.front();
        values_.pop_front();
        return value;
    }

    void write(const T& value) {
        state_->put();
        values_.push_back(value);
    }

    bool empty() const { return values_.empty(); }

    void limit(const char* name, timed::count depth) { state_->limit(name, depth); }

    timed::channel* state() { return state_; }

  private:
    stream(const stream&);
    stream& operator=(const stream&);
    timed::channel* state_;
    std::deque<T> values_;
};

}  // namespace hls

#endif

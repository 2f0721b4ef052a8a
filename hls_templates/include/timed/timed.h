// Runs the processes of a design side by side, each with a clock, and says when what happens: the
// rules are those of docs/hardware.md.
//
// Each process is a fiber that runs until it needs a beat that is not there, or a place in a FIFO
// that is not free.  The order in which fibers run changes nothing.
//
// An iteration may begin as early as the rules allow, which can depend on a place that is freed
// later than its start: a pipeline holds beats, too.  So where all processes wait, one of them
// is let past a full FIFO, and when its place is freed at last, the times since then are corrected.
// If the correction runs around a circle into itself, no times fulfil the rules: a deadlock.
#ifndef LUTRA_TIMED_H
#define LUTRA_TIMED_H

#include <sys/mman.h>
#include <ucontext.h>

#include <algorithm>
#include <cstdlib>
#include <deque>
#include <fstream>
#include <functional>
#include <iostream>
#include <map>
#include <queue>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

namespace timed {

typedef long long cycle;
typedef std::size_t count;

const count UNLIMITED = static_cast<count>(-1);
const count STACK = count(1) << 26;  // bytes of a fiber, of which only those in use exist
const int MOST = 8;                  // streams that an iteration reads, or writes

struct process;

// Ends the program: what was built cannot be timed.
[[noreturn]] inline void fail(const std::string& text) {
    std::cerr << text << std::endl;
    std::_Exit(3);
}

// What all streams have, whatever their type.
struct channel {
    std::string name;
    count depth;  // beats that it holds
    process* writer;
    process* reader;
    count put_in;  // beats that were written, with their time or still without
    count taken_out;
    std::vector<cycle> written;    // time of each beat
    std::vector<cycle> read;       // time at which it leaves; its place is free a cycle later
    std::vector<count> writer_at;  // iteration of the process
    std::vector<count> reader_at;

    channel(const std::string& name_, count depth_)
        : name(name_), depth(depth_), writer(0), reader(0), put_in(0), taken_out(0) {}
    void limit(const char* name_, count depth_);
    void put();
    void take();
    bool has_room(count beat) const;
    void come(cycle time, count at);
    void leave(cycle time, count at);
    count occupancy() const;
};

struct access {
    channel* stream;
    count beat;
};

enum stage { OPEN, STARTED, DONE };

// One turn of a pipelined loop.
struct iteration {
    stage now;
    cycle gap;    // cycles after the iteration before, at least
    cycle start;  // when its reads happen
    cycle time;   // depth - 1 before its writes
    int reads;
    int writes;
    access read[MOST];
    access write[MOST];
    channel* start_cause;  // what it waited for last, if for anything
    channel* time_cause;

    explicit iteration(cycle gap_)
        : now(OPEN), gap(gap_), start(0), time(0), reads(0), writes(0), start_cause(0),
          time_cause(0) {}
};

struct process {
    std::string name;
    cycle depth;
    std::function<void()> call;
    std::deque<iteration> log;  // iterations whose times may still change
    count first;                // number of the first of them
    cycle before;               // time of the one before that
    cycle gap;                  // what the next iteration keeps from the last
    count calls;                // that are over
    bool iterated;              // whether this call had an iteration
    channel* blocked;           // stream that it waits for, if any
    bool blocked_full;
    bool finished;
    ucontext_t context;
    std::map<std::pair<channel*, bool>, cycle> waited;  // for a place (true), or a beat

    process(const std::string& name_, cycle depth_, const std::function<void()>& call_)
        : name(name_), depth(depth_), call(call_), first(0), before(0), gap(0), calls(0),
          iterated(false), blocked(0), blocked_full(false), finished(false) {}

    bool in_iteration() const { return !log.empty() && log.back().now == OPEN; }
    // From the last iteration of one loop to the first of the next.
    cycle drain() const { return std::max<cycle>(depth - 1, 1) + 2; }
    void enter_loop();
    void begin();
    void end();
    void run();
    void wait(channel* stream, bool full);
    void forget();
    cycle before_iteration(count at) const { return at == first ? before : find(at - 1).time; }
    iteration& find(count at) { return log[at - first]; }
    const iteration& find(count at) const { return log[at - first]; }
    bool settle_start(count at);
    bool settle_time(count at);
};

struct world {
    std::deque<channel> channels;
    std::deque<process> processes;
    std::deque<process*> ready;
    std::set<std::pair<channel*, count> > ahead;  // beats written before their place was free
    std::map<std::string, cycle> process_depths;
    std::map<std::string, count> stream_depths;  // instead of those of the project
    process* current;
    ucontext_t scheduler;
    count frames;
    std::string report;

    world() : current(0), frames(0) {}
    channel* add_channel(const std::string& name, count depth) {
        channels.emplace_back(name, depth);
        return &channels.back();
    }
    void add_process(const std::string& name, const std::function<void()>& call);
    void run();
    bool let_one_past();
    void starved();
    void places_freed(process* reader, count at);
    void deadlock(process* reader, count at);
    void wake(process* which) {
        which->blocked = 0;
        ready.push_back(which);
    }
};

inline world& the() {
    static world only;
    return only;
}

// Streams

inline void channel::limit(const char* name_, count depth_) {
    name = name_;
    std::map<std::string, count>::const_iterator found = the().stream_depths.find(name);
    depth = found == the().stream_depths.end() ? depth_ : found->second;
}

inline bool channel::has_room(count beat) const {
    return depth == UNLIMITED || beat < depth || read.size() > beat - depth;
}

inline void channel::put() {
    process* self = the().current;
    if (!self) {  // before the run
        written.push_back(-1);
        writer_at.push_back(0);
        ++put_in;
        return;
    }
    if (writer && writer != self) {
        fail("two processes write the stream " + name);
    }
    if (!self->in_iteration()) {
        fail(self->name + " writes " + name + " outside of a pipelined loop");
    }
    iteration& now = self->log.back();
    for (int i = 0; i < now.writes; ++i) {
        if (now.write[i].stream == this) {
            fail(self->name + " writes " + name + " twice in an iteration");
        }
    }
    if (now.writes == MOST) {
        fail(self->name + " writes too many streams in an iteration");
    }
    writer = self;
    now.write[now.writes].stream = this;
    now.write[now.writes].beat = put_in;
    ++now.writes;
    ++put_in;
}

inline void channel::take() {
    process* self = the().current;
    if (!self) {  // after the run
        if (taken_out == written.size()) {
            fail("the stream " + name + " is read while empty");
        }
        ++taken_out;
        return;
    }
    if (reader && reader != self) {
        fail("two processes read the stream " + name);
    }
    if (!self->in_iteration()) {
        fail(self->name + " reads " + name + " outside of a pipelined loop");
    }
    reader = self;
    for (int i = 0; i < self->log.back().reads; ++i) {
        if (self->log.back().read[i].stream == this) {
            fail(self->name + " reads " + name + " twice in an iteration");
        }
    }
    if (self->log.back().reads == MOST) {
        fail(self->name + " reads too many streams in an iteration");
    }
    while (written.size() <= taken_out) {
        self->wait(this, false);
    }
    iteration& now = self->log.back();
    now.read[now.reads].stream = this;
    now.read[now.reads].beat = taken_out;
    ++now.reads;
    ++taken_out;
}

inline void channel::come(cycle time, count at) {
    written.push_back(time);
    writer_at.push_back(at);
    if (reader && reader->blocked == this && !reader->blocked_full) {
        the().wake(reader);
    }
}

inline void channel::leave(cycle time, count at) {
    read.push_back(time);
    reader_at.push_back(at);
    if (writer && writer->blocked == this && writer->blocked_full) {
        the().wake(writer);
    }
}

// The most beats that were in it at once, counting one until the end of the cycle that reads it.
inline count channel::occupancy() const {
    count most = 0;
    count gone = 0;
    for (count beat = 0; beat < written.size(); ++beat) {
        while (gone < read.size() && read[gone] < written[beat]) {
            ++gone;
        }
        most = std::max(most, beat + 1 - gone);
    }
    return most;
}

// Processes

inline void process::wait(channel* stream, bool full) {
    blocked = stream;
    blocked_full = full;
    swapcontext(&context, &the().scheduler);
}

inline void process::enter_loop() {
    if (in_iteration()) {
        fail(name + " has a pipelined loop inside of another");
    }
    gap = iterated ? drain() : calls == 0 ? 1 : drain() + 1;
}

inline void process::begin() {
    if (in_iteration()) {
        fail(name + " has a pipelined loop inside of another");
    }
    log.emplace_back(gap);
    gap = 1;
    iterated = true;
}

inline void process::end() {
    const count at = first + log.size() - 1;
    settle_start(at);
    log.back().now = STARTED;
    for (int i = 0; i < log.back().reads; ++i) {
        log.back().read[i].stream->leave(log.back().start, at);
    }
    if (!the().ahead.empty()) {
        the().places_freed(this, at);
    }
    for (int i = 0; i < log.back().writes; ++i) {
        access& to = log.back().write[i];
        while (!to.stream->has_room(to.beat) && !the().ahead.count({to.stream, to.beat})) {
            wait(to.stream, true);
        }
    }
    settle_time(at);
    log.back().now = DONE;
    for (int i = 0; i < log.back().writes; ++i) {
        log.back().write[i].stream->come(log.back().time + depth - 1, at);
    }
    if (the().ahead.empty()) {
        forget();
    }
}

// The start as the rules have it now; whether it moved.
inline bool process::settle_start(count at) {
    iteration& now = find(at);
    cycle start = before_iteration(at) + now.gap;
    channel* cause = 0;
    for (int i = 0; i < now.reads; ++i) {
        cycle arrived = now.read[i].stream->written[now.read[i].beat] + 1;
        if (arrived > start) {
            start = arrived;
            cause = now.read[i].stream;
        }
    }
    if (now.now != OPEN && start <= now.start) {
        return false;
    }
    now.start = start;
    now.start_cause = cause;
    return true;
}

inline bool process::settle_time(count at) {
    iteration& now = find(at);
    cycle time = now.start;
    channel* cause = 0;
    for (int i = 0; i < now.writes; ++i) {
        const channel& to = *now.write[i].stream;
        count beat = now.write[i].beat;
        if (to.depth == UNLIMITED || beat < to.depth || to.read.size() <= beat - to.depth) {
            continue;
        }
        cycle room = to.read[beat - to.depth] + 1 - (depth - 1);
        if (room > time) {
            time = room;
            cause = now.write[i].stream;
        }
    }
    if (now.now == DONE && time <= now.time) {
        return false;
    }
    now.time = time;
    now.time_cause = cause;
    return true;
}

// Count what the iterations waited, which no correction can reach any more.
inline void process::forget() {
    while (!log.empty() && log.front().now == DONE) {
        const iteration& over = log.front();
        if (over.start_cause) {
            waited[{over.start_cause, false}] += over.start - before - over.gap;
        }
        if (over.time_cause) {
            waited[{over.time_cause, true}] += over.time - over.start;
        }
        before = over.time;
        ++first;
        log.pop_front();
    }
}

inline void process::run() {
    for (count frame = 0; frame < the().frames; ++frame) {
        iterated = false;
        call();
        ++calls;
    }
    finished = true;
}

inline void fiber() { the().current->run(); }

// The design

inline void world::add_process(const std::string& name, const std::function<void()>& call) {
    std::map<std::string, cycle>::const_iterator found = process_depths.find(name);
    if (found == process_depths.end()) {
        fail("the depth of the process " + name + " is not known");
    }
    processes.emplace_back(name, found->second, call);
}

inline void world::run() {
    for (process& each : processes) {
        void* stack = mmap(0, STACK, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (stack == MAP_FAILED) {
            fail("not enough memory for the stack of " + each.name);
        }
        mprotect(stack, 1 << 16, PROT_NONE);  // what overflows stops here
        getcontext(&each.context);
        each.context.uc_stack.ss_sp = stack;
        each.context.uc_stack.ss_size = STACK;
        each.context.uc_link = &scheduler;
        makecontext(&each.context, fiber, 0);
        ready.push_back(&each);
    }
    do {
        while (!ready.empty()) {
            current = ready.front();
            ready.pop_front();
            swapcontext(&scheduler, &current->context);
            current = 0;
        }
    } while (let_one_past());
    starved();
    for (process& each : processes) {
        each.forget();
        munmap(each.context.uc_stack.ss_sp, STACK);
    }
}

// Where all wait: let the one go on whose write would be the first.
inline bool world::let_one_past() {
    process* best = 0;
    for (process& each : processes) {
        if (each.blocked && each.blocked_full &&
            (!best || each.log.back().start + each.depth < best->log.back().start + best->depth)) {
            best = &each;
        }
    }
    if (!best) {
        return false;
    }
    const iteration& now = best->log.back();
    for (int i = 0; i < now.writes; ++i) {
        if (now.write[i].stream == best->blocked) {
            ahead.insert({best->blocked, now.write[i].beat});
        }
    }
    wake(best);
    return true;
}

// Fails if a process is not finished, or a stream not empty.
inline void world::starved() {
    for (process& each : processes) {
        if (!each.finished) {
            fail(each.name + " waits for a beat of " + each.blocked->name + " that nobody writes");
        }
    }
    for (channel& each : channels) {
        if (each.reader && each.taken_out != each.put_in) {
            fail("beats are left in the stream " + each.name);
        }
    }
}

// Places are free: where a beat was let past, its time and all that follow from it are corrected.
inline void world::places_freed(process* reader, count at) {
    typedef std::tuple<cycle, process*, count> entry;
    std::priority_queue<entry, std::vector<entry>, std::greater<entry> > later;
    const iteration& freeing = reader->find(at);
    for (int i = 0; i < freeing.reads; ++i) {
        channel* stream = freeing.read[i].stream;
        count beat = freeing.read[i].beat + stream->depth;
        if (ahead.erase({stream, beat}) && stream->written.size() > beat) {
            later.push(entry(stream->written[beat], stream->writer, stream->writer_at[beat]));
        }
    }
    while (!later.empty()) {
        process* who = std::get<1>(later.top());
        count which = std::get<2>(later.top());
        later.pop();
        iteration& now = who->find(which);
        if (now.now != OPEN && who->settle_start(which)) {
            if (who == reader && which == at) {
                deadlock(reader, at);
            }
            for (int i = 0; i < now.reads; ++i) {
                channel* from = now.read[i].stream;
                count beat = now.read[i].beat;
                from->read[beat] = now.start;
                if (from->depth != UNLIMITED && from->written.size() > beat + from->depth) {
                    beat += from->depth;
                    later.push(entry(from->written[beat], from->writer, from->writer_at[beat]));
                }
            }
        }
        if (now.now == DONE && who->settle_time(which)) {
            for (int i = 0; i < now.writes; ++i) {
                channel* to = now.write[i].stream;
                count beat = now.write[i].beat;
                to->written[beat] = now.time + who->depth - 1;
                if (to->read.size() > beat) {
                    later.push(entry(to->read[beat], to->reader, to->reader_at[beat]));
                }
            }
            if (which + 1 < who->first + who->log.size()) {
                later.push(entry(now.time, who, which + 1));
            }
        }
    }
}

// Write down the circle in which processes wait for each other, and end the program.  It runs
// through the start of iteration `at` of `reader`.
inline void world::deadlock(process* reader, count at) {
    std::ofstream file(report.c_str());
    std::set<std::string> said;
    process* who = reader;
    count which = at;
    bool writing = false;  // whether its writes are looked at, or its start
    do {
        const iteration& now = who->find(which);
        channel* cause = writing ? now.time_cause : now.start_cause;
        if (!cause) {
            which -= writing ? 0 : 1;
            writing = !writing;
            continue;
        }
        std::string line = who->name + (writing ? " full " : " empty ") + cause->name;
        if (said.insert(line).second) {
            file << "deadlock " << line << '\n';
        }
        const access* all = writing ? now.write : now.read;
        count beat = std::find_if(all, all + (writing ? now.writes : now.reads),
                                  [=](const access& one) { return one.stream == cause; })
                         ->beat;
        who = writing ? cause->reader : cause->writer;
        which = writing ? cause->reader_at[beat - cause->depth] : cause->writer_at[beat];
        writing = !writing;
    } while (who != reader || which != at || writing);
    file.flush();
    std::_Exit(file ? 0 : 2);
}

// What the rewritten sources call.

// Before each pipelined loop; false.
inline bool loop() {
    the().current->enter_loop();
    return false;
}

// In the body of each: an iteration, from its first line to its last.
struct turn {
    turn() { the().current->begin(); }
    ~turn() { the().current->end(); }
};

}  // namespace timed

#endif

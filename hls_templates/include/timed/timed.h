// Runs the processes of a design side by side, each with a clock, and says when what happens: the
// rules are those of docs/hardware.md.
//
// Each process is a fiber that runs until it needs a beat that is not there, or a place in a FIFO
// that is not free; then another one goes on.  The order in which they run changes nothing.  Where
// all of them wait, the design has stopped for ever.
#ifndef LUTRA_TIMED_H
#define LUTRA_TIMED_H

#include <sys/mman.h>
#include <ucontext.h>

#include <algorithm>
#include <cstdlib>
#include <deque>
#include <fstream>
#include <iostream>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace timed {

typedef long long cycle;
typedef std::size_t count;

const count UNLIMITED = static_cast<count>(-1);
const count STACK = count(1) << 26;  // bytes of a fiber, of which only those in use exist
const count GUARD = count(1) << 16;  // bytes below them, which nobody may touch

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
    std::vector<process*> ends;  // whose calls have it as an argument
    process* writer;             // known once it has written
    process* reader;
    count asked;                 // beats that were read, or are about to be
    std::vector<cycle> written;  // when each beat comes
    std::vector<cycle> read;     // when it leaves; its place is free a cycle later

    channel(const std::string& name_, count depth_)
        : name(name_), depth(depth_), writer(0), reader(0), asked(0) {}
    void limit(const char* name_, count depth_);
    void put();
    void take();
    bool is_full() const {
        return depth != UNLIMITED && written.size() >= depth &&
               read.size() <= written.size() - depth;
    }
    void come(cycle time);
    void leave(cycle time);
    count occupancy() const;
};

// What a process does in a frame: a function object, held so that compilers are quick about it.
struct action {
    void (*run)(void*);
    void* what;

    template <typename Function>
    static void run_as(void* what) {
        (*static_cast<Function*>(what))();
    }
};

struct process {
    std::string name;
    cycle depth;
    action call;
    cycle last;       // depth - 1 before the writes of the last iteration
    cycle gap;        // from there to the start of the next one, at least
    bool called;      // whether a call is over
    bool iterated;    // whether this call had an iteration
    bool running;     // whether an iteration is under way
    channel* waits;   // for a beat of this stream, or a place in it
    bool for_place;
    bool finished;
    std::vector<channel*> reads;  // of the iteration under way
    std::vector<channel*> writes;
    std::map<std::pair<channel*, bool>, cycle> waited;  // for a place (true), or a beat
    ucontext_t context;

    process(const std::string& name_, cycle depth_, const action& call_)
        : name(name_), depth(depth_), call(call_), last(0), gap(0), called(false),
          iterated(false), running(false), waits(0), for_place(false), finished(false) {}

    // From the last iteration of one loop to the first of the next.
    cycle drain() const { return std::max<cycle>(depth - 1, 1) + 2; }
    void enter_loop();
    void begin();
    void end();
    void touch(std::vector<channel*>& touched, channel* stream, const char* does);
    void wait(channel* stream, bool place);
    void run();
};

struct world {
    std::deque<channel> channels;
    std::deque<process> processes;
    std::deque<process*> ready;
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
    template <typename Function>
    void add_process(const char* name, const std::vector<channel*>& streams, Function call) {
        action held = {&action::run_as<Function>, new Function(call)};
        add_action(name, streams, held);
    }
    void add_action(const std::string& name, const std::vector<channel*>& streams,
                    const action& call);
    void run();
    void stopped(const process* first) const;
    void wake(process* which, const channel* stream, bool place) {
        if (which && which->waits == stream && which->for_place == place) {
            which->waits = 0;
            ready.push_back(which);
        }
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

inline void channel::put() {
    process* self = the().current;
    if (!self) {  // before the run
        written.push_back(-1);
        return;
    }
    if (writer && writer != self) {
        fail("two processes write the stream " + name);
    }
    writer = self;
    self->touch(self->writes, this, " writes ");
}

inline void channel::take() {
    process* self = the().current;
    if (self) {
        if (reader && reader != self) {
            fail("two processes read the stream " + name);
        }
        reader = self;
        self->touch(self->reads, this, " reads ");
        while (written.size() <= asked) {
            self->wait(this, false);
        }
    } else if (written.size() <= asked) {
        fail("the stream " + name + " is read while empty");
    }
    ++asked;
}

inline void channel::come(cycle time) {
    written.push_back(time);
    the().wake(reader, this, false);
}

inline void channel::leave(cycle time) {
    read.push_back(time);
    the().wake(writer, this, true);
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

inline void process::touch(std::vector<channel*>& touched, channel* stream, const char* does) {
    if (!running) {
        fail(name + does + stream->name + " outside of a pipelined loop");
    }
    if (std::count(touched.begin(), touched.end(), stream)) {
        fail(name + does + stream->name + " twice in an iteration");
    }
    touched.push_back(stream);
}

inline void process::wait(channel* stream, bool place) {
    waits = stream;
    for_place = place;
    swapcontext(&context, &the().scheduler);
}

inline void process::enter_loop() {
    if (running) {
        fail(name + " has a pipelined loop inside of another");
    }
    gap = iterated ? drain() : called ? drain() + 1 : 1;
}

inline void process::begin() {
    if (running) {
        fail(name + " has a pipelined loop inside of another");
    }
    running = true;
    iterated = true;
}

// The iteration's code has run: its start and the time of its writes follow from what it touched.
inline void process::end() {
    cycle start = last + gap;
    for (channel* stream : reads) {
        const cycle arrived = stream->written[stream->read.size()] + 1;
        if (arrived > start) {
            waited[{stream, false}] += arrived - start;
            start = arrived;
        }
    }
    for (channel* stream : reads) {
        stream->leave(start);
    }
    last = start;
    for (channel* stream : writes) {
        while (stream->is_full()) {
            wait(stream, true);
        }
        if (stream->depth != UNLIMITED && stream->written.size() >= stream->depth) {
            const cycle freed = stream->read[stream->written.size() - stream->depth];
            const cycle room = freed + 1 - (depth - 1);
            if (room > last) {
                waited[{stream, true}] += room - last;
                last = room;
            }
        }
    }
    for (channel* stream : writes) {
        stream->come(last + depth - 1);
    }
    gap = 1;
    running = false;
    reads.clear();
    writes.clear();
}

inline void process::run() {
    for (count frame = 0; frame < the().frames; ++frame) {
        iterated = false;
        call.run(call.what);
        called = true;
    }
    finished = true;
}

inline void run_fiber() { the().current->run(); }

// The design

inline void world::add_action(const std::string& name, const std::vector<channel*>& streams,
                              const action& call) {
    std::map<std::string, cycle>::const_iterator found = process_depths.find(name);
    if (found == process_depths.end()) {
        fail("the depth of the process " + name + " is not known");
    }
    processes.emplace_back(name, found->second, call);
    for (channel* stream : streams) {
        stream->ends.push_back(&processes.back());
    }
}

inline void world::run() {
    for (process& each : processes) {
        void* stack = mmap(0, STACK, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (stack == MAP_FAILED || mprotect(stack, GUARD, PROT_NONE) != 0) {
            fail("not enough memory for the stack of " + each.name);
        }
        getcontext(&each.context);
        each.context.uc_stack.ss_sp = stack;
        each.context.uc_stack.ss_size = STACK;
        each.context.uc_link = &scheduler;
        makecontext(&each.context, run_fiber, 0);
        ready.push_back(&each);
    }
    while (!ready.empty()) {
        current = ready.front();
        ready.pop_front();
        swapcontext(&scheduler, &current->context);
        current = 0;
    }
    for (process& each : processes) {
        if (!each.finished) {
            stopped(&each);
        }
        munmap(each.context.uc_stack.ss_sp, STACK);
    }
    for (channel& each : channels) {
        if (each.reader && each.asked != each.written.size()) {
            fail("beats are left in the stream " + each.name);
        }
    }
}

// Write down the ring of processes that wait for each other, and end the program.
inline void world::stopped(const process* first) const {
    std::ofstream file(report.c_str());
    std::vector<const process*> path;
    const process* who = first;
    while (!std::count(path.begin(), path.end(), who)) {
        path.push_back(who);
        const process* other = 0;
        for (const process* end : who->waits->ends) {
            other = end == who ? other : end;
        }
        if (!other || other->finished) {
            fail(who->name + " waits for " + who->waits->name + ", and nobody goes on there");
        }
        who = other;
    }
    // The way into the ring does not belong to it.
    path.erase(path.begin(), std::find(path.begin(), path.end(), who));
    for (const process* each : path) {
        file << "deadlock " << each->name << (each->for_place ? " full " : " empty ")
             << each->waits->name << '\n';
    }
    file.flush();
    std::_Exit(file ? 0 : 2);
}

// What the rewritten sources call; outside of a process it does nothing.

// Before each pipelined loop; false.
inline bool loop() {
    if (the().current) {
        the().current->enter_loop();
    }
    return false;
}

// In the body of each: an iteration, from its first line to its last.
struct turn {
    turn() {
        if (the().current) {
            the().current->begin();
        }
    }
    ~turn() {
        if (the().current) {
            the().current->end();
        }
    }
};

}  // namespace timed

#endif

#pragma once

#include "CUnicorn.h"

#include <capstone/capstone.h>
#include <signal.h>
#include <unicorn/unicorn.h>

enum { CODE_BYTES = 8192, ENTRIES = 64, ENTRY_CALLS_MAX = 1000 };

/// An address where runs started; see `on_entry`.
struct entry {
    cunicorn_engine *engine;
    uint64_t address;
    /// 0 when the address is not hooked.
    uc_hook hook;
    uint32_t calls;
};

struct cunicorn_engine {
    uc_engine *uc;
    /// Room for a saved CPU; its bytes are the only way to segments and to the exception state.
    uc_context *image;
    size_t image_bytes;
    /// Where in the image the first segment and DR6 are.
    size_t segments_at;
    size_t dr6_at;
    csh disassembler;
    cs_insn *instruction;
    /// A second one that tells operands, which the first does without for speed.
    csh detailed;
    cs_insn *detailed_instruction;
    uint64_t clock;
    /// The signal handler reads it.
    volatile sig_atomic_t is_step;
    /// What is translated now ends steps; true after a step.
    int counts_steps;
    volatile sig_atomic_t is_stopped;
    cunicorn_exit *exit;
    struct entry entries[ENTRIES];
    unsigned next_entry;
    int is_entry_given_up;
    cunicorn_watched watched[CUNICORN_WATCHED_MAX];
    size_t watched_count;
    cunicorn_judge judge;
    void *judge_context;
    /// 0 while nothing is watched.
    uc_hook access_hook, instruction_hook;
    uint64_t watch_calls;
    /// The instruction that runs, while anything is watched.
    uint64_t current;
    int is_memory_used;
    /// What the CPU had when a store to watched memory began; see `is_begun_again`.
    int is_store_used;
    uint64_t store_rcx, store_rsp;
    /// Hooks were deleted that the library still translates for.
    int has_deleted_hooks;
    int is_dropping_hooks;
    /// One translated block: never more than two pages.
    uint8_t code[CODE_BYTES];
};

/// Ends the run with `reason` unless something has ended it already; nonzero when this did.
int cunicorn_report(cunicorn_engine *engine, int reason);

/// Finds out where the CPU's inner state lies in a saved image; refuses when anything looks odd.
int cunicorn_learn_layout(cunicorn_engine *engine);

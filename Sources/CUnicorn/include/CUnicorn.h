#pragma once

// The few functions of Unicorn 2.1.4 and Capstone that the emulator driver needs. Neither library's
// headers show through. Functions answer 0, or the negative number of a Unicorn error.
//
// Callbacks of the engine run inside `cunicorn_run`, record what they saw in `cunicorn_exit` and ask
// the engine to stop; decisions are the caller's. Only `cunicorn_stop` may interrupt another of these
// functions, from a signal handler.

#include <stddef.h>
#include <stdint.h>

typedef struct cunicorn_engine cunicorn_engine;

/// Our own errors, beyond the range of the library's.
enum {
    CUNICORN_WRONG_VERSION = -1000,
    CUNICORN_NO_MEMORY = -1001,
    CUNICORN_LAYOUT_UNKNOWN = -1002,
};

enum cunicorn_reason {
    /// HLT, the end of a step, or a stop from outside.
    CUNICORN_ENDED,
    /// In front of a watched address.
    CUNICORN_WATCHED,
    /// Code is about to run for the first time and has port instructions or HLT at `found`.
    CUNICORN_FOUND,
    /// An OUT was executed that nobody had found; instructions behind it may have run too.
    CUNICORN_LATE_OUT,
    /// An IN was met that nobody had found.
    CUNICORN_LATE_IN,
    /// An exception or software interrupt `vector`; not delivered to the guest.
    CUNICORN_EXCEPTION,
    /// Access `access` (0 read, 1 write, 2 fetch) to guest physical `address`, refused.
    CUNICORN_MEMORY,
    /// Behind an instruction that used watched memory.
    CUNICORN_USED,
    /// The run failed with `error`.
    CUNICORN_FAILED,
};

enum { CUNICORN_FOUND_MAX = 32 };

typedef struct {
    int reason;
    int error;
    /// Whether the judge found a use of watched memory, whatever ended the run.
    int is_memory_used;
    /// The instruction that used it.
    uint64_t instruction;
    uint64_t address;
    uint32_t vector;
    uint32_t access;
    uint32_t port;
    uint32_t size;
    uint32_t value;
    uint32_t found_count;
    uint64_t found[CUNICORN_FOUND_MAX];
} cunicorn_exit;

/// Segment register with its hidden part; `flags` as bits 8-23 of a descriptor's high word.
typedef struct {
    uint32_t selector;
    uint32_t limit;
    uint32_t flags;
    uint64_t base;
} cunicorn_segment;

/// In the library's order: ES CS SS DS FS GS, LDT, TR, GDT, IDT.
enum { CUNICORN_SEGMENTS = 10 };

typedef struct {
    uint64_t cr0, cr2, cr3, cr4, cr8, efer;
} cunicorn_control;

typedef struct {
    uint64_t rax, rbx, rcx, rdx, rsi, rdi, rbp, rsp;
    uint64_t r8, r9, r10, r11, r12, r13, r14, r15;
    uint64_t rip, rflags;
} cunicorn_general;

/// x87 registers are the physical ones, not relative to the top of the stack.
typedef struct {
    uint16_t control, status, tag, opcode;
    uint64_t instruction, operand;
    uint32_t mxcsr;
    uint8_t st[8][16];
    uint8_t xmm[16][16];
} cunicorn_vector;

/// Linear addresses that are watched for reads, writes or both.
typedef struct {
    uint64_t start;
    uint64_t size;
    int is_read_watched;
    int is_write_watched;
} cunicorn_watched;

enum { CUNICORN_WATCHED_MAX = 64 };

/// Tells, inside a run and before the access, whether `size` bytes at guest physical `gpa` are used
/// through a watched address by the instruction at linear address `instruction`.
///
/// It may read registers and nothing else of the engine.
typedef int (*cunicorn_judge)(void *context, uint64_t instruction, uint64_t gpa, uint32_t size,
                              int is_write);

/// Linear addresses that an instruction may use, and how.
typedef struct {
    uint64_t start;
    uint64_t size;
    int is_read;
    int is_written;
} cunicorn_reach;

enum { CUNICORN_REACHES_MAX = 16 };

/// A 64-bit engine that has executed its first instructions, so that its memory exists.
int cunicorn_open(cunicorn_engine **result);
void cunicorn_close(cunicorn_engine *engine);
const char *cunicorn_error_text(int error);

int cunicorn_map(cunicorn_engine *engine, uint64_t gpa, size_t size, int is_writable, void *host);

/// Runs from the current RIP: one instruction (`is_step`), or until something is worth telling.
void cunicorn_run(cunicorn_engine *engine, int is_step, cunicorn_exit *exit);
/// Whether the instruction at `address` may be a port instruction or HLT; a quick look that is never
/// wrong when it says no.
int cunicorn_may_leave(cunicorn_engine *engine, uint64_t address);
/// Ends a run, or the next one at its start; async-signal-safe. Takes the engine.
void cunicorn_stop(void *engine);
int cunicorn_is_stopped(cunicorn_engine *engine);
void cunicorn_forget_stop(cunicorn_engine *engine);

/// Makes runs (not steps) end in front of `address`; `handle` undoes it.
///
/// Code that was translated before knows nothing of it until it is forgotten.
int cunicorn_watch(cunicorn_engine *engine, uint64_t address, size_t *handle);
int cunicorn_unwatch(cunicorn_engine *engine, size_t handle);

/// Asks `judge` about accesses to these ranges, at most `CUNICORN_WATCHED_MAX`, instead of those
/// before; runs and steps that use one end behind the instruction. Everything is slow until there are
/// none again.
///
/// Only accesses that agree with a range in kind and place within a page come to the judge. Code that
/// was translated before knows nothing of it until it is forgotten.
int cunicorn_watch_memory(cunicorn_engine *engine, const cunicorn_watched *watched, size_t count,
                          cunicorn_judge judge, void *context);
/// How often watching memory has cost a call so far; for tests.
uint64_t cunicorn_watch_calls(cunicorn_engine *engine);

/// The memory that the instruction in `code`, which lies at `address`, may use with the registers as
/// they are: as many as the result says, and rather too long than too short. None when it cannot be
/// told.
int cunicorn_find_reaches(cunicorn_engine *engine, const uint8_t *code, size_t size,
                          uint64_t address, cunicorn_reach *reaches);

/// Forgets the translation of the code at `address`.
int cunicorn_forget_code(cunicorn_engine *engine, uint64_t address);
/// Forgets all translated code.
int cunicorn_forget_all_code(cunicorn_engine *engine);
/// Forgets cached page table entries.
int cunicorn_forget_translations(cunicorn_engine *engine);

int cunicorn_get_rip(cunicorn_engine *engine, uint64_t *rip);
int cunicorn_get_general(cunicorn_engine *engine, cunicorn_general *general);
int cunicorn_set_general(cunicorn_engine *engine, const cunicorn_general *general);
int cunicorn_get_control(cunicorn_engine *engine, cunicorn_control *control);
int cunicorn_set_control(cunicorn_engine *engine, const cunicorn_control *control);
int cunicorn_get_segments(cunicorn_engine *engine, cunicorn_segment *segments);
int cunicorn_set_segments(cunicorn_engine *engine, const cunicorn_segment *segments);
int cunicorn_get_vector(cunicorn_engine *engine, cunicorn_vector *vector);
int cunicorn_set_vector(cunicorn_engine *engine, const cunicorn_vector *vector);

/// A model-specific register; one that the CPU lacks reads as 0 and takes nothing.
int cunicorn_get_msr(cunicorn_engine *engine, uint32_t number, uint64_t *value);
int cunicorn_set_msr(cunicorn_engine *engine, uint32_t number, uint64_t value);

/// What the CPU noted about the exception it just raised; clears its "in delivery" mark.
int cunicorn_take_exception(cunicorn_engine *engine, uint32_t *error_code, int *is_software);

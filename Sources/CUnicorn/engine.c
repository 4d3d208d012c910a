// Making and running an engine, and its callbacks.

#include "engine.h"

#include <stdlib.h>
#include <string.h>

// The first report of a run is what ended it; callbacks may come again while the engine winds down.
int cunicorn_report(cunicorn_engine *engine, int reason) {
    if (engine->exit == NULL || engine->exit->reason != CUNICORN_ENDED) return 0;
    engine->exit->reason = reason;
    uc_emu_stop(engine->uc);
    return 1;
}

static void on_watched(uc_engine *uc, uint64_t address, uint32_t size, void *data) {
    (void)uc, (void)address, (void)size;
    cunicorn_engine *engine = data;
    if (!engine->is_step) cunicorn_report(engine, CUNICORN_WATCHED);
}

// The library forgets a stop request that comes while it prepares to run, so every run starts at an
// address with this hook, which remembers it. An entry inside a hot loop is given up again.
static void on_entry(uc_engine *uc, uint64_t address, uint32_t size, void *data) {
    (void)address, (void)size;
    struct entry *entry = data;
    // It may stand at an address where runs have started.
    if (entry->engine->is_step) return;
    if (entry->engine->is_stopped || entry->engine->is_dropping_hooks) uc_emu_stop(uc);
    if (++entry->calls < ENTRY_CALLS_MAX || entry->hook == 0) return;
    uc_hook_del(uc, entry->hook);
    entry->hook = 0;
    // Only a new run leaves the hook out of the translation.
    entry->engine->is_entry_given_up = 1;
    uc_emu_stop(uc);
}

// Where nothing is mapped nothing is translated, and the library would note a page fault that nobody
// sees: the next one would be a double fault.
static int forget_block(cunicorn_engine *engine, uint64_t address) {
    uint64_t place = 0;
    if (uc_vmem_translate(engine->uc, address, UC_PROT_EXEC, &place) != UC_ERR_OK) return 0;
    return (int)uc_ctl_remove_cache(engine->uc, address, address + 1);
}

static int hook_entry(cunicorn_engine *engine, uint64_t address) {
    for (int i = 0; i < ENTRIES; i++)
        if (engine->entries[i].hook && engine->entries[i].address == address) return 0;
    struct entry *entry = &engine->entries[engine->next_entry++ % ENTRIES];
    if (entry->hook) uc_hook_del(engine->uc, entry->hook);
    *entry = (struct entry){.engine = engine, .address = address};
    int error = uc_hook_add(engine->uc, &entry->hook, UC_HOOK_CODE, on_entry, entry, address,
                            address);
    // Code translated before does not know of the hook.
    return error ? error : forget_block(engine, address);
}

static int may_leave(uint8_t byte) {
    return (byte & 0xf4) == 0xe4 || (byte & 0xfc) == 0x6c || byte == 0xf4;
}

static int is_prefix(uint8_t byte) {
    switch (byte) {
    case 0x66: case 0x67: case 0xf2: case 0xf3:
    case 0x2e: case 0x36: case 0x3e: case 0x26: case 0x64: case 0x65:
        return 1;
    default:
        return (byte & 0xf0) == 0x40;
    }
}

int cunicorn_may_leave(cunicorn_engine *engine, uint64_t address) {
    uint8_t code[15];
    if ((address & 0xfff) > 4096 - sizeof code) return 1;
    if (uc_vmem_read(engine->uc, address, UC_PROT_EXEC, code, sizeof code) != UC_ERR_OK) return 1;
    size_t i = 0;
    while (i < sizeof code && is_prefix(code[i])) i++;
    return i == sizeof code || may_leave(code[i]);
}

static int leaves(unsigned id) {
    switch (id) {
    case X86_INS_OUT: case X86_INS_OUTSB: case X86_INS_OUTSW: case X86_INS_OUTSD:
    case X86_INS_IN: case X86_INS_INSB: case X86_INS_INSW: case X86_INS_INSD:
    case X86_INS_HLT:
        return 1;
    default:
        return 0;
    }
}

// The first ones are enough: each of them ends the run, and what lies behind it is then a new block.
static void find_leaving(cunicorn_engine *engine, uint64_t address, size_t size) {
    const uint8_t *code = engine->code;
    cs_insn *instruction = engine->instruction;
    cunicorn_exit *exit = engine->exit;
    while (size > 0 && cs_disasm_iter(engine->disassembler, &code, &size, &address, instruction)) {
        if (!leaves(instruction->id)) continue;
        if (exit->found_count == CUNICORN_FOUND_MAX) break;
        exit->found[exit->found_count++] = instruction->address;
    }
}

// A block was translated and has not run yet: the moment to look for instructions that must end a
// run exactly in front of them. Most blocks have no byte that could be one.
static void on_new_block(uc_engine *uc, uc_tb *block, uc_tb *previous, void *data) {
    (void)previous;
    cunicorn_engine *engine = data;
    if (engine->is_step || engine->exit == NULL) return;
    if (engine->is_stopped) uc_emu_stop(uc);
    if (block->size > CODE_BYTES) return;
    if (uc_vmem_read(uc, block->pc, UC_PROT_EXEC, engine->code, block->size) != UC_ERR_OK) return;
    size_t place = 0;
    while (place < block->size && !may_leave(engine->code[place])) place++;
    if (place == block->size) return;
    engine->exit->found_count = 0;
    find_leaving(engine, block->pc, block->size);
    if (engine->exit->found_count > 0) cunicorn_report(engine, CUNICORN_FOUND);
}

static void on_exception(uc_engine *uc, uint32_t vector, void *data) {
    cunicorn_engine *engine = data;
    // Without a stop the library would go on as if nothing had happened.
    uc_emu_stop(uc);
    if (cunicorn_report(engine, CUNICORN_EXCEPTION)) engine->exit->vector = vector;
}

static bool on_memory(uc_engine *uc, uc_mem_type type, uint64_t address, int size, int64_t value,
                      void *data) {
    (void)uc, (void)size, (void)value;
    cunicorn_engine *engine = data;
    if (!cunicorn_report(engine, CUNICORN_MEMORY)) return false;
    engine->exit->address = address;
    switch (type) {
    case UC_MEM_WRITE_UNMAPPED: case UC_MEM_WRITE_PROT: engine->exit->access = 1; break;
    case UC_MEM_FETCH_UNMAPPED: case UC_MEM_FETCH_PROT: engine->exit->access = 2; break;
    default: engine->exit->access = 0;
    }
    return false;
}

static void on_out(uc_engine *uc, uint32_t port, int size, uint32_t value, void *data) {
    cunicorn_engine *engine = data;
    if (!cunicorn_report(engine, CUNICORN_LATE_OUT)) return;
    engine->exit->port = port;
    engine->exit->size = (uint32_t)size;
    engine->exit->value = value;
    uc_reg_read(uc, UC_X86_REG_RIP, &engine->exit->address);
}

static uint32_t on_in(uc_engine *uc, uint32_t port, int size, void *data) {
    (void)uc, (void)size;
    cunicorn_engine *engine = data;
    if (cunicorn_report(engine, CUNICORN_LATE_IN)) engine->exit->port = port;
    return 0;
}

// Time is counted in questions: two runs of the same guest see the same times.
static int on_clock(uc_engine *uc, void *data) {
    cunicorn_engine *engine = data;
    engine->clock += 1000;
    uint64_t low = (uint32_t)engine->clock, high = engine->clock >> 32;
    uc_reg_write(uc, UC_X86_REG_RAX, &low);
    uc_reg_write(uc, UC_X86_REG_RDX, &high);
    return 1;
}

static int on_clock_and_cpu(uc_engine *uc, void *data) {
    uint64_t zero = 0;
    uc_reg_write(uc, UC_X86_REG_RCX, &zero);
    return on_clock(uc, data);
}

static int add_hook(cunicorn_engine *engine, int type, void *callback, int instruction) {
    uc_hook hook = 0;
    // Begin behind end means every address.
    return -(int)uc_hook_add(engine->uc, &hook, type, callback, engine, 1, 0, instruction);
}

static int add_hooks(cunicorn_engine *engine) {
    int error = add_hook(engine, UC_HOOK_INTR, on_exception, 0);
    if (!error) error = add_hook(engine, UC_HOOK_MEM_INVALID, on_memory, 0);
    if (!error) error = add_hook(engine, UC_HOOK_EDGE_GENERATED, on_new_block, 0);
    if (!error) error = add_hook(engine, UC_HOOK_INSN, on_out, UC_X86_INS_OUT);
    if (!error) error = add_hook(engine, UC_HOOK_INSN, on_in, UC_X86_INS_IN);
    if (!error) error = add_hook(engine, UC_HOOK_INSN, on_clock, UC_X86_INS_RDTSC);
    if (!error) error = add_hook(engine, UC_HOOK_INSN, on_clock_and_cpu, UC_X86_INS_RDTSCP);
    return error;
}

static int open_engine(cunicorn_engine *engine) {
    if (UC_API_MAJOR != 2 || UC_API_MINOR != 1 || UC_API_PATCH != 4
        || uc_version(NULL, NULL) >> 8 != 0x020104)
        return CUNICORN_WRONG_VERSION;
    int error = uc_open(UC_ARCH_X86, UC_MODE_64, &engine->uc);
    // The richest CPU without AVX, which this library does not emulate.
    if (!error) error = uc_ctl_set_cpu_model(engine->uc, UC_CPU_X86_WESTMERE);
    if (!error) error = uc_ctl_set_tcg_buffer_size(engine->uc, 64u << 20);
    if (!error) error = uc_ctl_exits_enable(engine->uc);
    if (!error) error = uc_context_alloc(engine->uc, &engine->image);
    if (error) return -error;
    engine->image_bytes = uc_context_size(engine->uc);
    if (cs_open(CS_ARCH_X86, CS_MODE_64, &engine->disassembler)) return CUNICORN_NO_MEMORY;
    cs_option(engine->disassembler, CS_OPT_DETAIL, CS_OPT_OFF);
    cs_option(engine->disassembler, CS_OPT_SKIPDATA, CS_OPT_ON);
    engine->instruction = cs_malloc(engine->disassembler);
    if (cs_open(CS_ARCH_X86, CS_MODE_64, &engine->detailed)) return CUNICORN_NO_MEMORY;
    cs_option(engine->detailed, CS_OPT_DETAIL, CS_OPT_ON);
    engine->detailed_instruction = cs_malloc(engine->detailed);
    if (!engine->instruction || !engine->detailed_instruction) return CUNICORN_NO_MEMORY;
    return add_hooks(engine);
}

static int compare_bytes(const void *left, const void *right) {
    return *(const char *)left - *(const char *)right;
}

/// glibc's qsort, which Unicorn calls, asks the system once how much memory there is. It does so here,
/// since a worker that is confined may not.
static void warm_up_qsort(void) {
    char bytes[2048] = {1};
    qsort(bytes, sizeof bytes, 1, compare_bytes);
}

int cunicorn_open(cunicorn_engine **result) {
    cunicorn_engine *engine = calloc(1, sizeof *engine);
    if (engine == NULL) return CUNICORN_NO_MEMORY;
    warm_up_qsort();
    int error = open_engine(engine);
    if (!error) error = cunicorn_learn_layout(engine);
    if (error) {
        cunicorn_close(engine);
        return error;
    }
    *result = engine;
    return 0;
}

void cunicorn_close(cunicorn_engine *engine) {
    if (engine->instruction) cs_free(engine->instruction, 1);
    if (engine->detailed_instruction) cs_free(engine->detailed_instruction, 1);
    if (engine->disassembler) cs_close(&engine->disassembler);
    if (engine->detailed) cs_close(&engine->detailed);
    if (engine->image) uc_context_free(engine->image);
    if (engine->uc) uc_close(engine->uc);
    free(engine);
}

const char *cunicorn_error_text(int error) {
    switch (error) {
    case CUNICORN_WRONG_VERSION: return "Unicorn is not version 2.1.4";
    case CUNICORN_NO_MEMORY: return "out of memory";
    case CUNICORN_LAYOUT_UNKNOWN: return "Unicorn's CPU state is not laid out as in 2.1.4";
    default: return uc_strerror((uc_err)-error);
    }
}

int cunicorn_map(cunicorn_engine *engine, uint64_t gpa, size_t size, int is_writable, void *host) {
    uint32_t rights = UC_PROT_READ | UC_PROT_EXEC | (is_writable ? UC_PROT_WRITE : 0);
    return -(int)uc_mem_map_ptr(engine->uc, gpa, size, rights, host);
}

// Where the entry was given up, the block is translated again and `on_new_block` remembers the stop.
static int watch_for_stop(cunicorn_engine *engine, uint64_t rip) {
    if (!engine->is_entry_given_up) return hook_entry(engine, rip);
    engine->is_entry_given_up = 0;
    return forget_block(engine, rip);
}

static int start(cunicorn_engine *engine, int is_step) {
    uint64_t rip = 0;
    int error = uc_reg_read(engine->uc, UC_X86_REG_RIP, &rip);
    if (!error && !is_step) error = watch_for_stop(engine, rip);
    // Code that a free run has translated does not count: a step into it would not end there. The way
    // back costs nothing here, the library itself forgets the code that counts.
    if (!error && is_step && !engine->counts_steps) error = (int)uc_ctl_flush_tb(engine->uc);
    engine->counts_steps = is_step;
    engine->exit->reason = CUNICORN_ENDED;
    return error ? error : (int)uc_emu_start(engine->uc, rip, 0, 0, is_step ? 1 : 0);
}

// The library lets deleted hooks go at the end of a run, and until then goes on translating as if they
// were there. So there is a run that ends at its first instruction, and what it translated goes too.
static int drop_hooks(cunicorn_engine *engine) {
    engine->is_dropping_hooks = 1;
    int error = start(engine, 0);
    engine->is_dropping_hooks = engine->has_deleted_hooks = 0;
    int flush_error = (int)uc_ctl_flush_tb(engine->uc);
    return error ? error : flush_error;
}

static int must_go_on(const cunicorn_engine *engine) {
    return engine->exit->reason == CUNICORN_ENDED && !engine->is_stopped && !engine->is_memory_used;
}

static int run(cunicorn_engine *engine, int is_step) {
    if (is_step) return start(engine, 1);
    int error = engine->has_deleted_hooks ? drop_hooks(engine) : 0;
    if (error || !must_go_on(engine)) return error;
    do error = start(engine, 0);
    while (engine->is_entry_given_up && !error && must_go_on(engine));
    return error;
}

void cunicorn_run(cunicorn_engine *engine, int is_step, cunicorn_exit *exit) {
    memset(exit, 0, sizeof *exit);
    engine->exit = exit;
    engine->is_step = is_step;
    engine->is_entry_given_up = 0;
    engine->is_memory_used = 0;
    int error = run(engine, is_step);
    exit->is_memory_used = engine->is_memory_used;
    exit->instruction = engine->current;
    engine->exit = NULL;
    if (exit->reason != CUNICORN_ENDED || !error) return;
    exit->error = -error;
    // An undefined instruction is the one exception that comes as an error.
    exit->reason = error == UC_ERR_INSN_INVALID ? CUNICORN_EXCEPTION : CUNICORN_FAILED;
    exit->vector = 6;
}

// Called by a signal handler, where ThreadSanitizer's own locks may be taken already.
#if defined(__has_feature) && __has_feature(thread_sanitizer)
__attribute__((disable_sanitizer_instrumentation))
#endif
void cunicorn_stop(void *argument) {
    cunicorn_engine *engine = argument;
    engine->is_stopped = 1;
    // A step is one instruction, which comes to its end: it is the next run that sees the request.
    if (!engine->is_step) uc_emu_stop(engine->uc);
}

int cunicorn_is_stopped(cunicorn_engine *engine) { return engine->is_stopped; }

void cunicorn_forget_stop(cunicorn_engine *engine) { engine->is_stopped = 0; }

int cunicorn_watch(cunicorn_engine *engine, uint64_t address, size_t *handle) {
    uc_hook hook = 0;
    int error = uc_hook_add(engine->uc, &hook, UC_HOOK_CODE, on_watched, engine, address, address);
    *handle = hook;
    return -error;
}

int cunicorn_unwatch(cunicorn_engine *engine, size_t handle) {
    return -(int)uc_hook_del(engine->uc, handle);
}

int cunicorn_forget_code(cunicorn_engine *engine, uint64_t address) {
    return -forget_block(engine, address);
}

int cunicorn_forget_all_code(cunicorn_engine *engine) { return -(int)uc_ctl_flush_tb(engine->uc); }

int cunicorn_forget_translations(cunicorn_engine *engine) {
    return -(int)uc_ctl_flush_tlb(engine->uc);
}

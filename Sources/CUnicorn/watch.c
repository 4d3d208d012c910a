// Watched memory.
//
// The library's hooks see accesses to physical memory, and a guest uses linear addresses. What decides
// is the caller's judge; this side asks it only where kind and place within a page allow a hit, and
// stops the run behind the instruction.

#include "engine.h"

#include <string.h>

enum { PAGE_OFFSET = 0xfff };

// Paging keeps the place within a page: an access uses a byte of the range only when it begins in the
// range, or so little in front of it that it reaches into it, as far as that place is concerned.
static int may_use(const cunicorn_watched *watched, uint64_t gpa, uint64_t size, int is_write) {
    if (is_write ? !watched->is_write_watched : !watched->is_read_watched) return 0;
    uint64_t before = size - 1;
    return ((gpa - (watched->start - before)) & PAGE_OFFSET) < watched->size + before;
}

static void read_store_state(cunicorn_engine *engine, uint64_t *rcx, uint64_t *rsp) {
    uc_reg_read(engine->uc, UC_X86_REG_RCX, rcx);
    uc_reg_read(engine->uc, UC_X86_REG_RSP, rsp);
}

static void on_access(uc_engine *uc, uc_mem_type type, uint64_t gpa, int size, int64_t value,
                      void *data) {
    (void)uc, (void)value;
    cunicorn_engine *engine = data;
    engine->watch_calls++;
    if (engine->is_memory_used || size <= 0) return;
    int is_write = type == UC_MEM_WRITE;
    size_t i = 0;
    while (i < engine->watched_count &&
           !may_use(&engine->watched[i], gpa, (uint64_t)size, is_write)) i++;
    if (i == engine->watched_count) return;
    if (!engine->judge(engine->judge_context, engine->current, gpa, (uint32_t)size, is_write))
        return;
    engine->is_memory_used = 1;
    engine->is_store_used = is_write;
    read_store_state(engine, &engine->store_rcx, &engine->store_rsp);
}

// A store into the block that runs is begun again with a new translation, so nothing of it is done yet.
// The same instruction also follows a repetition, which counts RCX, and a call of itself.
static int is_begun_again(cunicorn_engine *engine, uint64_t address) {
    if (!engine->is_store_used || address != engine->current) return 0;
    uint64_t rcx = 0, rsp = 0;
    read_store_state(engine, &rcx, &rsp);
    return rcx == engine->store_rcx && rsp == engine->store_rsp;
}

static void on_instruction(uc_engine *uc, uint64_t address, uint32_t size, void *data) {
    (void)size;
    cunicorn_engine *engine = data;
    engine->watch_calls++;
    if (engine->is_memory_used && is_begun_again(engine, address)) engine->is_memory_used = 0;
    if (engine->is_memory_used) {
        cunicorn_report(engine, CUNICORN_USED);
        return;
    }
    engine->current = address;
    if (engine->is_stopped) uc_emu_stop(uc);
}

static int unhook(cunicorn_engine *engine, uc_hook *hook) {
    if (*hook == 0) return 0;
    int error = uc_hook_del(engine->uc, *hook);
    *hook = 0;
    engine->has_deleted_hooks = 1;
    return error;
}

static int hook_accesses(cunicorn_engine *engine) {
    int types = 0;
    for (size_t i = 0; i < engine->watched_count; i++) {
        if (engine->watched[i].is_read_watched) types |= UC_HOOK_MEM_READ;
        if (engine->watched[i].is_write_watched) types |= UC_HOOK_MEM_WRITE;
    }
    if (types == 0) return 0;
    // Begin behind end means every address.
    int error = uc_hook_add(engine->uc, &engine->access_hook, types, on_access, engine, 1, 0);
    if (error) return error;
    return (int)uc_hook_add(engine->uc, &engine->instruction_hook, UC_HOOK_CODE, on_instruction,
                            engine, 1, 0);
}

int cunicorn_watch_memory(cunicorn_engine *engine, const cunicorn_watched *watched, size_t count,
                          cunicorn_judge judge, void *context) {
    if (count > CUNICORN_WATCHED_MAX) return -UC_ERR_ARG;
    int error = unhook(engine, &engine->access_hook);
    if (!error) error = unhook(engine, &engine->instruction_hook);
    if (count > 0) memcpy(engine->watched, watched, count * sizeof *watched);
    engine->watched_count = count;
    engine->judge = judge;
    engine->judge_context = context;
    return error ? -error : -hook_accesses(engine);
}

uint64_t cunicorn_watch_calls(cunicorn_engine *engine) { return engine->watch_calls; }

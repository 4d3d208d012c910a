// Registers and the parts of the CPU that only a saved image shows.

#include "engine.h"

#include <string.h>

enum { GENERAL = sizeof(cunicorn_general) / sizeof(uint64_t) };

static int general_names[GENERAL] = {
    UC_X86_REG_RAX, UC_X86_REG_RBX, UC_X86_REG_RCX, UC_X86_REG_RDX, UC_X86_REG_RSI,
    UC_X86_REG_RDI, UC_X86_REG_RBP, UC_X86_REG_RSP, UC_X86_REG_R8,  UC_X86_REG_R9,
    UC_X86_REG_R10, UC_X86_REG_R11, UC_X86_REG_R12, UC_X86_REG_R13, UC_X86_REG_R14,
    UC_X86_REG_R15, UC_X86_REG_RIP, UC_X86_REG_RFLAGS,
};

enum { EFER = 0xc0000080, SEGMENT_BYTES = 24, GDT = 8, IDT = 9 };

int cunicorn_get_rip(cunicorn_engine *engine, uint64_t *rip) {
    return -(int)uc_reg_read(engine->uc, UC_X86_REG_RIP, rip);
}

int cunicorn_get_general(cunicorn_engine *engine, cunicorn_general *general) {
    void *places[GENERAL];
    for (int i = 0; i < GENERAL; i++) places[i] = (uint64_t *)general + i;
    return -(int)uc_reg_read_batch(engine->uc, general_names, places, GENERAL);
}

int cunicorn_set_general(cunicorn_engine *engine, const cunicorn_general *general) {
    void *places[GENERAL];
    for (int i = 0; i < GENERAL; i++) places[i] = (uint64_t *)general + i;
    return -(int)uc_reg_write_batch(engine->uc, general_names, places, GENERAL);
}

int cunicorn_get_msr(cunicorn_engine *engine, uint32_t number, uint64_t *value) {
    uc_x86_msr msr = {.rid = number};
    int error = uc_reg_read(engine->uc, UC_X86_REG_MSR, &msr);
    *value = msr.value;
    return -error;
}

int cunicorn_set_msr(cunicorn_engine *engine, uint32_t number, uint64_t value) {
    const uc_x86_msr msr = {.rid = number, .value = value};
    return -(int)uc_reg_write(engine->uc, UC_X86_REG_MSR, &msr);
}

int cunicorn_get_control(cunicorn_engine *engine, cunicorn_control *control) {
    int error = uc_reg_read(engine->uc, UC_X86_REG_CR0, &control->cr0);
    if (!error) error = uc_reg_read(engine->uc, UC_X86_REG_CR2, &control->cr2);
    if (!error) error = uc_reg_read(engine->uc, UC_X86_REG_CR3, &control->cr3);
    if (!error) error = uc_reg_read(engine->uc, UC_X86_REG_CR4, &control->cr4);
    control->cr8 = 0;
    return error ? -error : cunicorn_get_msr(engine, EFER, &control->efer);
}

// CR0 last: it turns paging on with whatever the others say by then.
int cunicorn_set_control(cunicorn_engine *engine, const cunicorn_control *control) {
    int error = uc_reg_write(engine->uc, UC_X86_REG_CR4, &control->cr4);
    if (!error) error = -cunicorn_set_msr(engine, EFER, control->efer);
    if (!error) error = uc_reg_write(engine->uc, UC_X86_REG_CR3, &control->cr3);
    if (!error) error = uc_reg_write(engine->uc, UC_X86_REG_CR2, &control->cr2);
    if (!error) error = uc_reg_write(engine->uc, UC_X86_REG_CR0, &control->cr0);
    return -error;
}

static uint8_t *image_segment(cunicorn_engine *engine, int index) {
    return (uint8_t *)engine->image + engine->segments_at + (size_t)index * SEGMENT_BYTES;
}

int cunicorn_get_segments(cunicorn_engine *engine, cunicorn_segment *segments) {
    int error = uc_context_save(engine->uc, engine->image);
    for (int i = 0; i < CUNICORN_SEGMENTS; i++) {
        const uint8_t *place = image_segment(engine, i);
        memcpy(&segments[i].selector, place, 4);
        memcpy(&segments[i].base, place + 8, 8);
        memcpy(&segments[i].limit, place + 16, 4);
        memcpy(&segments[i].flags, place + 20, 4);
    }
    return -error;
}

int cunicorn_set_segments(cunicorn_engine *engine, const cunicorn_segment *segments) {
    int error = uc_context_save(engine->uc, engine->image);
    if (error) return -error;
    for (int i = 0; i < CUNICORN_SEGMENTS; i++) {
        uint8_t *place = image_segment(engine, i);
        memcpy(place, &segments[i].selector, 4);
        memcpy(place + 8, &segments[i].base, 8);
        memcpy(place + 16, &segments[i].limit, 4);
        memcpy(place + 20, &segments[i].flags, 4);
    }
    return -(int)uc_context_restore(engine->uc, engine->image);
}

int cunicorn_get_vector(cunicorn_engine *engine, cunicorn_vector *vector) {
    memset(vector, 0, sizeof *vector);
    int error = uc_reg_read(engine->uc, UC_X86_REG_FPCW, &vector->control);
    if (!error) error = uc_reg_read(engine->uc, UC_X86_REG_FPSW, &vector->status);
    if (!error) error = uc_reg_read(engine->uc, UC_X86_REG_FPTAG, &vector->tag);
    if (!error) error = uc_reg_read(engine->uc, UC_X86_REG_FOP, &vector->opcode);
    if (!error) error = uc_reg_read(engine->uc, UC_X86_REG_FIP, &vector->instruction);
    if (!error) error = uc_reg_read(engine->uc, UC_X86_REG_FDP, &vector->operand);
    if (!error) error = uc_reg_read(engine->uc, UC_X86_REG_MXCSR, &vector->mxcsr);
    for (int i = 0; i < 8 && !error; i++)
        error = uc_reg_read(engine->uc, UC_X86_REG_FP0 + i, vector->st[i]);
    for (int i = 0; i < 16 && !error; i++)
        error = uc_reg_read(engine->uc, UC_X86_REG_XMM0 + i, vector->xmm[i]);
    return -error;
}

int cunicorn_set_vector(cunicorn_engine *engine, const cunicorn_vector *vector) {
    int error = uc_reg_write(engine->uc, UC_X86_REG_FPCW, &vector->control);
    if (!error) error = uc_reg_write(engine->uc, UC_X86_REG_FPSW, &vector->status);
    if (!error) error = uc_reg_write(engine->uc, UC_X86_REG_FPTAG, &vector->tag);
    if (!error) error = uc_reg_write(engine->uc, UC_X86_REG_FOP, &vector->opcode);
    if (!error) error = uc_reg_write(engine->uc, UC_X86_REG_FIP, &vector->instruction);
    if (!error) error = uc_reg_write(engine->uc, UC_X86_REG_FDP, &vector->operand);
    if (!error) error = uc_reg_write(engine->uc, UC_X86_REG_MXCSR, &vector->mxcsr);
    for (int i = 0; i < 8 && !error; i++)
        error = uc_reg_write(engine->uc, UC_X86_REG_FP0 + i, vector->st[i]);
    for (int i = 0; i < 16 && !error; i++)
        error = uc_reg_write(engine->uc, UC_X86_REG_XMM0 + i, vector->xmm[i]);
    return -error;
}

// Where the words about an exception lie, seen from DR6: the error code and the mark of a software
// interrupt in front of DR0, the vector "in delivery" behind the breakpoint pointers.
enum { ERROR_CODE = -64, IS_SOFTWARE = -60, IN_DELIVERY = 48 };

static int32_t *image_word(cunicorn_engine *engine, int distance) {
    return (int32_t *)(void *)((uint8_t *)engine->image + engine->dr6_at + distance);
}

int cunicorn_take_exception(cunicorn_engine *engine, uint32_t *error_code, int *is_software) {
    int error = uc_context_save(engine->uc, engine->image);
    if (error) return -error;
    *error_code = (uint32_t)*image_word(engine, ERROR_CODE);
    *is_software = *image_word(engine, IS_SOFTWARE);
    if (*image_word(engine, IN_DELIVERY) == -1) return 0;
    // Nobody else clears it: the next page fault would arrive as a double fault.
    *image_word(engine, IN_DELIVERY) = -1;
    return -(int)uc_context_restore(engine->uc, engine->image);
}

/// The one place of the image that holds `first` and, `distance` bytes behind it, `second`.
static int find_pair(cunicorn_engine *engine, uint64_t first, uint64_t second, size_t distance,
                     size_t *place) {
    const uint8_t *image = (const uint8_t *)engine->image;
    int count = 0;
    for (size_t at = 0; at + distance + 8 <= engine->image_bytes; at += 4) {
        if (memcmp(image + at, &first, 8) || memcmp(image + at + distance, &second, 8)) continue;
        *place = at;
        count++;
    }
    return count == 1 ? 0 : CUNICORN_LAYOUT_UNKNOWN;
}

static int find_places(cunicorn_engine *engine) {
    const uint64_t dr6 = 0x1d6e5fa34b7c9280, dr7 = 0x7a91c3d5e6f80b24;
    const uc_x86_mmr gdt = {.base = 0x123456789000}, idt = {.base = 0xfedcba987000};
    int error = uc_reg_write(engine->uc, UC_X86_REG_DR6, &dr6);
    if (!error) error = uc_reg_write(engine->uc, UC_X86_REG_DR7, &dr7);
    if (!error) error = uc_reg_write(engine->uc, UC_X86_REG_GDTR, &gdt);
    if (!error) error = uc_reg_write(engine->uc, UC_X86_REG_IDTR, &idt);
    if (!error) error = uc_context_save(engine->uc, engine->image);
    if (error) return -error;
    size_t gdt_base = 0;
    error = find_pair(engine, dr6, dr7, 8, &engine->dr6_at);
    if (!error) error = find_pair(engine, gdt.base, idt.base, SEGMENT_BYTES, &gdt_base);
    size_t before = GDT * SEGMENT_BYTES + 8;
    if (error || gdt_base < before || engine->dr6_at < 64 ||
        engine->dr6_at + IN_DELIVERY + 4 > engine->image_bytes)
        return CUNICORN_LAYOUT_UNKNOWN;
    engine->segments_at = gdt_base - before;
    return 0;
}

static int reset_places(cunicorn_engine *engine) {
    const uint64_t dr6 = 0xffff0ff0, dr7 = 0x400;
    const uc_x86_mmr none = {0};
    int error = uc_reg_write(engine->uc, UC_X86_REG_DR6, &dr6);
    if (!error) error = uc_reg_write(engine->uc, UC_X86_REG_DR7, &dr7);
    if (!error) error = uc_reg_write(engine->uc, UC_X86_REG_GDTR, &none);
    if (!error) error = uc_reg_write(engine->uc, UC_X86_REG_IDTR, &none);
    return -error;
}

// A general protection fault with error code 8, to see that the words are where they should be. It
// is also the first code that runs: afterwards the engine has all the executable memory it needs.
static int try_places(cunicorn_engine *engine) {
    static const uint8_t code[] = {
        // A block that ends well: the library announces new blocks only when it has seen one.
        0xeb, 0x00,                   // jmp to the next instruction
        0xb8, 0x08, 0x00, 0x00, 0x00, // mov eax, 8
        0x0f, 0x00, 0xd8,             // ltr ax, behind the end of an empty GDT
    };
    int error = uc_mem_map(engine->uc, 0, 4096, UC_PROT_ALL);
    if (!error) error = uc_mem_write(engine->uc, 0, code, sizeof code);
    if (error) return -error;
    cunicorn_exit exit;
    uint32_t error_code = 0;
    int is_software = 1;
    cunicorn_run(engine, 0, &exit);
    error = uc_context_save(engine->uc, engine->image);
    int mark = *image_word(engine, IN_DELIVERY);
    if (!error) error = -cunicorn_take_exception(engine, &error_code, &is_software);
    if (!error) error = uc_mem_unmap(engine->uc, 0, 4096);
    if (error) return -error;
    int is_right = exit.reason == CUNICORN_EXCEPTION && exit.vector == 13 && mark == 13 &&
                   error_code == 8 && is_software == 0;
    return is_right ? 0 : CUNICORN_LAYOUT_UNKNOWN;
}

int cunicorn_learn_layout(cunicorn_engine *engine) {
    int error = find_places(engine);
    if (!error) error = reset_places(engine);
    if (!error) error = try_places(engine);
    // As after a reset, which the library leaves out in part.
    const cunicorn_general general = {.rflags = 2};
    const cunicorn_vector vector = {.control = 0x37f, .tag = 0xffff, .mxcsr = 0x1f80};
    if (!error) error = cunicorn_set_general(engine, &general);
    return error ? error : cunicorn_set_vector(engine, &vector);
}

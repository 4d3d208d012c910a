// Which memory an instruction may use, from its operands.

#include "engine.h"

#include <string.h>

enum {
    /// FXSAVE's operand, the longest.
    OPERAND_BYTES = 512,
    /// What PUSH, CALL, ENTER, XLAT and the like use around a register that they do not name.
    AROUND_BYTES = 512,
};

static const struct { x86_reg wide, half; int name; } registers[] = {
    {X86_REG_RAX, X86_REG_EAX, UC_X86_REG_RAX},  {X86_REG_RBX, X86_REG_EBX, UC_X86_REG_RBX},
    {X86_REG_RCX, X86_REG_ECX, UC_X86_REG_RCX},  {X86_REG_RDX, X86_REG_EDX, UC_X86_REG_RDX},
    {X86_REG_RSI, X86_REG_ESI, UC_X86_REG_RSI},  {X86_REG_RDI, X86_REG_EDI, UC_X86_REG_RDI},
    {X86_REG_RBP, X86_REG_EBP, UC_X86_REG_RBP},  {X86_REG_RSP, X86_REG_ESP, UC_X86_REG_RSP},
    {X86_REG_R8, X86_REG_R8D, UC_X86_REG_R8},    {X86_REG_R9, X86_REG_R9D, UC_X86_REG_R9},
    {X86_REG_R10, X86_REG_R10D, UC_X86_REG_R10}, {X86_REG_R11, X86_REG_R11D, UC_X86_REG_R11},
    {X86_REG_R12, X86_REG_R12D, UC_X86_REG_R12}, {X86_REG_R13, X86_REG_R13D, UC_X86_REG_R13},
    {X86_REG_R14, X86_REG_R14D, UC_X86_REG_R14}, {X86_REG_R15, X86_REG_R15D, UC_X86_REG_R15},
};

enum { REGISTERS = sizeof registers / sizeof *registers };

static uint64_t value_of(cunicorn_engine *engine, x86_reg name, uint64_t next) {
    if (name == X86_REG_RIP || name == X86_REG_EIP) return next;
    uint64_t value = 0;
    for (int i = 0; i < REGISTERS; i++) {
        if (name != registers[i].wide && name != registers[i].half) continue;
        uc_reg_read(engine->uc, registers[i].name, &value);
        return name == registers[i].half ? (uint32_t)value : value;
    }
    return 0;
}

static uint64_t segment_base(cunicorn_engine *engine, x86_reg segment) {
    uint64_t base = 0;
    if (segment == X86_REG_FS) uc_reg_read(engine->uc, UC_X86_REG_FS_BASE, &base);
    if (segment == X86_REG_GS) uc_reg_read(engine->uc, UC_X86_REG_GS_BASE, &base);
    return base;
}

static cunicorn_reach operand_reach(cunicorn_engine *engine, const cs_x86 *x86,
                                    const cs_x86_op *operand, uint64_t next) {
    const x86_op_mem *memory = &operand->mem;
    uint64_t offset = value_of(engine, memory->base, next) + (uint64_t)memory->disp +
                      value_of(engine, memory->index, next) * (uint64_t)memory->scale;
    if (x86->addr_size == 4) offset = (uint32_t)offset;
    return (cunicorn_reach){
        .start = segment_base(engine, memory->segment) + offset,
        .size = OPERAND_BYTES,
        // The disassembler does not know it of every instruction.
        .is_read = operand->access == 0 || operand->access & CS_AC_READ,
        .is_written = operand->access == 0 || operand->access & CS_AC_WRITE,
    };
}

static cunicorn_reach reach_around(cunicorn_engine *engine, x86_reg name, uint64_t next) {
    return (cunicorn_reach){value_of(engine, name, next) - AROUND_BYTES, 2 * AROUND_BYTES, 1, 1};
}

// Whether an operand says how the instruction uses this register.
static int is_named(const cs_x86 *x86, x86_reg name) {
    for (int i = 0; i < x86->op_count; i++) {
        if (x86->operands[i].type != X86_OP_MEM) continue;
        if (x86->operands[i].mem.base == name || x86->operands[i].mem.index == name) return 1;
    }
    return 0;
}

// With a register as its second operand it reaches a bit anywhere in memory.
static int tests_far_bits(const cs_insn *instruction, const cs_x86 *x86) {
    switch (instruction->id) {
    case X86_INS_BT: case X86_INS_BTC: case X86_INS_BTR: case X86_INS_BTS:
        return x86->operands[1].type == X86_OP_REG;
    default:
        return 0;
    }
}

int cunicorn_find_reaches(cunicorn_engine *engine, const uint8_t *code, size_t size,
                          uint64_t address, cunicorn_reach *reaches) {
    cs_insn *instruction = engine->detailed_instruction;
    if (!cs_disasm_iter(engine->detailed, &code, &size, &address, instruction)) return 0;
    // `address` is that of the next instruction now.
    const cs_detail *detail = instruction->detail;
    const cs_x86 *x86 = &detail->x86;
    if (tests_far_bits(instruction, x86)) return 0;
    int count = 0;
    for (int i = 0; i < x86->op_count && count < CUNICORN_REACHES_MAX; i++) {
        if (x86->operands[i].type != X86_OP_MEM) continue;
        reaches[count++] = operand_reach(engine, x86, &x86->operands[i], address);
    }
    for (int i = 0; i < detail->regs_read_count && count < CUNICORN_REACHES_MAX; i++) {
        x86_reg name = (x86_reg)detail->regs_read[i];
        if (name == X86_REG_EFLAGS || is_named(x86, name)) continue;
        reaches[count++] = reach_around(engine, name, address);
    }
    return count;
}

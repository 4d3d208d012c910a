// The Microsoft hypervisor's Linux ABI, as far as the shim and its monitor need it: numbers and layouts.
//
// A header of its own on purpose, shared with nothing in Sources: a number that is wrong in the driver must
// not be wrong here as well. Facts: Linux include/uapi/linux/mshv.h and include/hyperv/*.h.
#pragma once

#include <stddef.h>
#include <stdint.h>

#define ABI_SIZE(type, size) _Static_assert(sizeof(type) == (size), #type " has the wrong size")
#define ABI_AT(type, field, offset) \
    _Static_assert(offsetof(type, field) == (offset), #type "." #field " is at the wrong offset")

// --- Requests -------------------------------------------------------------------------------------

enum { MSHV_MAGIC = 0xb8 };

#define MSHV_CREATE_PARTITION 0x4010b800u      // on the device
#define MSHV_INITIALIZE_PARTITION 0x0000b800u  // on a partition, down to ROOT_HVCALL
#define MSHV_CREATE_VP 0x4004b801u
#define MSHV_SET_GUEST_MEMORY 0x4020b802u
#define MSHV_IRQFD 0x4010b803u
#define MSHV_IOEVENTFD 0x4020b804u
#define MSHV_SET_MSI_ROUTING 0x4008b805u
#define MSHV_GET_GPAP_ACCESS_BITMAP 0xc020b806u
#define MSHV_ROOT_HVCALL 0xc020b807u  // on a VP as well
#define MSHV_RUN_VP 0x8100b800u       // on a VP, and so on
#define MSHV_GET_VP_STATE 0xc010b801u
#define MSHV_SET_VP_STATE 0xc010b802u
#define MSHV_TRANSLATE_GVA 0xc020b8f2u  // Microsoft's own kernels only

enum {
    MSHV_PAGE_SIZE = 4096,
    MSHV_MAX_VPS = 256,
    MSHV_MMAP_REGISTERS = 0,
    MSHV_MMAP_MESSAGE = 4096,
    MSHV_MMAP_GHCB = 8192,
};

// --- Arguments ------------------------------------------------------------------------------------

enum {
    MSHV_PARTITION_LAPIC = 1 << 0,
    MSHV_PARTITION_X2APIC = 1 << 1,
    MSHV_PARTITION_LARGE_PAGES = 1 << 2,
    MSHV_PARTITION_V2 = 1 << 3,
    MSHV_FEATURE_BANKS = 2,
};

struct mshv_create_partition {
    uint64_t flags;
    uint64_t isolation;
};
ABI_SIZE(struct mshv_create_partition, 16);

struct mshv_create_partition_v2 {
    uint64_t flags;
    uint64_t isolation;
    uint16_t feature_banks;
    uint8_t zero[6];
    uint64_t disabled_features[MSHV_FEATURE_BANKS];
    uint8_t zero2[16];
    uint64_t disabled_xsave;
} __attribute__((packed));
ABI_SIZE(struct mshv_create_partition_v2, 64);
ABI_AT(struct mshv_create_partition_v2, feature_banks, 16);
ABI_AT(struct mshv_create_partition_v2, disabled_features, 24);
ABI_AT(struct mshv_create_partition_v2, disabled_xsave, 56);

enum { MSHV_MEMORY_WRITABLE = 1, MSHV_MEMORY_EXECUTABLE = 2, MSHV_MEMORY_UNMAP = 4 };

struct mshv_memory_region {
    uint64_t size;
    uint64_t first_page;
    uint64_t hva;
    uint8_t flags;
    uint8_t zero[7];
};
ABI_SIZE(struct mshv_memory_region, 32);
ABI_AT(struct mshv_memory_region, flags, 24);

struct mshv_hypercall {
    uint16_t code;
    uint16_t reps;
    uint16_t input_size;
    uint16_t output_size;
    uint16_t status;
    uint8_t zero[6];
    uint64_t input;
    uint64_t output;
};
ABI_SIZE(struct mshv_hypercall, 32);
ABI_AT(struct mshv_hypercall, status, 8);
ABI_AT(struct mshv_hypercall, input, 16);

enum { MSHV_STATE_LAPIC = 0, MSHV_STATE_XSAVE = 1, MSHV_STATE_COUNT = 5 };

struct mshv_vp_state {
    uint8_t type;
    uint8_t zero[3];
    uint32_t size;
    uint64_t buffer;
};
ABI_SIZE(struct mshv_vp_state, 16);
ABI_AT(struct mshv_vp_state, size, 4);
ABI_AT(struct mshv_vp_state, buffer, 8);

enum { MSHV_ACCESSED = 0, MSHV_DIRTY = 1 };
enum { MSHV_BITS_NONE = 0, MSHV_BITS_CLEAR = 1, MSHV_BITS_SET = 2 };

struct mshv_access_bitmap {
    uint8_t type;
    uint8_t operation;
    uint8_t zero[6];
    uint64_t pages;
    uint64_t first_page;
    uint64_t bitmap;
};
ABI_SIZE(struct mshv_access_bitmap, 32);
ABI_AT(struct mshv_access_bitmap, pages, 8);
ABI_AT(struct mshv_access_bitmap, bitmap, 24);

// --- Hypercalls -----------------------------------------------------------------------------------

enum {
    HVCALL_GET_PARTITION_PROPERTY = 0x44,
    HVCALL_SET_PARTITION_PROPERTY = 0x45,
    HVCALL_INSTALL_INTERCEPT = 0x4d,
    HVCALL_GET_VP_REGISTERS = 0x50,
    HVCALL_SET_VP_REGISTERS = 0x51,
    HVCALL_TRANSLATE_VIRTUAL_ADDRESS = 0x52,
    HVCALL_CLEAR_VIRTUAL_INTERRUPT = 0x56,
    HVCALL_REGISTER_INTERCEPT_RESULT = 0x91,
    HVCALL_ASSERT_VIRTUAL_INTERRUPT = 0x94,
    HVCALL_SIGNAL_EVENT_DIRECT = 0xc0,
    HVCALL_POST_MESSAGE_DIRECT = 0xc1,
    HVCALL_GET_VP_CPUID_VALUES = 0xf4,
};

enum {
    HV_SUCCESS = 0,
    HV_INVALID_CODE = 2,
    HV_INVALID_INPUT = 3,
    HV_INVALID_PARAMETER = 5,
    HV_INVALID_PARTITION_STATE = 7,
    HV_OPERATION_DENIED = 8,
    HV_UNKNOWN_PROPERTY = 9,
    HV_PROPERTY_VALUE_RANGE = 0xa,
    HV_INSUFFICIENT_MEMORY = 0xb,
    HV_INVALID_PARTITION_ID = 0xd,
    HV_INVALID_VP_INDEX = 0xe,
    HV_INVALID_VP_STATE = 0x15,
    HV_INVALID_REGISTER_VALUE = 0x50,
    HV_TIME_OUT = 0x78,
};

enum {
    HV_PROPERTY_SYNTHETIC_FEATURES = 0x00010001,
    HV_PROPERTY_PAGE_TRACKING = 0x00050005,
    HV_PROPERTY_XSAVE_STATES = 0x00060007,
    HV_PROPERTY_XSAVE_SIZE_MAX = 0x00060008,
    HV_PROPERTY_FEATURES_0 = 0x0006000a,
    HV_PROPERTY_FEATURES_1 = 0x0006000b,
};

struct hv_property_input {
    uint64_t partition;
    uint32_t property;
    uint32_t zero;
    uint64_t value;  // only when setting
};
ABI_SIZE(struct hv_property_input, 24);
ABI_AT(struct hv_property_input, property, 8);
ABI_AT(struct hv_property_input, value, 16);
enum { HV_GET_PROPERTY_INPUT_SIZE = 16 };

enum { HV_INTERCEPT_EXCEPTION = 3, HV_ACCESS_EXECUTE_MASK = 4 };

struct hv_intercept_input {
    uint64_t partition;
    uint32_t access;
    uint32_t type;
    uint64_t parameter;
};
ABI_SIZE(struct hv_intercept_input, 24);
ABI_AT(struct hv_intercept_input, type, 12);

struct hv_vp_header {
    uint64_t partition;
    uint32_t vp;
    uint8_t vtl;
    uint8_t zero[3];
};
ABI_SIZE(struct hv_vp_header, 16);
ABI_AT(struct hv_vp_header, vtl, 12);

struct hv_value {
    uint64_t low, high;
};
ABI_SIZE(struct hv_value, 16);

struct hv_register {
    uint32_t name;
    uint32_t zero;
    uint64_t zero2;
    struct hv_value value;
};
ABI_SIZE(struct hv_register, 32);
ABI_AT(struct hv_register, value, 16);

enum { HV_REGISTERS_PER_CALL = (MSHV_PAGE_SIZE - 16) / 32 };
_Static_assert(HV_REGISTERS_PER_CALL == 127, "entries in one set call");

struct hv_translate_input {
    uint64_t partition;
    uint32_t vp;
    uint32_t zero;
    uint64_t flags;
    uint64_t page;
};
ABI_SIZE(struct hv_translate_input, 32);
ABI_AT(struct hv_translate_input, flags, 16);

enum { HV_TRANSLATE_READ = 1, HV_TRANSLATE_WRITE = 2, HV_TRANSLATE_EXECUTE = 4, HV_TRANSLATE_EXEMPT = 8 };
enum {
    HV_TRANSLATED = 0,
    HV_TRANSLATE_NOT_PRESENT = 1,
    HV_TRANSLATE_PRIVILEGE = 2,
    HV_TRANSLATE_BAD_TABLE = 3,
    HV_TRANSLATE_GPA_UNMAPPED = 4,
    HV_TRANSLATE_NO_READ = 5,
    HV_TRANSLATE_NO_WRITE = 6,
};

struct hv_translate_output {
    uint64_t result;
    uint64_t page;
};
ABI_SIZE(struct hv_translate_output, 16);

struct hv_cpuid_header {
    uint64_t partition;
    uint32_t vp;
    uint32_t flags;
    uint64_t zero;
};
ABI_SIZE(struct hv_cpuid_header, 24);

struct hv_cpuid_leaf {
    uint32_t eax, ecx;
    uint64_t xfem, xss;
};
ABI_SIZE(struct hv_cpuid_leaf, 24);

// --- Register names -------------------------------------------------------------------------------

enum {
    HV_EXPLICIT_SUSPEND = 0,
    HV_INTERCEPT_SUSPEND = 1,
    HV_ACTIVITY_STATE = 4,
    HV_PENDING_INTERRUPTION = 0x10002,
    HV_INTERRUPT_STATE = 0x10003,
    HV_PENDING_EVENT_0 = 0x10004,
    HV_PENDING_EVENT_1 = 0x10005,
    HV_DELIVERABILITY = 0x10006,
    HV_PENDING_DEBUG_EXCEPTION = 0x10007,
    HV_RAX = 0x20000,  // RCX RDX RBX RSP RBP RSI RDI R8..R15 follow
    HV_RIP = 0x20010,
    HV_RFLAGS = 0x20011,
    HV_XMM0 = 0x30000,
    HV_FP0 = 0x30010,
    HV_FP_CONTROL = 0x30018,
    HV_XMM_CONTROL = 0x30019,
    HV_CR0 = 0x40000,
    HV_CR2 = 0x40001,
    HV_CR3 = 0x40002,
    HV_CR4 = 0x40003,
    HV_CR8 = 0x40004,
    HV_XCR0 = 0x40005,
    HV_INTERMEDIATE_CR0 = 0x41000,
    HV_INTERMEDIATE_CR3 = 0x41002,
    HV_INTERMEDIATE_CR4 = 0x41003,
    HV_INTERMEDIATE_CR8 = 0x41004,
    HV_DR0 = 0x50000,
    HV_DR6 = 0x50004,
    HV_DR7 = 0x50005,
    HV_ES = 0x60000,
    HV_CS = 0x60001,
    HV_SS = 0x60002,
    HV_DS = 0x60003,
    HV_FS = 0x60004,
    HV_GS = 0x60005,
    HV_LDTR = 0x60006,
    HV_TR = 0x60007,
    HV_IDTR = 0x70000,
    HV_GDTR = 0x70001,
    HV_TSC = 0x80000,
    HV_EFER = 0x80001,
    HV_KERNEL_GS_BASE = 0x80002,
    HV_APIC_BASE = 0x80003,
    HV_PAT = 0x80004,
    HV_SYSENTER_CS = 0x80005,
    HV_STAR = 0x80008,
    HV_LSTAR = 0x80009,
    HV_MTRR_CAP = 0x8000d,
    HV_MTRR_BASE0 = 0x80010,
    HV_MTRR_MASK0 = 0x80040,
    HV_MTRR_64K = 0x80070,
    HV_MTRR_16K = 0x80071,
    HV_MTRR_4K = 0x80073,
    HV_TSC_AUX = 0x8007b,
};

struct hv_segment {
    uint64_t base;
    uint32_t limit;
    uint16_t selector;
    uint16_t attributes;  // type 0-3, non-system 4, dpl 5-6, present 7, avl 12, long 13, default 14, gran. 15
};
ABI_SIZE(struct hv_segment, 16);
ABI_AT(struct hv_segment, attributes, 14);

struct hv_table {
    uint16_t pad[3];
    uint16_t limit;
    uint64_t base;
};
ABI_SIZE(struct hv_table, 16);
ABI_AT(struct hv_table, limit, 6);

struct hv_fp_control {
    uint16_t control, status;
    uint8_t tag, zero;
    uint16_t opcode;
    uint64_t rip;
};
ABI_SIZE(struct hv_fp_control, 16);
ABI_AT(struct hv_fp_control, rip, 8);

struct hv_xmm_control {
    uint64_t data_pointer;
    uint32_t mxcsr, mask;
};
ABI_SIZE(struct hv_xmm_control, 16);

// --- The register page ----------------------------------------------------------------------------

enum {
    HV_DIRTY_GENERAL = 1 << 0,
    HV_DIRTY_RIP = 1 << 1,
    HV_DIRTY_XMM = 1 << 2,
    HV_DIRTY_SEGMENTS = 1 << 3,
    HV_DIRTY_RFLAGS = 1 << 4,
};

struct hv_register_page {
    uint16_t version;
    uint8_t valid;
    uint8_t pad;
    uint32_t dirty;
    uint64_t general[16];
    uint64_t rip, rflags;
    uint64_t pad2;
    struct hv_value xmm[6];
    struct hv_segment segments[6];  // es cs ss ds fs gs
    uint64_t cr0, cr3, cr4, cr8, efer, dr7;  // from here on read-only for the monitor
    uint64_t pending_interruption, interrupt_state, hints, xcr0;
    uint8_t pad3[256];
    uint64_t interrupt_vectors;
    uint8_t pad4[MSHV_PAGE_SIZE - 696];
};
ABI_SIZE(struct hv_register_page, MSHV_PAGE_SIZE);
ABI_AT(struct hv_register_page, valid, 2);
ABI_AT(struct hv_register_page, dirty, 4);
ABI_AT(struct hv_register_page, general, 8);
ABI_AT(struct hv_register_page, rip, 136);
ABI_AT(struct hv_register_page, rflags, 144);
ABI_AT(struct hv_register_page, xmm, 160);
ABI_AT(struct hv_register_page, segments, 256);
ABI_AT(struct hv_register_page, cr0, 352);
ABI_AT(struct hv_register_page, dr7, 392);
ABI_AT(struct hv_register_page, pending_interruption, 400);
ABI_AT(struct hv_register_page, interrupt_state, 408);
ABI_AT(struct hv_register_page, xcr0, 424);
ABI_AT(struct hv_register_page, interrupt_vectors, 688);

// --- Messages -------------------------------------------------------------------------------------

enum hv_message_type {
    HV_MESSAGE_NONE = 0,
    HV_MESSAGE_UNMAPPED_GPA = (int)0x80000000,
    HV_MESSAGE_GPA_INTERCEPT = (int)0x80000001,
    HV_MESSAGE_INVALID_REGISTER = (int)0x80000020,
    HV_MESSAGE_UNRECOVERABLE = (int)0x80000021,
    HV_MESSAGE_UNSUPPORTED = (int)0x80000022,
    HV_MESSAGE_IO_PORT = (int)0x80010000,
    HV_MESSAGE_EXCEPTION = (int)0x80010003,
    HV_MESSAGE_HALT = (int)0x80010007,
};

enum { HV_ACCESS_READ = 0, HV_ACCESS_WRITE = 1, HV_ACCESS_EXECUTE = 2 };

struct hv_intercept_header {
    uint32_t vp;
    uint8_t length_and_cr8;
    uint8_t access;
    uint16_t state;  // cpl 0-1, cr0.pe 2, cr0.am 3, efer.lma 4, debug active 5, interruption 6, shadow 12
    struct hv_segment cs;
    uint64_t rip, rflags;
};
ABI_SIZE(struct hv_intercept_header, 40);
ABI_AT(struct hv_intercept_header, access, 5);
ABI_AT(struct hv_intercept_header, cs, 8);
ABI_AT(struct hv_intercept_header, rip, 24);

struct hv_memory_message {
    struct hv_intercept_header header;
    uint32_t cache_type;
    uint8_t byte_count;
    uint8_t info;  // gva valid 0, gva-gpa valid 1
    uint8_t tpr;
    uint8_t zero;
    uint64_t gva, gpa;
    uint8_t bytes[16];
};
ABI_SIZE(struct hv_memory_message, 80);
ABI_AT(struct hv_memory_message, byte_count, 44);
ABI_AT(struct hv_memory_message, gpa, 56);

struct hv_io_message {
    struct hv_intercept_header header;
    uint16_t port;
    uint8_t info;  // size 0-2, string 3, rep 4
    uint8_t byte_count;
    uint32_t zero;
    uint64_t rax;
    uint8_t bytes[16];
    struct hv_segment ds, es;
    uint64_t rcx, rsi, rdi;
};
ABI_SIZE(struct hv_io_message, 128);
ABI_AT(struct hv_io_message, info, 42);
ABI_AT(struct hv_io_message, rax, 48);
ABI_AT(struct hv_io_message, ds, 72);
ABI_AT(struct hv_io_message, rcx, 104);

struct hv_exception_message {
    struct hv_intercept_header header;
    uint16_t vector;
    uint8_t info;  // error code valid 0, software 1
    uint8_t byte_count;
    uint32_t error;
    uint64_t parameter;
    uint64_t zero;
    uint8_t bytes[16];
    struct hv_segment ds, ss;
    uint64_t general[16];
};
ABI_SIZE(struct hv_exception_message, 240);
ABI_AT(struct hv_exception_message, parameter, 48);
ABI_AT(struct hv_exception_message, bytes, 64);
ABI_AT(struct hv_exception_message, ds, 80);
ABI_AT(struct hv_exception_message, ss, 96);
ABI_AT(struct hv_exception_message, general, 112);

struct hv_unsupported_message {
    uint32_t vp, feature;
    uint64_t parameter;
};
ABI_SIZE(struct hv_unsupported_message, 16);

struct hv_message {
    uint32_t type;
    uint8_t size;
    uint8_t flags;
    uint16_t zero;
    uint64_t sender;
    union {
        uint8_t payload[240];
        uint32_t vp;  // HV_MESSAGE_INVALID_REGISTER
        struct hv_intercept_header header;
        struct hv_memory_message memory;
        struct hv_io_message io;
        struct hv_exception_message exception;
        struct hv_unsupported_message unsupported;
    };
};
ABI_SIZE(struct hv_message, 256);
ABI_AT(struct hv_message, size, 4);
ABI_AT(struct hv_message, sender, 8);
ABI_AT(struct hv_message, payload, 16);

// The Linux KVM interface as far as Swift cannot import it from <linux/kvm.h>.
//
// Request codes are macros with casts, which Swift does not see; offsets of nested union members it
// cannot ask for.
#pragma once

#include <linux/kvm.h>
#include <stddef.h>
#include <stdint.h>

enum clinux_kvm_request : unsigned long {
    CLINUX_KVM_GET_API_VERSION = KVM_GET_API_VERSION,
    CLINUX_KVM_CREATE_VM = KVM_CREATE_VM,
    CLINUX_KVM_CHECK_EXTENSION = KVM_CHECK_EXTENSION,
    CLINUX_KVM_GET_VCPU_MMAP_SIZE = KVM_GET_VCPU_MMAP_SIZE,
    CLINUX_KVM_GET_SUPPORTED_CPUID = KVM_GET_SUPPORTED_CPUID,
    CLINUX_KVM_SET_USER_MEMORY_REGION = KVM_SET_USER_MEMORY_REGION,
    CLINUX_KVM_CREATE_VCPU = KVM_CREATE_VCPU,
    CLINUX_KVM_X86_SET_MSR_FILTER = KVM_X86_SET_MSR_FILTER,
    CLINUX_KVM_RUN = KVM_RUN,
    CLINUX_KVM_GET_REGS = KVM_GET_REGS,
    CLINUX_KVM_SET_REGS = KVM_SET_REGS,
    CLINUX_KVM_GET_SREGS = KVM_GET_SREGS,
    CLINUX_KVM_SET_SREGS = KVM_SET_SREGS,
    CLINUX_KVM_SET_CPUID2 = KVM_SET_CPUID2,
    CLINUX_KVM_SET_GUEST_DEBUG = KVM_SET_GUEST_DEBUG,
    CLINUX_KVM_GET_XSAVE = KVM_GET_XSAVE,
    CLINUX_KVM_SET_XSAVE = KVM_SET_XSAVE,
    CLINUX_KVM_GET_XCRS = KVM_GET_XCRS,
    CLINUX_KVM_GET_MSRS = KVM_GET_MSRS,
    CLINUX_KVM_SET_MSRS = KVM_SET_MSRS,
};

/// Where the shared general registers lie in the mapping of a vCPU.
size_t clinux_kvm_shared_regs_offset(void);
/// Where the shared special registers lie in the mapping of a vCPU.
size_t clinux_kvm_shared_sregs_offset(void);
/// Where the shared exceptions and interrupts lie in the mapping of a vCPU.
size_t clinux_kvm_shared_events_offset(void);
/// Where the byte lies that makes KVM_RUN return at once.
size_t clinux_kvm_immediate_exit_offset(void);

/// Stores `desired` if the byte is `expected`, as one operation; 1 when it did.
///
/// The other writer is a signal handler.
int clinux_kvm_exchange_byte(uint8_t *place, uint8_t expected, uint8_t desired);

// Offsets into struct kvm_run, and the one atomic operation that the KVM driver needs.
#include "CLinuxKVM.h"

size_t clinux_kvm_shared_regs_offset(void) { return offsetof(struct kvm_run, s.regs.regs); }

size_t clinux_kvm_shared_sregs_offset(void) { return offsetof(struct kvm_run, s.regs.sregs); }

size_t clinux_kvm_shared_events_offset(void) { return offsetof(struct kvm_run, s.regs.events); }

size_t clinux_kvm_immediate_exit_offset(void) { return offsetof(struct kvm_run, immediate_exit); }

int clinux_kvm_exchange_byte(uint8_t *place, uint8_t expected, uint8_t desired) {
    return __atomic_compare_exchange_n(place, &expected, desired, 0, __ATOMIC_SEQ_CST,
                                       __ATOMIC_SEQ_CST);
}

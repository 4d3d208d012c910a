// ROOT_HVCALL: the kernel's checks, then the calls themselves.
#include <errno.h>

#include "shim.h"

// errno says little and differs between kernels; the status is what counts.
int status_errno(uint16_t status) {
    switch (status) {
        case HV_SUCCESS: return 0;
        case HV_INVALID_CODE:
        case HV_INVALID_INPUT:
        case HV_INVALID_PARAMETER:
        case HV_INVALID_PARTITION_ID:
        case HV_INVALID_VP_INDEX: return EINVAL;
        case HV_INSUFFICIENT_MEMORY: return ENOMEM;
        case HV_TIME_OUT: return settings.old_kernel ? EIO : ETIMEDOUT;
        default: return EIO;
    }
}

// One call: what was sent, and the page that the kernel copies back.
struct call {
    struct partition *partition;
    struct vp *locked;  // the VP whose request this is, or NULL
    const struct mshv_hypercall *arguments;
    const uint8_t *input;
    uint8_t *output;
    uint16_t done;  // reps
};

// Borrows a VP of the partition. The kernel keeps requests on one VP descriptor apart; the hypervisor
// would answer while the VP runs, KVM would make us wait for it.
static struct vp *borrow_vp(struct call *call, uint32_t index, uint16_t *status) {
    struct vp *vp = index < MSHV_MAX_VPS ? call->partition->vps[index] : NULL;
    if (!vp || vp->object.numbers == 0) {
        *status = HV_INVALID_VP_INDEX;
        return NULL;
    }
    // Other requests are short; a confined process may have no call to wait with.
    while (vp != call->locked && pthread_mutex_trylock(&vp->mutex) != 0) {
        if (!__atomic_load_n(&vp->running, __ATOMIC_ACQUIRE)) continue;
        trace("hypercall %#x while VP %u runs", call->arguments->code, index);
        *status = HV_INVALID_VP_STATE;
        return NULL;
    }
    return vp;
}

static void give_back(struct call *call, struct vp *vp) {
    if (vp != call->locked) pthread_mutex_unlock(&vp->mutex);
}

// --- Calls ----------------------------------------------------------------------------------------

static uint16_t get_property(struct call *call) {
    struct hv_property_input input = {0};
    memcpy(&input, call->input, HV_GET_PROPERTY_INPUT_SIZE);
    if (input.zero != 0) return HV_INVALID_PARAMETER;
    uint64_t value = 0;
    switch (input.property) {
        case HV_PROPERTY_SYNTHETIC_FEATURES: value = call->partition->synthetic_features; break;
        case HV_PROPERTY_PAGE_TRACKING: value = call->partition->tracking; break;
        case HV_PROPERTY_XSAVE_STATES: value = call->partition->xsave_states; break;
        case HV_PROPERTY_XSAVE_SIZE_MAX: value = call->partition->xsave_size; break;
        case HV_PROPERTY_FEATURES_0:
        case HV_PROPERTY_FEATURES_1: break;  // the guest's CPUID says more
        default: return HV_UNKNOWN_PROPERTY;
    }
    memcpy(call->output, &value, sizeof value);
    return HV_SUCCESS;
}

static uint16_t set_property(struct call *call) {
    struct hv_property_input input;
    memcpy(&input, call->input, sizeof input);
    if (input.zero != 0) return HV_INVALID_PARAMETER;
    switch (input.property) {
        case HV_PROPERTY_SYNTHETIC_FEATURES:
            if (call->partition->initialized) return HV_INVALID_PARTITION_STATE;
            call->partition->synthetic_features = input.value;
            return HV_SUCCESS;
        case HV_PROPERTY_PAGE_TRACKING:
            if (input.value > 1) return HV_PROPERTY_VALUE_RANGE;
            return partition_track(call->partition, input.value) < 0 ? HV_OPERATION_DENIED
                                                                     : HV_SUCCESS;
        case HV_PROPERTY_XSAVE_STATES:
        case HV_PROPERTY_XSAVE_SIZE_MAX:
        case HV_PROPERTY_FEATURES_0:
        case HV_PROPERTY_FEATURES_1: return HV_OPERATION_DENIED;
        default: return HV_UNKNOWN_PROPERTY;
    }
}

static uint16_t install_intercept(struct call *call) {
    enum { TYPE_LAST = 12, OURS = 1 << 1 | 1 << 3 };
    struct hv_intercept_input input;
    memcpy(&input, call->input, sizeof input);
    if (input.type > TYPE_LAST) return HV_INVALID_PARAMETER;
    if (input.type != HV_INTERCEPT_EXCEPTION) return HV_OPERATION_DENIED;
    if (input.access & ~(uint32_t)HV_ACCESS_EXECUTE_MASK) return HV_INVALID_PARAMETER;
    // The parameter is a u16 in a union; the rest of it is nobody's.
    uint16_t vector = (uint16_t)input.parameter;
    if (vector > 31) return HV_INVALID_PARAMETER;
    // KVM can hand out no others.
    if (!(OURS >> vector & 1)) return HV_OPERATION_DENIED;
    uint32_t bit = 1u << vector;
    __atomic_store_n(&call->partition->intercepts,
                     input.access ? call->partition->intercepts | bit
                                  : call->partition->intercepts & ~bit,
                     __ATOMIC_RELAXED);
    return HV_SUCCESS;
}

static uint16_t registers(struct call *call, bool set) {
    struct hv_vp_header header;
    memcpy(&header, call->input, sizeof header);
    if (header.vtl != 0 || !is_zero(header.zero, sizeof header.zero)) return HV_INVALID_PARAMETER;
    uint16_t status = HV_SUCCESS;
    struct vp *vp = borrow_vp(call, header.vp, &status);
    if (!vp) return status;
    const uint8_t *rest = call->input + sizeof header;
    while (call->done < call->arguments->reps && status == HV_SUCCESS) {
        if (set) {
            struct hv_register entry;
            memcpy(&entry, rest + call->done * sizeof entry, sizeof entry);
            status = entry.zero != 0 || entry.zero2 != 0
                         ? HV_INVALID_PARAMETER
                         : register_set(vp, entry.name, &entry.value);
            if (status != HV_SUCCESS) {
                trace("register %#x = %#llx: status %#x", entry.name,
                      (unsigned long long)entry.value.low, status);
            }
        } else {
            uint32_t name;
            struct hv_value value;
            memcpy(&name, rest + call->done * sizeof name, sizeof name);
            status = register_get(vp, name, &value);
            memcpy(call->output + call->done * sizeof value, &value, sizeof value);
            if (status != HV_SUCCESS) trace("register %#x: status %#x", name, status);
        }
        if (status == HV_SUCCESS) call->done++;
    }
    give_back(call, vp);
    return status;
}

static uint16_t translate(struct call *call) {
    struct hv_translate_input input;
    memcpy(&input, call->input, sizeof input);
    if (input.zero != 0) return HV_INVALID_PARAMETER;
    uint16_t status = HV_SUCCESS;
    struct vp *vp = borrow_vp(call, input.vp, &status);
    if (!vp) return status;
    uint64_t gpa = 0;
    struct hv_translate_output output = {0};
    output.result = guest_translate(vp, input.page * MSHV_PAGE_SIZE, input.flags, &gpa);
    if (output.result == HV_TRANSLATED) output.page = gpa / MSHV_PAGE_SIZE;
    memcpy(call->output, &output, sizeof output);
    give_back(call, vp);
    return HV_SUCCESS;
}

static uint16_t cpuid_values(struct call *call) {
    struct hv_cpuid_header header;
    memcpy(&header, call->input, sizeof header);
    if (header.vp >= MSHV_MAX_VPS || !call->partition->vps[header.vp]) return HV_INVALID_VP_INDEX;
    for (; call->done < call->arguments->reps; call->done++) {
        struct hv_cpuid_leaf leaf;
        memcpy(&leaf, call->input + sizeof header + call->done * sizeof leaf, sizeof leaf);
        uint32_t values[4] = {0};
        for (uint32_t i = 0; i < call->partition->cpuid.count; i++) {
            const struct kvm_cpuid_entry2 *entry = &call->partition->cpuid.entries[i];
            bool has_index = entry->flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX;
            if (entry->function != leaf.eax || (has_index && entry->index != leaf.ecx)) continue;
            const uint32_t found[4] = {entry->eax, entry->ebx, entry->ecx, entry->edx};
            memcpy(values, found, sizeof values);
        }
        memcpy(call->output + call->done * sizeof values, values, sizeof values);
    }
    return HV_SUCCESS;
}

// --- Sizes ----------------------------------------------------------------------------------------

static const struct shape {
    uint16_t code;
    bool repeats;
    uint16_t input, input_rep, output, output_rep;
} shapes[] = {
    {HVCALL_GET_PARTITION_PROPERTY, false, HV_GET_PROPERTY_INPUT_SIZE, 0, 8, 0},
    {HVCALL_SET_PARTITION_PROPERTY, false, sizeof(struct hv_property_input), 0, 0, 0},
    {HVCALL_INSTALL_INTERCEPT, false, sizeof(struct hv_intercept_input), 0, 0, 0},
    {HVCALL_GET_VP_REGISTERS, true, sizeof(struct hv_vp_header), 4, 0, sizeof(struct hv_value)},
    {HVCALL_SET_VP_REGISTERS, true, sizeof(struct hv_vp_header), sizeof(struct hv_register), 0, 0},
    {HVCALL_TRANSLATE_VIRTUAL_ADDRESS, false, sizeof(struct hv_translate_input), 0,
     sizeof(struct hv_translate_output), 0},
    {HVCALL_CLEAR_VIRTUAL_INTERRUPT, false, 8, 0, 0, 0},
    {HVCALL_REGISTER_INTERCEPT_RESULT, false, 60, 0, 0, 0},
    {HVCALL_ASSERT_VIRTUAL_INTERRUPT, false, 32, 0, 0, 0},
    {HVCALL_SIGNAL_EVENT_DIRECT, false, 8, 0, 0, 0},
    {HVCALL_POST_MESSAGE_DIRECT, false, 8, 0, 0, 0},
    {HVCALL_GET_VP_CPUID_VALUES, true, sizeof(struct hv_cpuid_header), sizeof(struct hv_cpuid_leaf), 0,
     16},
};

static const struct shape *shape_of(uint16_t code) {
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        if (shapes[i].code == code) return &shapes[i];
    }
    return NULL;
}

// The hypervisor reads and writes whole pages; a size that is too small would cut something off in
// silence. Here it is refused, so that it is found.
static bool fits(const struct shape *shape, const struct mshv_hypercall *arguments) {
    if ((arguments->reps != 0) != shape->repeats) return false;
    uint32_t input = shape->input + (uint32_t)arguments->reps * shape->input_rep;
    uint32_t output = shape->output + (uint32_t)arguments->reps * shape->output_rep;
    return arguments->input_size >= input && arguments->output_size >= output
           && output <= MSHV_PAGE_SIZE;
}

static uint16_t perform(struct call *call) {
    const struct shape *shape = shape_of(call->arguments->code);
    if (!fits(shape, call->arguments)) return HV_INVALID_INPUT;
    switch (shape->code) {
        case HVCALL_GET_PARTITION_PROPERTY: return get_property(call);
        case HVCALL_SET_PARTITION_PROPERTY: return set_property(call);
        case HVCALL_INSTALL_INTERCEPT: return install_intercept(call);
        case HVCALL_GET_VP_REGISTERS: return registers(call, false);
        case HVCALL_SET_VP_REGISTERS: return registers(call, true);
        case HVCALL_TRANSLATE_VIRTUAL_ADDRESS: return translate(call);
        case HVCALL_GET_VP_CPUID_VALUES: return cpuid_values(call);
        default: return HV_OPERATION_DENIED;  // interrupts and messages: not in the shim
    }
}

// --- Injected failures ----------------------------------------------------------------------------

// Every Nth call is sent away; the same call again is let through and not counted.
static bool is_sent_away(struct partition *partition, const struct mshv_hypercall *arguments) {
    if (settings.eagain_every == 0) return false;
    struct mshv_hypercall *again = &partition->again;
    if (again->code != 0) {
        bool is_same = again->code == arguments->code && again->reps == arguments->reps
                       && again->input_size == arguments->input_size
                       && again->output_size == arguments->output_size;
        if (!is_same) trace("COMPLAINT: after EAGAIN for %#x came %#x", again->code, arguments->code);
        again->code = 0;
        if (is_same) return false;
    }
    if (++partition->hypercalls % settings.eagain_every != 0) return false;
    *again = *arguments;
    return true;
}

static uint16_t injected_status(struct partition *partition, uint16_t code) {
    if (settings.status_nth == 0 || code != settings.status_call) return HV_SUCCESS;
    return ++partition->status_calls == settings.status_nth ? settings.status_code : HV_SUCCESS;
}

// --- The request ----------------------------------------------------------------------------------

static bool is_well_formed(const struct mshv_hypercall *a) {
    if (a->status != 0 || a->input == 0 || !is_zero(a->zero, sizeof a->zero)) return false;
    if (a->input_size < sizeof(uint64_t) || a->input_size > MSHV_PAGE_SIZE) return false;
    if ((a->output != 0) != (a->output_size != 0) || a->output_size > MSHV_PAGE_SIZE) return false;
    return shape_of(a->code) != NULL;
}

long hypercall(struct partition *partition, struct vp *through, void *argument) {
    struct mshv_hypercall *user = argument;
    if (is_bad_pointer((uintptr_t)user, sizeof *user)) return -EFAULT;
    struct mshv_hypercall arguments = *user;
    if (!is_well_formed(&arguments)) {
        trace("COMPLAINT: hypercall %#x is not well formed", arguments.code);
        return -EINVAL;
    }
    // Calls that may end later are for the partition only.
    if (arguments.code == HVCALL_SET_PARTITION_PROPERTY && through) return -EINVAL;
    if (is_bad_pointer(arguments.input, arguments.input_size)) return -EFAULT;
    if (arguments.output != 0 && is_bad_pointer(arguments.output, arguments.output_size)) {
        return -EFAULT;
    }
    uint8_t input[MSHV_PAGE_SIZE], output[MSHV_PAGE_SIZE];
    memset(input, 0, sizeof input);
    memcpy(input, (const void *)(uintptr_t)arguments.input, arguments.input_size);
    memset(output, 0xa5, sizeof output);  // whatever was in the kernel's page
    struct call call = {partition, through, &arguments, input, output, 0};

    bool sent_away = is_sent_away(partition, &arguments);
    uint16_t status = sent_away ? HV_INSUFFICIENT_MEMORY : injected_status(partition, arguments.code);
    if (status == HV_SUCCESS) status = perform(&call);
    trace("hypercall %#x reps %u: status %#x, %u done%s", arguments.code, arguments.reps, status,
          call.done, sent_away ? ", again" : "");

    // Status and output are copied back on failure too.
    user->status = status;
    user->reps = call.done;
    if (arguments.output != 0) {
        memcpy((void *)(uintptr_t)arguments.output, output, arguments.output_size);
    }
    return sent_away ? -EAGAIN : -status_errno(status);
}

// The device and partitions: creation, guest memory, access bitmaps.
#include <errno.h>

#include "shim.h"

// --- The device -----------------------------------------------------------------------------------

static const struct {
    int capability;
    const char *sentence;
} needed[] = {
    {KVM_CAP_SET_GUEST_DEBUG, "this KVM has no KVM_SET_GUEST_DEBUG"},
    {KVM_CAP_VCPU_EVENTS, "this KVM has no KVM_SET_VCPU_EVENTS"},
    {KVM_CAP_DEBUGREGS, "this KVM has no KVM_SET_DEBUGREGS"},
    {KVM_CAP_XSAVE, "this KVM has no KVM_SET_XSAVE"},
    {KVM_CAP_READONLY_MEM, "this KVM has no read-only memory"},
    {KVM_CAP_IMMEDIATE_EXIT, "this KVM has no immediate_exit"},
};

int device_usable(int fd) {
    if (kernel_ioctl(fd, KVM_GET_API_VERSION, NULL) != KVM_API_VERSION) {
        complain_once("/dev/kvm does not speak version 12");
        return -ENODEV;
    }
    for (size_t i = 0; i < sizeof needed / sizeof needed[0]; i++) {
        long value =
            kernel_ioctl(fd, KVM_CHECK_EXTENSION, (void *)(intptr_t)needed[i].capability);
        if (value > 0) continue;
        complain_once(needed[i].sentence);
        return -ENODEV;
    }
    return 0;
}

// The guest gets the host's features without virtualisation and without KVM's own leaves.
static long read_cpuid(struct partition *partition, int device) {
    enum { HYPERVISOR_LEAVES = 0x40000000, HYPERVISOR_LEAVES_MASK = 0x70000000 };
    enum { ECX_VMX = 1 << 5, ECX_X2APIC = 1 << 21, ECX_SVM = 1 << 2, STATES = 7 };
    struct kvm_cpuid_entry2 *entries = partition->cpuid.entries;
    partition->cpuid.count = CPUID_MAX;
    long result = kernel_ioctl(device, KVM_GET_SUPPORTED_CPUID, &partition->cpuid);
    if (result < 0) return result;
    uint32_t kept = 0;
    partition->xsave_states = 3;
    for (uint32_t i = 0; i < partition->cpuid.count; i++) {
        struct kvm_cpuid_entry2 entry = entries[i];
        if ((entry.function & HYPERVISOR_LEAVES_MASK) == HYPERVISOR_LEAVES) continue;
        if (entry.function == 1) entry.ecx &= ~(uint32_t)(ECX_VMX | ECX_X2APIC | 1u << 31);
        if (entry.function == 0x80000001) entry.ecx &= ~(uint32_t)ECX_SVM;
        if (entry.function == 0xd && entry.index == 0) partition->xsave_states |= entry.eax & STATES;
        entries[kept++] = entry;
    }
    partition->cpuid.count = kept;
    partition->xsave_size = partition->xsave_states & 4 ? 832 : 576;
    return 0;
}

static long fill_partition(struct partition *partition, int device) {
    partition->object = (struct object){.kind = PARTITION, .fd = -1};
    pthread_mutex_init(&partition->mutex, NULL);
    long size = kernel_ioctl(device, KVM_GET_VCPU_MMAP_SIZE, NULL);
    if (size < 0) return size;
    partition->run_size = (size_t)size;
    long result = read_cpuid(partition, device);
    if (result < 0) return result;
    long machine = kernel_ioctl(device, KVM_CREATE_VM, NULL);
    if (machine < 0) return machine;
    // Reading the dirty log must not clear it: the two are two operations here.
    struct kvm_enable_cap manual = {.cap = KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, .args = {1}};
    kernel_ioctl((int)machine, KVM_ENABLE_CAP, &manual);
    int error = object_adopt(&partition->object, (int)machine);
    return error < 0 ? error : machine;
}

static long create_partition(int device, const struct mshv_create_partition *arguments) {
    if (is_bad_pointer((uintptr_t)arguments, sizeof *arguments)) return -EFAULT;
    uint64_t allowed = MSHV_PARTITION_LAPIC | MSHV_PARTITION_X2APIC | MSHV_PARTITION_LARGE_PAGES;
    if (!settings.old_kernel) allowed |= MSHV_PARTITION_V2;
    if (arguments->flags & ~allowed || arguments->isolation != 0) return -EINVAL;
    if (arguments->flags & MSHV_PARTITION_V2) {
        const struct mshv_create_partition_v2 *v2 = (const void *)arguments;
        if (v2->feature_banks != MSHV_FEATURE_BANKS || !is_zero(v2->zero, sizeof v2->zero)
            || !is_zero(v2->zero2, sizeof v2->zero2)) {
            return -EINVAL;
        }
    }
    struct partition *partition = kernel_pages(sizeof *partition);
    if (!partition) return -ENOMEM;
    long result = fill_partition(partition, device);
    if (result < 0) kernel_munmap(partition, sizeof *partition);
    trace("create partition: %ld", result);
    return result;
}

long device_ioctl(int fd, uint32_t request, void *argument) {
    if (request == MSHV_CREATE_PARTITION) return create_partition(fd, argument);
    trace("COMPLAINT: request %#x on the device", request);
    return -ENOTTY;
}

// A partition lives until the last descriptor of it and of its VPs is closed.
void partition_release(struct partition *partition) {
    if (partition->object.numbers != 0) return;
    for (size_t i = 0; i < MSHV_MAX_VPS; i++) {
        if (partition->vps[i] && partition->vps[i]->object.numbers != 0) return;
    }
    trace("the partition is gone");
    for (size_t i = 0; i < MSHV_MAX_VPS; i++) {
        if (partition->vps[i]) vp_destroy(partition->vps[i]);
    }
    for (size_t i = 0; i < REGIONS_MAX; i++) {
        struct region *region = &partition->regions[i];
        if (region->bitmap) kernel_munmap(region->bitmap, (region->pages + 63) / 64 * 8);
    }
    kernel_munmap(partition, sizeof *partition);
}

// --- Guest memory ---------------------------------------------------------------------------------

struct region *partition_region(struct partition *partition, uint64_t gpa) {
    uint64_t page = gpa / MSHV_PAGE_SIZE;
    for (size_t i = 0; i < partition->regions_used; i++) {
        struct region *region = &partition->regions[i];
        if (region->pages != 0 && page >= region->first_page
            && page - region->first_page < region->pages) {
            return region;
        }
    }
    return NULL;
}

static long set_slot(struct partition *partition, const struct region *region, uint64_t pages) {
    uint32_t flags = region->flags & MSHV_MEMORY_WRITABLE ? 0 : KVM_MEM_READONLY;
    struct kvm_userspace_memory_region slot = {
        .slot = (uint32_t)(region - partition->regions),
        .flags = partition->tracking && pages != 0 ? flags | KVM_MEM_LOG_DIRTY_PAGES : flags,
        .guest_phys_addr = region->first_page * MSHV_PAGE_SIZE,
        .memory_size = pages * MSHV_PAGE_SIZE,
        .userspace_addr = region->hva,
    };
    return kernel_ioctl(partition->object.fd, KVM_SET_USER_MEMORY_REGION, &slot);
}

static bool overlap(uint64_t a, uint64_t a_size, uint64_t b, uint64_t b_size) {
    return a < b + b_size && b < a + a_size;
}

static long map(struct partition *partition, const struct mshv_memory_region *memory) {
    uint64_t pages = memory->size / MSHV_PAGE_SIZE;
    if (is_bad_pointer(memory->hva, memory->size)) return -EINVAL;
    if (memory->first_page + pages > 1ull << 40 || memory->first_page >= 1ull << 40) return -EINVAL;
    int mapping = mappings_check(memory->hva, memory->size);
    if (mapping == -EINVAL) return -EINVAL;
    struct region *free_place = NULL;
    for (size_t i = 0; i < REGIONS_MAX; i++) {
        struct region *region = &partition->regions[i];
        if (region->pages == 0) {
            if (!free_place) free_place = region;
            continue;
        }
        if (overlap(region->first_page, region->pages, memory->first_page, pages)) return -EEXIST;
        // Linux 6.15 wants the host's side to be disjoint as well.
        if (settings.old_kernel
            && overlap(region->hva, region->pages * MSHV_PAGE_SIZE, memory->hva, memory->size)) {
            return -EEXIST;
        }
    }
    if (mapping < 0) return mapping;
    if (!partition->initialized) return -status_errno(HV_INVALID_PARTITION_STATE);
    if (!free_place) return -ENOMEM;
    struct region region = {memory->first_page, pages, memory->hva, memory->flags, NULL};
    if (partition->tracking) {
        region.bitmap = kernel_pages((pages + 63) / 64 * 8);
        if (!region.bitmap) return -ENOMEM;
    }
    *free_place = region;
    size_t used = (size_t)(free_place - partition->regions) + 1;
    if (partition->regions_used < used) partition->regions_used = used;
    long result = set_slot(partition, free_place, pages);
    if (result < 0) {
        if (region.bitmap) kernel_munmap(region.bitmap, (pages + 63) / 64 * 8);
        free_place->pages = 0;
    }
    return result;
}

static long unmap(struct partition *partition, const struct mshv_memory_region *memory) {
    uint64_t pages = memory->size / MSHV_PAGE_SIZE;
    struct region *region = partition_region(partition, memory->first_page * MSHV_PAGE_SIZE);
    if (!region || region->first_page != memory->first_page || region->pages != pages
        || region->hva != memory->hva) {
        return -EINVAL;
    }
    long result = set_slot(partition, region, 0);
    if (result < 0) return result;
    if (region->bitmap) kernel_munmap(region->bitmap, (pages + 63) / 64 * 8);
    *region = (struct region){0};
    return 0;
}

static long set_memory(struct partition *partition, const struct mshv_memory_region *argument) {
    enum { FLAGS = MSHV_MEMORY_WRITABLE | MSHV_MEMORY_EXECUTABLE | MSHV_MEMORY_UNMAP };
    if (is_bad_pointer((uintptr_t)argument, sizeof *argument)) return -EFAULT;
    struct mshv_memory_region memory = *argument;
    if (memory.size == 0 || memory.size % MSHV_PAGE_SIZE != 0 || memory.hva % MSHV_PAGE_SIZE != 0
        || memory.flags & ~FLAGS || !is_zero(memory.zero, sizeof memory.zero)) {
        return -EINVAL;
    }
    bool is_unmap = memory.flags & MSHV_MEMORY_UNMAP;
    long result = is_unmap ? unmap(partition, &memory) : map(partition, &memory);
    trace("%s gpa %#llx size %#llx hva %#llx flags %u: %ld", is_unmap ? "unmap" : "map",
          (unsigned long long)memory.first_page * MSHV_PAGE_SIZE, (unsigned long long)memory.size,
          (unsigned long long)memory.hva, memory.flags, result);
    return result;
}

// --- Access bitmaps -------------------------------------------------------------------------------

int partition_track(struct partition *partition, bool on) {
    if (on == partition->tracking) return 0;
    // As with the hypervisor: not while there is something to learn.
    if (!on && !partition->bits_set) return -EIO;
    partition->tracking = on;
    partition->bits_set = false;
    for (size_t i = 0; i < REGIONS_MAX; i++) {
        struct region *region = &partition->regions[i];
        if (region->pages == 0) continue;
        size_t size = (region->pages + 63) / 64 * 8;
        if (on) {
            region->bitmap = kernel_pages(size);
            if (!region->bitmap) return -ENOMEM;
        } else if (region->bitmap) {
            kernel_munmap(region->bitmap, size);
            region->bitmap = NULL;
        }
        long result = set_slot(partition, region, region->pages);
        if (result < 0) return (int)result;
    }
    return 0;
}

// Writes the part of `region` that the request asks for; both in pages.
static long read_bits(struct partition *partition, struct region *region,
                      const struct mshv_access_bitmap *request) {
    struct kvm_dirty_log log = {.slot = (uint32_t)(region - partition->regions),
                                .dirty_bitmap = region->bitmap};
    long result = kernel_ioctl(partition->object.fd, KVM_GET_DIRTY_LOG, &log);
    if (result < 0) return result;
    uint8_t *out = (uint8_t *)(uintptr_t)request->bitmap;
    for (uint64_t i = 0; i < request->pages; i++) {
        uint64_t page = request->first_page + i - region->first_page;
        if (page >= region->pages) continue;
        if (region->bitmap[page / 64] >> (page % 64) & 1) out[i / 8] |= (uint8_t)(1u << (i % 8));
    }
    if (request->operation != MSHV_BITS_CLEAR) return 0;
    // KVM clears whole words; what was not asked for is kept.
    for (uint64_t page = 0; page < region->pages; page++) {
        if (region->first_page + page - request->first_page >= request->pages) {
            region->bitmap[page / 64] &= ~(1ull << (page % 64));
        }
    }
    struct kvm_clear_dirty_log clear = {.slot = log.slot,
                                        .num_pages = (uint32_t)region->pages,
                                        .first_page = 0,
                                        .dirty_bitmap = region->bitmap};
    return kernel_ioctl(partition->object.fd, KVM_CLEAR_DIRTY_LOG, &clear);
}

static long access_bitmap(struct partition *partition, const struct mshv_access_bitmap *argument) {
    if (is_bad_pointer((uintptr_t)argument, sizeof *argument)) return -EFAULT;
    struct mshv_access_bitmap request = *argument;
    if (request.type > MSHV_DIRTY || request.operation > MSHV_BITS_SET
        || !is_zero(request.zero, sizeof request.zero) || request.pages == 0 || request.bitmap == 0) {
        return -EINVAL;
    }
    if (request.pages > UINT32_MAX) return -E2BIG;
    size_t size = (request.pages + 7) / 8;
    if (is_bad_pointer(request.bitmap, size)) return -EFAULT;
    // KVM does not say what was read, only what was written.
    if (!partition->tracking || request.type != MSHV_DIRTY) return -EIO;
    memset((void *)(uintptr_t)request.bitmap, 0, size);
    for (size_t i = 0; i < REGIONS_MAX; i++) {
        struct region *region = &partition->regions[i];
        if (region->pages == 0
            || !overlap(region->first_page, region->pages, request.first_page, request.pages)) {
            continue;
        }
        long result = read_bits(partition, region, &request);
        if (result < 0) return result;
    }
    partition->bits_set = request.operation == MSHV_BITS_SET;
    return 0;
}

// --- Requests -------------------------------------------------------------------------------------

static long create_vp(struct partition *partition, const uint32_t *argument) {
    if (is_bad_pointer((uintptr_t)argument, sizeof *argument)) return -EFAULT;
    uint32_t index = *argument;
    if (index >= MSHV_MAX_VPS) return -EINVAL;
    if (partition->vps[index]) return -EEXIST;
    if (!partition->initialized) return -status_errno(HV_INVALID_PARTITION_STATE);
    long result = vp_create(partition, index);
    trace("create VP %u: %ld", index, result);
    return result;
}

long partition_ioctl(struct partition *partition, uint32_t request, void *argument) {
    switch (request) {
        case MSHV_INITIALIZE_PARTITION:
            trace("initialize");
            partition->initialized = true;
            return 0;
        case MSHV_CREATE_VP: return create_vp(partition, argument);
        case MSHV_SET_GUEST_MEMORY: return set_memory(partition, argument);
        case MSHV_GET_GPAP_ACCESS_BITMAP: return access_bitmap(partition, argument);
        case MSHV_ROOT_HVCALL: return hypercall(partition, NULL, argument);
        case MSHV_IRQFD:
        case MSHV_IOEVENTFD:
        case MSHV_SET_MSI_ROUTING:
            trace("request %#x is not in the shim", request);
            return -EOPNOTSUPP;
        default: trace("COMPLAINT: request %#x on a partition", request); return -ENOTTY;
    }
}

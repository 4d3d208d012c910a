// Guest memory as the guest sees it: page tables, bytes at a virtual address.
#include "shim.h"

static void *host_place(struct partition *partition, uint64_t gpa) {
    struct region *region = partition_region(partition, gpa);
    if (!region) return NULL;
    return (void *)(uintptr_t)(region->hva + (gpa - region->first_page * MSHV_PAGE_SIZE));
}

enum {
    ENTRY_PRESENT = 1 << 0,
    ENTRY_WRITABLE = 1 << 1,
    ENTRY_USER = 1 << 2,
    ENTRY_LEAF = 1 << 7,
    CR4_LA57 = 1 << 12,
    EFER_LMA = 1 << 10,
    EFER_NXE = 1 << 11,
};
#define CR0_PG (1ull << 31)
#define CR0_WP (1ull << 16)
#define ENTRY_ADDRESS 0x000ffffffffff000ull
#define ENTRY_NO_EXECUTE (1ull << 63)

// Whether the rights gathered on the way allow what `flags` ask for.
static uint32_t check_rights(struct vp *vp, uint64_t flags, bool writable, bool user, bool executable) {
    bool is_user = vp->sregs->ss.dpl == 3 && !(flags & HV_TRANSLATE_EXEMPT);
    if (is_user && !user) return HV_TRANSLATE_PRIVILEGE;
    if (flags & HV_TRANSLATE_WRITE && !writable && (is_user || vp->sregs->cr0 & CR0_WP)) {
        return HV_TRANSLATE_PRIVILEGE;
    }
    if (flags & HV_TRANSLATE_EXECUTE && !executable) return HV_TRANSLATE_PRIVILEGE;
    return HV_TRANSLATED;
}

// Long mode with four or five levels, and no paging at all. Nothing that runs here uses the older kinds.
static uint32_t walk(struct vp *vp, uint64_t gva, uint64_t flags, uint64_t *gpa) {
    if (!(vp->sregs->cr0 & CR0_PG)) {
        *gpa = gva;
        return HV_TRANSLATED;
    }
    if (!(vp->sregs->efer & EFER_LMA)) return HV_TRANSLATE_BAD_TABLE;
    int shift = vp->sregs->cr4 & CR4_LA57 ? 48 : 39;
    if ((int64_t)(gva << (64 - shift - 9)) >> (64 - shift - 9) != (int64_t)gva) {
        return HV_TRANSLATE_NOT_PRESENT;  // not canonical
    }
    bool writable = true, user = true, executable = true;
    uint64_t table = vp->sregs->cr3 & ENTRY_ADDRESS;
    for (;; shift -= 9) {
        const uint64_t *entries = host_place(vp->partition, table);
        if (!entries) return HV_TRANSLATE_GPA_UNMAPPED;
        uint64_t entry = entries[gva >> shift & 511];
        if (!(entry & ENTRY_PRESENT)) return HV_TRANSLATE_NOT_PRESENT;
        bool is_leaf = shift == 12 || (entry & ENTRY_LEAF);
        if (is_leaf && shift > 30) return HV_TRANSLATE_BAD_TABLE;
        if (entry & ENTRY_NO_EXECUTE && !(vp->sregs->efer & EFER_NXE)) return HV_TRANSLATE_BAD_TABLE;
        writable = writable && entry & ENTRY_WRITABLE;
        user = user && entry & ENTRY_USER;
        executable = executable && !(entry & ENTRY_NO_EXECUTE);
        if (!is_leaf) {
            table = entry & ENTRY_ADDRESS;
            continue;
        }
        uint64_t offset = (1ull << shift) - 1;
        *gpa = (entry & ENTRY_ADDRESS & ~offset) | (gva & offset);
        return check_rights(vp, flags, writable, user, executable);
    }
}

uint32_t guest_translate(struct vp *vp, uint64_t gva, uint64_t flags, uint64_t *gpa) {
    uint32_t result = walk(vp, gva, flags, gpa);
    if (result != HV_TRANSLATED) return result;
    struct region *region = partition_region(vp->partition, *gpa);
    if (!region) return HV_TRANSLATE_GPA_UNMAPPED;
    if (flags & HV_TRANSLATE_WRITE && !(region->flags & MSHV_MEMORY_WRITABLE)) {
        return HV_TRANSLATE_NO_WRITE;
    }
    return HV_TRANSLATED;
}

void *guest_place(struct vp *vp, uint64_t gva, size_t size, uint64_t flags) {
    uint64_t gpa;
    if ((gva & (MSHV_PAGE_SIZE - 1)) + size > MSHV_PAGE_SIZE) return NULL;
    if (guest_translate(vp, gva, flags, &gpa) != HV_TRANSLATED) return NULL;
    return host_place(vp->partition, gpa);
}

size_t guest_read(struct vp *vp, uint64_t gva, void *bytes, size_t count) {
    size_t done = 0;
    while (done < count) {
        uint64_t gpa;
        if (guest_translate(vp, gva + done, HV_TRANSLATE_EXEMPT, &gpa) != HV_TRANSLATED) break;
        size_t part = MSHV_PAGE_SIZE - (gpa & (MSHV_PAGE_SIZE - 1));
        if (part > count - done) part = count - done;
        memcpy((char *)bytes + done, host_place(vp->partition, gpa), part);
        done += part;
    }
    return done;
}

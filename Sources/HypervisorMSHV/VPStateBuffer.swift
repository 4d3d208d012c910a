import CLinux
import Glibc
import GuestModel
import Hypervisor
import LinuxSystem

/// One page through which a processor's XSAVE area travels, in the compacted form.
///
/// - Source: Linux `include/uapi/linux/mshv.h`, `struct mshv_get_set_vp_state`.
@safe struct VPStateBuffer: ~Copyable {
    private let base: UnsafeMutableRawPointer

    init() throws(HypervisorError) {
        guard let base = unsafe clinux_map_anonymous(guestPageBytes) else {
            throw .call("mmap", errno: errno)
        }
        unsafe self.base = base
    }

    deinit {
        // SAFETY: the mapping of `init`; views of it live during one call of `withArea`.
        unsafe _ = munmap(base, guestPageBytes)
    }

    /// Reads the area of `vp`, and writes it back when `body` has changed it.
    func withArea<Result>(
        of vp: borrowing OwnedDescriptor, isChanged: Bool, _ body: (XSaveArea) -> Result
    ) throws(HypervisorError) -> Result {
        let byteCount = try exchange(.getVPState, vp)
        guard byteCount <= guestPageBytes else {
            throw .missing("room for an XSAVE area of \(byteCount) bytes")
        }
        let result = unsafe body(
            XSaveArea(UnsafeMutableRawBufferPointer(start: base, count: guestPageBytes)))
        if isChanged { _ = try exchange(.setVPState, vp) }
        return result
    }

    /// One request; how long the area really is.
    private func exchange(
        _ request: MSHVRequest, _ vp: borrowing OwnedDescriptor
    ) throws(HypervisorError) -> Int {
        typealias Layout = MSHVLayout.VPState
        var argument = [UInt8](repeating: 0, count: Layout.byteCount)
        argument.put(Layout.xsave, at: Layout.kind)
        argument.put(UInt32(guestPageBytes), at: Layout.bufferByteCount)
        unsafe argument.put(UInt64(UInt(bitPattern: base)), at: Layout.buffer)
        try vp.mshv(request, &argument)
        return argument.number(at: Layout.bufferByteCount, as: UInt32.self).map(Int.init) ?? 0
    }
}

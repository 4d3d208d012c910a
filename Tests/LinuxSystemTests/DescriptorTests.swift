import Glibc
import LinuxSystem
import Testing

@Suite struct DescriptorTests {
    @Test func `a descriptor is closed when its owner goes away`() throws {
        let number = try highNumber()
        do {
            let owner = OwnedDescriptor(number)
            #expect(ChildDescriptor.isOpen(owner.rawValue))
        }
        #expect(!ChildDescriptor.isOpen(number))
    }

    @Test func `close closes here and now`() throws {
        let owner = OwnedDescriptor(try highNumber())
        let number = owner.rawValue
        owner.close()
        #expect(!ChildDescriptor.isOpen(number))
    }

    @Test func `a released descriptor stays open`() throws {
        let number = try highNumber()
        let released = OwnedDescriptor(number).release()
        #expect(released == number)
        #expect(ChildDescriptor.isOpen(number))
        OwnedDescriptor(number).close()
        #expect(!ChildDescriptor.isOpen(number))
    }

    @Test func `an error names the call and what the system says`() {
        let error = SystemCallError("open", code: ENOENT)
        #expect(error.description == "open: No such file or directory")
        #expect(throws: error) { _ = try openDevice("/nowhere/at/all").rawValue }
    }

    /// A number so high that no other test gets it again after a close.
    private func highNumber() throws -> Int32 {
        let null = try openNull()
        return try checked(fcntl(null.rawValue, F_DUPFD_CLOEXEC, 700), "fcntl")
    }
}

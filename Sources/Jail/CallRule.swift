/// A system call with what its arguments must look like, for a filter to allow or to refuse.
struct CallRule: Hashable, Sendable {
    /// As in the manual; "openat".
    let name: String
    /// All of them must hold; at most one for each argument.
    let conditions: [ArgumentCondition]

    init(_ name: String, _ conditions: ArgumentCondition...) {
        self.name = name
        self.conditions = conditions
    }
}

/// What one argument of a system call must be; arguments count from 0.
enum ArgumentCondition: Hashable, Sendable {
    /// The bits under the mask have exactly this value.
    case bits(_ argument: UInt32, mask: UInt64, value: UInt64)
    /// The argument as an unsigned number is at most this.
    case atMost(_ argument: UInt32, UInt64)

    /// The kernel takes this argument as a C `int`, so its upper half does not count.
    static func int(_ argument: UInt32, _ value: Int32) -> ArgumentCondition {
        .bits(argument, mask: 0xFFFF_FFFF, value: UInt64(UInt32(bitPattern: value)))
    }

    /// A request code, which the kernel takes as a C `unsigned int`.
    static func request(_ argument: UInt32, _ value: UInt32) -> ArgumentCondition {
        .bits(argument, mask: 0xFFFF_FFFF, value: UInt64(value))
    }

    /// Flags of which `required` must be set and `optional` may be; no other.
    static func flags(
        _ argument: UInt32, required: Int32, optional: Int32 = 0
    ) -> ArgumentCondition {
        .bits(
            argument, mask: ~UInt64(UInt32(bitPattern: optional)),
            value: UInt64(UInt32(bitPattern: required)))
    }

    /// A null pointer.
    static func null(_ argument: UInt32) -> ArgumentCondition {
        .bits(argument, mask: .max, value: 0)
    }
}

/// What is wrong with a message that the guest wrote; every case means a broken or hostile guest,
/// apart from `.full`.
package enum MessageError: Error, Hashable, Sendable {
    /// Nothing is on the stack of messages.
    case empty
    /// The message does not fit into what is left of the buffer.
    case full(byteCount: Int)
    /// The buffer's stack pointer is no offset that a stack pointer can have.
    case badStackPointer(UInt64)
    /// The newest element's start is no offset in front of its end.
    case badBackPointer(UInt64)
    /// The message is larger than its element or the limit.
    case badSize(UInt64)
    /// The buffer is not in guest memory.
    case noMemory
    /// An offset or a size in the message points outside of it, or a text is not UTF-8.
    case malformed(String)
    /// A field that has to be there is not.
    case missing(String)
    /// A number that the ABI does not have.
    case unknownValue(String, UInt64)
}

extension MessageError: CustomStringConvertible {
    package var description: String {
        switch self {
        case .empty: "the guest announced a message and left none"
        case .full(let count): "a message of \(count) bytes does not fit into the guest's buffer"
        case .badStackPointer(let value): "message buffer: stack pointer \(value) is out of range"
        case .badBackPointer(let value): "message buffer: element start \(value) is out of range"
        case .badSize(let value): "message buffer: message size \(value) is out of range"
        case .noMemory: "message buffer: not in guest memory"
        case .malformed(let place): "malformed message from the guest: \(place)"
        case .missing(let field): "message from the guest without \(field)"
        case .unknownValue(let field, let value):
            "message from the guest: \(field) \(value) is unknown"
        }
    }
}

/// An exception that the guest could not deal with and reported.
///
/// - Source: Intel SDM volume 3, "Exception and Interrupt Reference".
package struct CPUException: Hashable, Sendable {
    package static let divideError: UInt8 = 0
    package static let invalidOpcode: UInt8 = 6
    package static let doubleFault: UInt8 = 8
    package static let generalProtection: UInt8 = 13
    package static let pageFault: UInt8 = 14

    package let vector: UInt8
    /// 0 for vectors without one.
    package let errorCode: UInt64
    /// The address that a page fault was about (CR2); nil for other vectors.
    package let faultAddress: GuestVirtualAddress?

    package init(vector: UInt8, errorCode: UInt64, faultAddress: GuestVirtualAddress?) {
        self.vector = vector
        self.errorCode = errorCode
        self.faultAddress = faultAddress
    }

    /// The manual's mnemonic, such as "#PF", or "#31" for a number without one.
    package var mnemonic: String {
        let names = [
            "#DE", "#DB", "NMI", "#BP", "#OF", "#BR", "#UD", "#NM", "#DF", "#9", "#TS", "#NP",
            "#SS", "#GP", "#PF", "#15", "#MF", "#AC", "#MC", "#XM", "#VE", "#CP",
        ]
        return Int(vector) < names.count ? names[Int(vector)] : "#\(vector)"
    }
}

extension CPUException: CustomStringConvertible {
    /// For example "#PF (14), error 0x2 write, not present, address 0x10".
    package var description: String {
        var text = "\(mnemonic) (\(vector))"
        if errorCode != 0 || vector == Self.pageFault {
            text += ", error 0x" + String(errorCode, radix: 16)
        }
        guard vector == Self.pageFault else { return text }
        let access = errorCode & 16 != 0 ? "fetch" : errorCode & 2 != 0 ? "write" : "read"
        text += " \(access), " + (errorCode & 1 != 0 ? "protection" : "not present")
        if let faultAddress { text += ", address 0x" + String(faultAddress.rawValue, radix: 16) }
        return text
    }
}

// The entry that libFuzzer calls; FUZZ_TARGET says which target this run is for.

import FuzzTargets
import Glibc

private let target: FuzzTarget = {
    let name = unsafe getenv("FUZZ_TARGET").map { unsafe String(cString: $0) } ?? ""
    guard let target = FuzzTarget(rawValue: name) else {
        fatalError("FUZZ_TARGET is none of \(FuzzTarget.allCases.map(\.rawValue))")
    }
    return target
}()

/// Ends the process by a trap when something does not hold, which libFuzzer takes as a crash.
@_cdecl("LLVMFuzzerTestOneInput")
public func testOneInput(_ bytes: UnsafePointer<UInt8>?, _ count: Int) -> Int32 {
    // SAFETY: libFuzzer lends `count` bytes for this call; they are copied at once.
    let input = unsafe Array(UnsafeBufferPointer(start: bytes, count: count))
    let mistakes = target.mistakes(with: input)
    guard mistakes.isEmpty else { fatalError("\(target): \(mistakes.joined(separator: "; "))") }
    return 0
}

import GuestABI
import GuestModel

/// Bytes of guest memory that one input may ask for; larger plans are checked and not loaded.
private let loadedBytesMax = 4 << 20

/// An image is refused in a line, or fits the memory that its plan asks for and can be entered.
func imageMistakes(_ input: [UInt8]) -> [String] {
    var reader = InputReader(input)
    let options = options(reader.byte())
    let image = reader.rest()
    let plan: GuestPlan
    do throws(GuestRejection) {
        plan = try GuestPlan(image: image.span, options: options)
    } catch {
        let text = error.description
        return text.utf8.count > 500 || text.utf8.contains(0x0A) ? ["no line: \(text)"] : []
    }
    var mistakes: [String] = []
    let ranges = plan.regions.map { region in
        region.start.rawValue..<region.start.rawValue + UInt64(region.byteCount)
    }
    if ranges.count != 2 || ranges[0].overlaps(ranges[1]) { mistakes.append("regions overlap") }
    if ranges.contains(where: { ($0.lowerBound | $0.upperBound) % UInt64(guestPageBytes) != 0 }) {
        mistakes.append("a region is not of whole pages")
    }
    guard plan.regions.reduce(0, { $0 + $1.byteCount }) <= loadedBytesMax else { return mistakes }
    return mistakes + loadMistakes(plan, image)
}

private func loadMistakes(_ plan: GuestPlan, _ image: [UInt8]) -> [String] {
    let memory = ArrayMemory(
        plan.regions.map {
            ArrayMemory.Region(
                start: $0.start.rawValue, bytes: [UInt8](repeating: 0, count: $0.byteCount))
        })
    do throws(GuestRejection) {
        let state = try plan.load(image: image.span, into: memory, seed: 1)
        let entry = PageWalk.translate(plan.entry, system: state.system, memory: memory)
        guard let entry, entry.isExecutable else { return ["the entry point cannot be executed"] }
        let stack = GuestVirtualAddress(state.general.rsp)
        let top = PageWalk.translate(stack, system: state.system, memory: memory)
        return top?.isWritable == true ? [] : ["the stack cannot be written"]
    } catch {
        return ["the plan's own memory does not do: \(error)"]
    }
}

/// Small sizes, so that most plans can be loaded.
private func options(_ flags: UInt8) -> GuestOptions {
    var options = GuestOptions(abi: flags & 1 == 0 ? .bare : .hyperlight)
    options.acceptsUnversionedGuest = flags & 2 != 0
    if flags & 4 != 0 {
        options.sizes = GuestMemorySizes(
            heap: 0x1001, scratch: 0x20000, input: 0x2000, output: 0x2001)
    }
    return options
}

/// The last few of many things, the oldest first.
struct RecentList<Element> {
    private let capacity: Int
    private var stored: [Element] = []
    /// Where the oldest one is, once there is no more room.
    private var oldest = 0

    init(capacity: Int) {
        self.capacity = capacity
        stored.reserveCapacity(capacity)
    }

    mutating func append(_ element: Element) {
        guard stored.count == capacity else { return stored.append(element) }
        stored[oldest] = element
        oldest = (oldest + 1) % capacity
    }

    /// Changes the newest one, if there is one.
    mutating func changeNewest(_ body: (inout Element) -> Void) {
        guard !stored.isEmpty else { return }
        body(&stored[newestIndex])
    }

    var newest: Element? { stored.isEmpty ? nil : stored[newestIndex] }

    private var newestIndex: Int { (oldest + stored.count - 1) % stored.count }

    var elements: [Element] { Array(stored[oldest...] + stored[..<oldest]) }
}

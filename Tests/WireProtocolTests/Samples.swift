import GuestModel
import WireProtocol

/// At least one message of every kind, and every shape of what they carry.
enum Samples {
    static let requests: [DebugRequest] =
        [
            .attach, .readMemory(GuestVirtualAddress(0xFFFF_8000_0000_0000), byteCount: 4096),
            .readMemory(GuestVirtualAddress(0), byteCount: UInt32(WireLimits.memoryBytesMax)),
            .writeMemory(GuestVirtualAddress(0x1000), [0xCC, 0, 0xFF]),
            .writeMemory(GuestVirtualAddress(0x1000), []), .writeRegisters(registers),
            .writeState(
                StateWrite(general: registers, fsBase: 1, gsBase: .max, cr2: 3, extended: nil)),
            .writeState(
                StateWrite(
                    general: registers, fsBase: 1, gsBase: 2, cr2: .max, extended: extendedState)),
            .writeState(
                StateWrite(general: registers, fsBase: 1, gsBase: 2, cr2: .max, extended: withAVX)),
            .readExtendedState, .insertBreakpoint(.software, GuestVirtualAddress(0x401000)),
            .insertBreakpoint(.hardware, GuestVirtualAddress(.max)),
            .removeBreakpoint(.hardware, GuestVirtualAddress(0x401000)), .resume(.continue),
            .resume(.step),
            .resume(.stepRange(start: GuestVirtualAddress(0x10), end: GuestVirtualAddress(0x20))),
            .interrupt, .detach(.asConfigured), .detach(.leaveStopped), .detach(.kill),
            .describeRegion(GuestVirtualAddress(.max)),
            .readPhysicalMemory(GuestPhysicalAddress(0x1000), byteCount: 8),
            .writePhysicalMemory(GuestPhysicalAddress(0x1000), [1]), .restartGuest,
        ] + watchpoints.map { .insertWatchpoint($0) } + watchpoints.map { .removeWatchpoint($0) }
        + inspections.map { .inspect($0) }

    private static let watchpoints = WatchKind.allCases.compactMap { kind in
        GuestVirtualRange(start: GuestVirtualAddress(0x1FFF), byteCount: 3)
            .flatMap { Watchpoint(kind, $0) }
    }

    private static let inspections: [Inspection] = [
        .status, .exits, .registers, .translate(GuestVirtualAddress(0x401000)), .regions,
        .hostCalls, .dump,
    ]

    private static let regions = [
        (MemoryPermissions.all, "image"), ([.read], ""), ([], "guard"), (nil, ""),
    ].compactMap { permissions, name in
        MappedRegion(
            start: GuestVirtualAddress(0x1000), last: GuestVirtualAddress(.max),
            permissions: permissions, name: name)
    }

    static let replies: [DebugReply] =
        [
            .done, .refused(.notMapped), .refused(.tooManyBreakpoints),
            .attached(
                GuestFacts(
                    loadBias: .max, firstSegmentAddress: 0x20_0000,
                    capabilities: [.sse, .watchpoints])),
            .memory([]), .memory([1, 2, 3]), .extendedState(nil), .extendedState(extendedState),
            .extendedState(withAVX),
        ]
        + reasons.map { .stopped(StopEvent(reason: $0, state: state, windows: [])) }
        + [.stopped(StopEvent(reason: .stepped, state: state, windows: windows))]
        + regions.map { .region($0) } + [.report(""), .report("a line\nanother\n")]
        + [.ended(.finished), .ended(.killed)] + crashes.map { .ended(.crashed($0)) }

    static let workerOrders: [WorkerOrder] = [
        .start(settings(abi: .hyperlight, flag: true)), .start(settings(abi: .bare, flag: false)),
        .resume, .stop, .ping(0), .ping(.max),
    ]

    static let workerNotices: [WorkerNotice] =
        [
            .hello(
                Hello(
                    buildID: "0123456789ab",
                    confinement: ConfinementReport(
                        landlockABI: 7, namespaces: .entered,
                        missing: IsolationMeasure.allCases.map {
                            MissingMeasure($0, step: "step", code: 1)
                        }))),
            .hello(Hello(buildID: "", confinement: ConfinementReport())),
        ]
        + SandboxState.allCases.map { .state($0, "because of \($0)") }
        + [.output("line\n\u{0}äöü🙂"), .output("")]
        + LogLevel.allCases.map { .log($0, "text") } + [.pong(0), .pong(.max)]

    static let stubOrders: [StubOrder] = [
        .start(StubSettings(processID: .max, symbolFileName: "/guest/counter.debug")), .stop,
        .ping(7), .dropClient,
    ]

    static let stubNotices: [StubNotice] = [
        .hello(Hello(buildID: "unknown", confinement: ConfinementReport())),
        .clientAttached("127.0.0.1:51320"),
        .clientDetached("closed"), .log(.warning, "text"),
        .clientRejected("127.0.0.1:80: why"), .pong(7),
    ]

    static let registers: RegisterFile = {
        var words = RegisterFile.Words(repeating: 0)
        for index in words.indices { words[index] = 0x0102_0304_0506_0700 + UInt64(index) }
        return RegisterFile(words: words)
    }()

    static let state: VCPUState = {
        var system = SystemRegisters.longMode(pageTable: GuestPhysicalAddress(0x7000))
        system.ds = Segment(base: 1, limit: 2, selector: 3, attributes: 4)
        system.es = Segment(base: 5, limit: 6, selector: 7, attributes: 8)
        system.fs = Segment(base: .max, limit: .max, selector: .max, attributes: .max)
        system.gs = Segment(base: 9)
        system.ss = Segment(limit: 10)
        system.ldt = Segment(selector: 11)
        system.gdt = DescriptorTable(base: 12, limit: 13)
        system.idt = DescriptorTable(base: 14, limit: 15)
        system.cr2 = 16
        system.cr8 = 17
        system.apicBase = 18
        return VCPUState(general: registers, system: system)
    }()

    private static let extendedState = ExtendedState(
        fxsave: (0..<ExtendedState.byteCount).map { UInt8(truncatingIfNeeded: $0) })

    private static let withAVX = ExtendedState(
        fxsave: (0..<ExtendedState.byteCount).map { UInt8(truncatingIfNeeded: $0) },
        upperYMM: (0..<ExtendedState.upperYMMByteCount).map { UInt8(truncatingIfNeeded: $0 + 1) },
        kernelGSBase: .max)

    private static let reasons: [StopReason] =
        [
            .entryPoint, .attached, .interrupted, .stepped, .guestTrap,
            .softwareBreakpoint(GuestVirtualAddress(0x401000)),
            .hardwareBreakpoint(GuestVirtualAddress(0x401001)),
        ] + WatchKind.allCases.map { .watchpoint($0, GuestVirtualAddress(0x601010)) }
        + crashes.map { .crashed($0) }

    private static let crashes: [GuestCrash] = [
        .tripleFault, .unmappedAccess(GuestPhysicalAddress(0xFFF), .read),
        .unmappedAccess(GuestPhysicalAddress(0xFFF), .execute),
        .unmappedFetch(GuestVirtualAddress(1)),
        .unsupportedInstruction(bytes: []),
        .unsupportedInstruction(bytes: Array(repeating: 0x66, count: 15)), .unexpectedPort(.max),
        .aborted(code: 255, text: "panicked"), .protocolViolation("a text"), .driverFailure("b"),
        .exception(CPUException(vector: 6, errorCode: 0, faultAddress: nil)),
        .exception(
            CPUException(vector: 14, errorCode: 2, faultAddress: GuestVirtualAddress(.max))),
    ]

    private static let windows = [
        MemoryWindow(start: GuestVirtualAddress(0x1000), bytes: [1, 2, 3]),
        MemoryWindow(start: GuestVirtualAddress(.max), bytes: [9]),
        MemoryWindow(start: GuestVirtualAddress(0), bytes: []),
        MemoryWindow(
            start: GuestVirtualAddress(0x2000),
            bytes: Array(repeating: 7, count: WireLimits.windowBytesMax)),
    ]

    private static func settings(abi: GuestABIName, flag: Bool) -> WorkerSettings {
        WorkerSettings(
            abi: abi, heap: 1, scratch: 2, input: 3, output: .max, acceptsUnversionedGuest: flag,
            holdsForClient: !flag, waitTimeoutMilliseconds: 4, resumesOnDisconnect: flag,
            onCrash: flag ? .hold : .wait, isDebugReadOnly: !flag, endsOnKill: !flag,
            endsWhenReady: flag, seed: 5)
    }
}

// swift-tools-version: 6.2
import PackageDescription

/// Settings of every Swift target.
let strict: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .treatAllWarnings(as: .error),
]

/// Settings of the targets that touch C or guest memory: each unsafe expression says `unsafe`.
let nearC: [SwiftSetting] =
    strict + [.strictMemorySafety(), .enableExperimentalFeature("Lifetimes")]

/// The commit that all programs of one build name in their first frame.
let buildID: String = {
    guard let git = Context.gitInformation else { return "unknown" }
    return git.currentCommit.prefix(12) + (git.hasUncommittedChanges ? "-changed" : "")
}()

let package = Package(
    name: "hyperlight-supervisor",
    products: [
        .executable(name: "hyperlight-supervisor", targets: ["hyperlight-supervisor"]),
        .executable(name: "hyperlight-worker", targets: ["hyperlight-worker"]),
        .executable(name: "hyperlight-worker-emulator", targets: ["hyperlight-worker-emulator"]),
        .executable(name: "hyperlight-gdbstub", targets: ["hyperlight-gdbstub"]),
        .executable(name: "hyperlight-ctl", targets: ["hyperlight-ctl"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/jpsim/Yams", from: "6.2.2"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
        .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.13.0"),
        .package(url: "https://github.com/hummingbird-project/hummingbird", from: "2.28.1"),
    ],
    targets: [
        // Layer 0: vocabulary
        .target(name: "GuestModel", swiftSettings: strict),

        // Layer 1: pure
        .target(name: "WireProtocol", dependencies: ["GuestModel"], swiftSettings: strict),
        .target(name: "GDBRemote", dependencies: ["GuestModel"], swiftSettings: strict),
        .target(
            name: "SessionCore", dependencies: ["GuestModel", "GDBRemote", "WireProtocol"],
            swiftSettings: strict),
        .target(name: "GuestABI", dependencies: ["GuestModel"], swiftSettings: strict),
        .target(name: "ControlAPI", dependencies: ["GuestModel"], swiftSettings: strict),

        // Layer 2: configuration
        .target(
            name: "SandboxConfig",
            dependencies: ["GuestModel", .product(name: "Yams", package: "Yams")],
            swiftSettings: strict),

        // Layer 3: system
        .target(
            name: "CLinux",
            cSettings: [.define("_GNU_SOURCE"), .define("CLINUX_BUILD_ID", to: "\"\(buildID)\"")]),
        .systemLibrary(
            name: "CSeccomp", pkgConfig: "libseccomp", providers: [.apt(["libseccomp-dev"])]),
        .systemLibrary(name: "CCap", pkgConfig: "libcap", providers: [.apt(["libcap-dev"])]),
        .target(
            name: "CUnicorn",
            cSettings: [
                .unsafeFlags(["-I\(Context.packageDirectory)/.deps/unicorn/include"])
            ],
            linkerSettings: [
                .unsafeFlags(["-L\(Context.packageDirectory)/.deps/unicorn/lib"]),
                .linkedLibrary("unicorn"), .linkedLibrary("capstone"), .linkedLibrary("m"),
            ]),
        .target(name: "LinuxSystem", dependencies: ["GuestModel", "CLinux"], swiftSettings: nearC),
        .target(name: "CListening", cSettings: [.define("_GNU_SOURCE")]),
        .target(
            name: "LinuxListening", dependencies: ["LinuxSystem", "CListening"],
            swiftSettings: nearC),
        .target(
            name: "Jail",
            dependencies: ["GuestModel", "LinuxSystem", "CLinux", "CSeccomp", "CCap"],
            swiftSettings: nearC),

        // Layer 4: drivers
        .target(name: "Hypervisor", dependencies: ["GuestModel"], swiftSettings: nearC),
        .target(
            name: "HypervisorKVM",
            dependencies: ["GuestModel", "Hypervisor", "LinuxSystem", "CLinux"],
            swiftSettings: nearC),
        .target(
            name: "HypervisorMSHV",
            dependencies: ["GuestModel", "Hypervisor", "LinuxSystem", "CLinux"],
            swiftSettings: nearC),
        .target(
            name: "HypervisorEmulator", dependencies: ["GuestModel", "Hypervisor", "CUnicorn"],
            swiftSettings: nearC),

        // Layer 5: roles
        .target(
            name: "Worker",
            dependencies: [
                "GuestModel", "WireProtocol", "GuestABI", "Hypervisor", "LinuxSystem", "Jail",
            ],
            swiftSettings: nearC),
        .target(
            name: "Stub",
            dependencies: [
                "GuestModel", "GDBRemote", "WireProtocol", "SessionCore", "LinuxSystem", "Jail",
            ],
            swiftSettings: nearC),
        .target(
            name: "Supervisor",
            dependencies: [
                "GuestModel", "WireProtocol", "ControlAPI", "SandboxConfig", "LinuxSystem",
                "LinuxListening", "Jail",
                .product(name: "Logging", package: "swift-log"),
                .product(name: "Hummingbird", package: "hummingbird"),
                .product(name: "HummingbirdCore", package: "hummingbird"),
                .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
                .product(name: "NIOConcurrencyHelpers", package: "swift-nio"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
            ],
            swiftSettings: strict),
        .target(
            name: "ControlClient",
            dependencies: [
                "GuestModel", "ControlAPI", "SandboxConfig", "LinuxSystem", "Jail",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
                .product(name: "NIOHTTP1", package: "swift-nio"),
            ],
            swiftSettings: strict),

        // Layer 6: programs
        .executableTarget(
            name: "hyperlight-supervisor",
            dependencies: [
                "LinuxSystem", "SandboxConfig", "Supervisor",
                .product(name: "Logging", package: "swift-log"),
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ],
            swiftSettings: strict),
        .executableTarget(
            name: "hyperlight-worker",
            dependencies: [
                "GuestModel", "LinuxSystem", "Worker", "Hypervisor", "HypervisorKVM",
                "HypervisorMSHV",
            ],
            swiftSettings: strict),
        .executableTarget(
            name: "hyperlight-worker-emulator",
            dependencies: ["GuestModel", "Worker", "Hypervisor", "HypervisorEmulator"],
            swiftSettings: strict),
        .executableTarget(
            name: "hyperlight-gdbstub", dependencies: ["Stub"], swiftSettings: strict),
        .executableTarget(
            name: "hyperlight-ctl", dependencies: ["ControlClient"], swiftSettings: strict),

        // Tests
        .testTarget(
            name: "GuestABITests", dependencies: ["GuestABI", "GuestModel"], exclude: ["Golden"],
            swiftSettings: strict),
        // Tests of the drivers: one suite for all of them
        .target(
            name: "ConformanceSupport", path: "Tests/ConformanceSupport",
            cSettings: [.define("_GNU_SOURCE")]),
        .target(
            name: "DriverConformance",
            dependencies: ["GuestModel", "Hypervisor", "ConformanceSupport"],
            path: "Tests/DriverConformance", swiftSettings: nearC),
        .testTarget(
            name: "HypervisorTests", dependencies: ["GuestModel", "Hypervisor"],
            swiftSettings: strict),
        .testTarget(
            name: "HypervisorEmulatorTests",
            dependencies: ["GuestModel", "Hypervisor", "HypervisorEmulator", "DriverConformance"],
            swiftSettings: nearC),
        .testTarget(
            name: "HypervisorKVMTests",
            dependencies: [
                "CLinux", "GuestModel", "Hypervisor", "HypervisorKVM", "Jail", "LinuxSystem",
                "DriverConformance",
            ],
            swiftSettings: nearC),
        .testTarget(
            name: "HypervisorMSHVTests",
            dependencies: [
                "CLinux", "ConformanceSupport", "DriverConformance", "GuestModel", "Hypervisor",
                "HypervisorMSHV", "LinuxSystem",
            ],
            swiftSettings: nearC),
        // Tests of configuration and control
        .testTarget(
            name: "SandboxConfigTests", dependencies: ["GuestModel", "SandboxConfig"],
            swiftSettings: strict),
        .testTarget(
            name: "ControlAPITests", dependencies: ["GuestModel", "ControlAPI"],
            swiftSettings: strict),
        .testTarget(
            name: "ControlServerTests",
            dependencies: [
                "GuestModel", "ControlAPI", "Supervisor",
                .product(name: "Logging", package: "swift-log"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
            ],
            swiftSettings: strict),
        .testTarget(
            name: "ControlClientTests",
            dependencies: [
                "GuestModel", "ControlAPI", "ControlClient", "LinuxSystem", "Supervisor",
                .product(name: "Logging", package: "swift-log"),
            ],
            swiftSettings: strict),
        // Tests of the jail, and of what every process stands on
        .target(name: "CJailProbe", path: "Tests/CJailProbe"),
        .executableTarget(
            name: "jail-probe",
            dependencies: ["GuestModel", "Jail", "LinuxSystem", "CJailProbe"],
            path: "Tests/JailProbe", swiftSettings: nearC),
        .testTarget(
            name: "JailTests", dependencies: [
                "GuestModel", "Jail", "LinuxListening", "LinuxSystem", "CSeccomp", "jail-probe",
            ],
            exclude: ["Golden"],
            swiftSettings: strict),
        .testTarget(
            name: "LinuxSystemTests", dependencies: ["CLinux", "LinuxSystem", "LinuxListening"],
            swiftSettings: strict),
        .testTarget(
            name: "WireProtocolTests", dependencies: ["GuestModel", "WireProtocol"],
            swiftSettings: strict),
        .testTarget(name: "GuestModelTests", dependencies: ["GuestModel"], swiftSettings: strict),
        .testTarget(
            name: "GDBRemoteTests", dependencies: ["GDBRemote", "GuestModel"], exclude: ["Golden"],
            swiftSettings: strict),
        .testTarget(
            name: "SessionCoreTests",
            dependencies: ["GDBRemote", "GuestModel", "SessionCore", "WireProtocol"],
            swiftSettings: strict),
        .testTarget(
            name: "StubTests",
            dependencies: [
                "GuestModel", "LinuxListening", "LinuxSystem", "WireProtocol",
                "hyperlight-gdbstub",
            ],
            swiftSettings: strict),
        // Runs the tests as on a machine that lacks something: tools/test --without
        .executableTarget(
            name: "refuse", dependencies: ["CSeccomp"], path: "Tests/Refuse",
            swiftSettings: nearC),
        // What must hold for any bytes; tools/fuzz/run and the tests call the same functions
        .target(
            name: "FuzzTargets",
            dependencies: [
                "GDBRemote", "GuestABI", "GuestModel", "SandboxConfig", "SessionCore",
                "WireProtocol",
            ],
            path: "Tests/Fuzz/Targets", swiftSettings: strict),
        .testTarget(name: "FuzzTests", dependencies: ["FuzzTargets"], swiftSettings: strict),
        // Tests of the whole: the built programs, real gdb
        .testTarget(
            name: "IntegrationTests",
            dependencies: [
                "CLinux", "ControlAPI", "GuestModel", "hyperlight-supervisor", "hyperlight-worker",
                "hyperlight-worker-emulator", "hyperlight-gdbstub", "hyperlight-ctl", "jail-probe",
                "refuse", "WireProtocol",
            ],
            swiftSettings: strict),
        .testTarget(
            name: "WorkerTests",
            dependencies: [
                "GuestABI", "GuestModel", "Hypervisor", "HypervisorEmulator", "HypervisorKVM",
                "LinuxListening", "LinuxSystem", "WireProtocol", "Worker",
            ],
            swiftSettings: nearC),
        .testTarget(
            name: "SupervisorTests",
            dependencies: [
                "GuestModel", "Jail", "LinuxListening", "LinuxSystem", "SandboxConfig", "Supervisor",
                "WireProtocol",
            ],
            swiftSettings: strict),
    ]
)

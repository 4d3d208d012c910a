import CLinux
import Glibc

/// Makes a folder with exactly this mode; one that is there already is kept as it is.
package func makeFolder(_ path: String, mode: UInt32) throws(SystemCallError) {
    if unsafe mkdir(path, mode_t(mode)) == 0 {
        guard unsafe chmod(path, mode_t(mode)) == 0 else {
            throw SystemCallError("chmod \(path)", code: errno)
        }
        return
    }
    let code = errno
    guard code == EEXIST, isFolder(path) else { throw SystemCallError("mkdir \(path)", code: code) }
}

/// Whether `path` is a folder and not a link to one.
package func isFolder(_ path: String) -> Bool {
    var status = stat()
    return unsafe lstat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFDIR
}

/// Sets the mode of a file.
package func setMode(_ path: String, _ mode: UInt32) throws(SystemCallError) {
    guard unsafe chmod(path, mode_t(mode)) == 0 else {
        throw SystemCallError("chmod \(path)", code: errno)
    }
}

/// Whether `path` is a folder of this user that nobody else can enter.
package func isPrivateFolder(_ path: String) -> Bool {
    isOwnFolder(path, closedToOthers: 0o077)
}

/// Whether `path` is a folder of this user in which nobody else can put or replace anything.
package func isOwnFolder(_ path: String) -> Bool {
    isOwnFolder(path, closedToOthers: 0o022)
}

private func isOwnFolder(_ path: String, closedToOthers rights: mode_t) -> Bool {
    var status = stat()
    return unsafe lstat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFDIR
        && status.st_uid == geteuid() && status.st_mode & rights == 0
}

/// Removes a socket; what is not there is no error, and what is something else stays.
package func removeSocket(_ path: String) {
    var status = stat()
    guard unsafe lstat(path, &status) == 0, status.st_mode & S_IFMT == S_IFSOCK else { return }
    // What cannot be removed shows when the name is used again.
    _ = unsafe unlink(path)
}

/// Removes an empty folder.
package func removeFolder(_ path: String) {
    _ = unsafe rmdir(path)
}

/// The names in a folder, without `.` and `..`; empty when it cannot be read.
package func folderContent(_ path: String) -> [String] {
    guard let folder = unsafe opendir(path) else { return [] }
    defer { unsafe _ = closedir(folder) }
    var names: [String] = []
    while let entry = unsafe readdir(folder) {
        let name = unsafe withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
            unsafe String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
        }
        if name != ".", name != ".." { names.append(name) }
    }
    return names
}

/// Opens (or makes) a lock file and locks it for as long as the descriptor lives.
package func lockFile(_ path: String) throws(SystemCallError) -> OwnedDescriptor {
    let file = try OwnedDescriptor.take(
        unsafe clinux_open_create(path, O_RDWR | O_NOFOLLOW, 0o600), from: "open")
    try checked(clinux_lock(file.rawValue), "flock")
    return file
}

/// Where this program's file is.
package func ownProgramPath() throws(SystemCallError) -> String {
    var buffer = [CChar](repeating: 0, count: Int(PATH_MAX))
    let count = unsafe readlink("/proc/self/exe", &buffer, buffer.count)
    guard count > 0 else { throw SystemCallError("readlink /proc/self/exe", code: errno) }
    let bytes = buffer.prefix(count).map { UInt8(bitPattern: $0) }
    return String(decoding: bytes, as: UTF8.self)
}

/// A process's resident memory in bytes, guest memory included, or nil when it is gone.
package func residentBytes(processID: Int32) -> UInt64? {
    guard let file = unsafe fopen("/proc/\(processID)/statm", "r") else { return nil }
    defer { unsafe _ = fclose(file) }
    var line = [CChar](repeating: 0, count: 256)
    guard unsafe fgets(&line, Int32(line.count), file) != nil else { return nil }
    let text = String(
        decoding: line.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    let fields = text.split(separator: " ")
    guard fields.count > 1, let pages = UInt64(fields[1]) else { return nil }
    return pages * UInt64(sysconf(Int32(_SC_PAGESIZE)))
}

/// Seconds since 1970, with microseconds.
package func wallClock() -> (seconds: Int64, microseconds: Int) {
    var now = timespec()
    _ = unsafe clock_gettime(CLOCK_REALTIME, &now)
    return (Int64(now.tv_sec), Int(now.tv_nsec / 1000))
}

/// Random bits from the system.
package func randomBits() -> UInt64 { UInt64.random(in: .min ... .max) }

/// The file's own mode creation mask; returns the one before.
@discardableResult
package func setFileModeMask(_ mask: UInt32) -> UInt32 { UInt32(umask(mode_t(mask))) }

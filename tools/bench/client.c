// The bench's only gdb client: speaks the remote protocol to every server under test with the same
// packets, in turns, and prints how long each answer took.
//
//   bench-client ROUNDS SAMPLES NAME:PORT:PID:TICK:WORDS:ROOM...
//
// PID is 0 for a server that has its guest already, else the process to attach to. TICK (hex) is
// where the hardware breakpoint goes. WORDS (hex) is where 64 KiB of all sorts of bytes can be read,
// ROOM (hex) is 64 KiB of zeros with as much behind them to write to.
// Output, one line for each measure, server and round: MEASURE NAME NANOSECONDS...

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum {
    servers_max = 8,
    samples_max = 100000,
    buffer_bytes = 1 << 18,
    answer_seconds = 10,
    run_microseconds = 2000,  // how long a guest runs before it is interrupted
};

struct server {
    char name[32];
    unsigned port, pid;
    uint64_t tick, words, room;
    int socket;
    size_t packet_bytes;  // what the server says of itself
    int acknowledges;     // it knows no other mode
    char write_packet;    // 'X', or 'M' for a server without
    char thread[64];
    char packet[buffer_bytes];  // the last one sent
    char reply[buffer_bytes];
};

static struct server servers[servers_max];
static char input[buffer_bytes];
static uint64_t samples[samples_max];

static void fail(const struct server *server, const char *form, ...) {
    va_list arguments;
    va_start(arguments, form);
    fprintf(stderr, "bench-client: %s: ", server ? server->name : "arguments");
    vfprintf(stderr, form, arguments);
    fputc('\n', stderr);
    exit(1);
}

static uint64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

// Packets

static void transmit(struct server *server, const char *bytes, size_t count) {
    if (send(server->socket, bytes, count, MSG_NOSIGNAL) != (ssize_t)count) {
        fail(server, "send: %s", strerror(errno));
    }
}

/// Sends one packet, whose body of `count` bytes, escaped, stands behind the first byte of `packet`.
static void put_bytes(struct server *server, size_t count) {
    unsigned char sum = 0;
    for (size_t i = 1; i <= count; i++) sum += (unsigned char)server->packet[i];
    server->packet[0] = '$';
    snprintf(server->packet + 1 + count, 4, "#%02x", sum);
    transmit(server, server->packet, count + 4);
}

static void put(struct server *server, const char *body) {
    size_t count = strlen(body);
    memcpy(server->packet + 1, body, count);
    put_bytes(server, count);
}

/// Copies a body without its escapes and run lengths; all bodies here are text.
static void decode(struct server *server, const char *body, size_t count) {
    char *to = server->reply, *end = server->reply + sizeof server->reply - 1;
    for (size_t i = 0; i < count && to < end; i++) {
        if (body[i] == '}' && i + 1 < count) {
            *to++ = (char)(body[++i] ^ 0x20);
        } else if (body[i] == '*' && i + 1 < count && to > server->reply) {
            for (int repeats = body[++i] - 29; repeats > 0 && to < end; repeats--, to++) *to = to[-1];
        } else {
            *to++ = body[i];
        }
    }
    *to = 0;
}

/// Takes one packet into `reply`, without its frame; a '+' before it is passed over.
static const char *take(struct server *server) {
    size_t count = 0;
    for (;;) {
        ssize_t got = recv(server->socket, input + count, sizeof input - count, 0);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) {
            const char *reason = got ? strerror(errno) : "connection closed";
            fail(server, "no answer to %.60s: %s", server->packet, reason);
        }
        count += (size_t)got;
        const char *start = input;
        while (start < input + count && *start == '+') start++;
        size_t length = (size_t)(input + count - start);
        if (length < 4 || start[length - 3] != '#') continue;
        if (*start != '$') fail(server, "not a packet: %.40s", start);
        decode(server, start + 1, length - 4);
        if (server->acknowledges) transmit(server, "+", 1);
        return server->reply;
    }
}

static const char *ask(struct server *server, const char *body) {
    put(server, body);
    return take(server);
}

static void expect(struct server *server, const char *body, const char *start) {
    const char *reply = ask(server, body);
    if (strncmp(reply, start, strlen(start)) != 0) {
        fail(server, "%s answered by \"%.60s\", not \"%s\"", body, reply, start);
    }
}

// Sessions

static void dial(struct server *server) {
    struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_port = htons((uint16_t)server->port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    struct timeval patience = {.tv_sec = answer_seconds};
    int on = 1;
    server->socket = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(server->socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(server->socket, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    if (connect(server->socket, (struct sockaddr *)&address, sizeof address) < 0) {
        fail(server, "connect: %s", strerror(errno));
    }
}

static void read_description(struct server *server) {
    char body[80];
    size_t offset = 0;
    for (;;) {
        snprintf(body, sizeof body, "qXfer:features:read:target.xml:%zx,ffb", offset);
        const char *reply = ask(server, body);
        if (*reply == 'l') return;
        if (*reply != 'm') fail(server, "%s answered by \"%.40s\"", body, reply);
        offset += strlen(reply) - 1;
    }
}

/// The stop reply's thread, in the server's own words.
static void note_thread(struct server *server) {
    const char *thread = strstr(server->reply, "thread:");
    size_t length = thread ? strcspn(thread + 7, ";") : 0;
    if (length == 0 || length >= sizeof server->thread) {
        fail(server, "no thread in \"%.80s\"", server->reply);
    }
    memcpy(server->thread, thread + 7, length);
    server->thread[length] = 0;
}

/// What gdb does from `target remote` to its prompt, as far as every server has it.
static void attach(struct server *server) {
    char body[80];
    dial(server);
    server->acknowledges = 1;
    put(server,
        "qSupported:multiprocess+;swbreak+;hwbreak+;qRelocInsn+;vContSupported+;xmlRegisters=i386");
    // QEMU may tell first, perhaps in one piece with the answer, that its guest stops.
    const char *size = strstr(take(server), "PacketSize=");
    if (!size && *server->reply == 'T') size = strstr(take(server), "PacketSize=");
    server->packet_bytes = size ? strtoul(size + 11, NULL, 16) : 400;
    server->acknowledges = strcmp(ask(server, "QStartNoAckMode"), "OK") != 0;
    if (server->pid) {
        expect(server, "!", "OK");  // or gdbserver would end with the first session
        snprintf(body, sizeof body, "vAttach;%x", server->pid);
    } else {
        strcpy(body, "?");
    }
    expect(server, body, "T");
    note_thread(server);
    expect(server, "Hg0", "OK");
    read_description(server);
    if (strlen(ask(server, "g")) < 17 * 16) fail(server, "short g: %s", server->reply);
}

static void detach(struct server *server) {
    char body[80] = "D";
    unsigned pid = 0;
    if (sscanf(server->thread, "p%x.", &pid) == 1) snprintf(body, sizeof body, "D;%x", pid);
    expect(server, body, "OK");
    close(server->socket);
}

// Measures. Each answers the nanoseconds of one sample.

static uint64_t time_of(struct server *server, const char *body, const char *start) {
    uint64_t before = now();
    expect(server, body, start);
    return now() - before;
}

static uint64_t measure_trivial(struct server *server) {
    return time_of(server, "vMustReplyEmpty", "");
}

static uint64_t measure_step(struct server *server) {
    char body[80];
    snprintf(body, sizeof body, "vCont;s:%s", server->thread);
    return time_of(server, body, "T05");
}

static uint64_t measure_registers(struct server *server) {
    measure_step(server);
    return time_of(server, "g", "");
}

static uint64_t measure_step_registers(struct server *server) {
    uint64_t before = now();
    measure_step(server);
    expect(server, "g", "");
    return now() - before;
}

static uint64_t little_endian(const char *hex) {
    uint64_t value = 0;
    for (int i = 7; i >= 0; i--) {
        char digits[3] = {hex[2 * i], hex[2 * i + 1], 0};
        value = value << 8 | strtoul(digits, NULL, 16);
    }
    return value;
}

static uint64_t stack_pointer(struct server *server) {
    const int rsp = 7;
    return little_endian(ask(server, "g") + 16 * rsp);
}

/// Reads `count` bytes in as few packets as the server's packet size allows, as gdb does.
static uint64_t read_memory(struct server *server, uint64_t address, size_t count) {
    const size_t largest = server->packet_bytes / 2;
    uint64_t before = now();
    for (size_t done = 0; done < count;) {
        char body[80];
        size_t part = count - done < largest ? count - done : largest;
        snprintf(body, sizeof body, "m%llx,%zx", (unsigned long long)(address + done), part);
        size_t got = strlen(ask(server, body)) / 2;
        if (got == 0 || server->reply[0] == 'E') {
            fail(server, "%s answered by \"%.40s\"", body, server->reply);
        }
        done += got;
    }
    return now() - before;
}

/// The top of the stack right after a stop: what gdb reads first.
static uint64_t measure_stack(struct server *server) {
    measure_step(server);
    return read_memory(server, stack_pointer(server), 8);
}

static uint64_t measure_8(struct server *server) { return read_memory(server, server->words, 8); }
static uint64_t measure_4k(struct server *server) {
    return read_memory(server, server->words, 4096);
}
static uint64_t measure_4k_of_zeros(struct server *server) {
    return read_memory(server, server->room, 4096);
}
static uint64_t measure_64k(struct server *server) {
    return read_memory(server, server->words, 65536);
}

/// Appends one byte of memory as the packet wants it; answers the new end.
static char *append_byte(const struct server *server, char *to, char byte) {
    if (server->write_packet == 'M') return to + sprintf(to, "%02x", (unsigned char)byte);
    if (strchr("#$}*", byte) && byte) {
        *to++ = '}';
        byte ^= 0x20;
    }
    *to++ = byte;
    return to;
}

/// Finds out by an empty write, as gdb does, how memory is to be written.
static void probe_write(struct server *server) {
    char body[80];
    snprintf(body, sizeof body, "X%llx,0:", (unsigned long long)server->room);
    server->write_packet = strcmp(ask(server, body), "OK") == 0 ? 'X' : 'M';
}

/// Writes 64 KiB of all sorts of bytes in as few packets as the server's packet size allows.
static uint64_t measure_write(struct server *server) {
    static char content[65536];
    const size_t longest_byte = 2;
    if (!server->write_packet) probe_write(server);
    for (size_t i = 0; i < sizeof content; i++) content[i] = (char)((i * 2654435761u) >> 13);
    uint64_t before = now();
    for (size_t done = 0; done < sizeof content;) {
        const char *limit = server->packet + server->packet_bytes - longest_byte;
        char data[buffer_bytes], *end = data;
        size_t part = 0;
        // 40 bytes are left for the head of the packet.
        while (done + part < sizeof content && server->packet + (end - data) + 40 < limit) {
            end = append_byte(server, end, content[done + part++]);
        }
        uint64_t address = server->room + sizeof content + done;
        int head = sprintf(server->packet + 1, "%c%llx,%zx:", server->write_packet,
                           (unsigned long long)address, part);
        memcpy(server->packet + 1 + head, data, (size_t)(end - data));
        put_bytes(server, (size_t)head + (size_t)(end - data));
        if (strcmp(take(server), "OK") != 0) fail(server, "write: \"%.40s\"", server->reply);
        done += part;
    }
    return now() - before;
}

/// From 0x03 to the stop of a guest that has been running for a while.
static uint64_t measure_interrupt(struct server *server) {
    char resume[80];
    snprintf(resume, sizeof resume, "vCont;c:%s", server->thread);
    put(server, resume);
    usleep(run_microseconds);
    uint64_t before = now();
    transmit(server, "\003", 1);
    if (*take(server) != 'T') fail(server, "interrupt answered by \"%.60s\"", server->reply);
    return now() - before;
}

/// Insert, continue, stop, remove; then one step, not counted, off the address.
static uint64_t measure_breakpoint(struct server *server) {
    char insert[80], remove[80], resume[80];
    snprintf(insert, sizeof insert, "Z1,%llx,1", (unsigned long long)server->tick);
    snprintf(remove, sizeof remove, "z1,%llx,1", (unsigned long long)server->tick);
    snprintf(resume, sizeof resume, "vCont;c:%s", server->thread);
    uint64_t before = now();
    expect(server, insert, "OK");
    expect(server, resume, "T05");
    expect(server, remove, "OK");
    uint64_t time = now() - before;
    measure_step(server);
    return time;
}

static uint64_t measure_attach(struct server *server) {
    uint64_t before = now();
    attach(server);
    detach(server);
    return now() - before;
}

struct measure {
    const char *name;
    uint64_t (*take)(struct server *);
    int divisor;      // dear ones take fewer samples
    int is_detached;  // starts with a guest that runs without a client
};

static const struct measure measures[] = {
    {"trivial packet", measure_trivial, 1, 0},
    {"g after a stop", measure_registers, 1, 0},
    {"m 8 B stack top", measure_stack, 1, 0},
    {"m 8 B elsewhere", measure_8, 1, 0},
    {"m 4 KiB", measure_4k, 2, 0},
    {"m 4 KiB of zeros", measure_4k_of_zeros, 2, 0},
    {"m 64 KiB", measure_64k, 10, 0},
    {"X 64 KiB", measure_write, 10, 0},
    {"step", measure_step, 1, 0},
    {"step + g", measure_step_registers, 1, 0},
    {"hardware breakpoint", measure_breakpoint, 2, 0},
    {"interrupt", measure_interrupt, 5, 0},
    {"attach .. detach", measure_attach, 2, 1},
};

static void run(const struct measure *measure, struct server *server, int count) {
    count = count / measure->divisor > 0 ? count / measure->divisor : 1;
    if (measure->is_detached) detach(server);
    for (int i = -2; i < count; i++) {  // the first two warm the caches
        uint64_t time = measure->take(server);
        if (i >= 0) samples[i] = time;
    }
    if (measure->is_detached) attach(server);
    printf("%s\t%s", measure->name, server->name);
    for (int i = 0; i < count; i++) printf(" %llu", (unsigned long long)samples[i]);
    putchar('\n');
}

static void parse(struct server *server, const char *text) {
    unsigned long long tick, words, room;
    if (sscanf(text, "%31[^:]:%u:%u:%llx:%llx:%llx", server->name, &server->port, &server->pid,
               &tick, &words, &room) != 6) {
        fail(NULL, "not NAME:PORT:PID:TICK:WORDS:ROOM: %s", text);
    }
    server->tick = tick;
    server->words = words;
    server->room = room;
}

int main(int argc, char **argv) {
    int server_count = argc - 3;
    if (server_count < 1 || server_count > servers_max) fail(NULL, "wrong number of them");
    int rounds = atoi(argv[1]), count = atoi(argv[2]);
    if (rounds < 1 || count < 1 || count > samples_max) fail(NULL, "ROUNDS or SAMPLES");
    for (int i = 0; i < server_count; i++) parse(&servers[i], argv[3 + i]);
    for (int i = 0; i < server_count; i++) attach(&servers[i]);
    for (int round = 0; round < rounds; round++) {
        for (size_t m = 0; m < sizeof measures / sizeof measures[0]; m++) {
            for (int i = 0; i < server_count; i++) run(&measures[m], &servers[i], count);
        }
    }
    for (int i = 0; i < server_count; i++) detach(&servers[i]);
    return 0;
}

// Counts for ever: the guest to try a debugger on. `break tick`, `bt`, `info locals`, `print ticks`.

#include <stdint.h>

/// How often tick() was called.
volatile uint64_t ticks;

/// What one round of the loop works on.
struct round {
    const char *name;
    uint64_t number;
    uint64_t sum;
    int32_t delta;
};

static const char *const names[] = {"spring", "summer", "autumn", "winter"};

void tick(void) { ticks++; }

static uint64_t advance(struct round *round, int32_t delta) {
    uint64_t before = round->sum;
    round->delta = delta;
    round->sum = before + (uint64_t)delta;
    tick();
    return round->sum - before;
}

static void step(struct round *round) {
    uint64_t season = round->number % (sizeof names / sizeof names[0]);
    int32_t delta = (int32_t)season + 1;
    round->name = names[season];
    uint64_t gained = advance(round, delta);
    round->number += gained == (uint64_t)delta;
}

void guest_main(void) {
    struct round round = {.name = names[0], .number = 0, .sum = 0, .delta = 0};
    for (;;) step(&round);
}

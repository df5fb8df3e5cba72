/* What the handler's parts know of each other, and what Python calls through ctypes. */
#ifndef HOTCOLD_HANDLER_H
#define HOTCOLD_HANDLER_H
#include "format.h"
#include <stddef.h>

#define API __attribute__((visibility("default")))
#define DONE 0xffffffffu

struct library {
    const char *name;         /* the loader's; a split library is never unloaded */
    uintptr_t base, lo, hi;   /* the load address, and .text in memory */
    const uint8_t *file;      /* the whole file, mapped for reading */
    const struct hc_index *index;
    const struct hc_hot *hot;
    const struct hc_block *blocks;
    const struct hc_run *runs;
    uint32_t *state;          /* of each block: 0, the process that is filling it, or DONE */
    uint8_t *touched;         /* of each page: 1 after a fault in it filled its block */
};

struct hc_stats {
    uint64_t faults;          /* in cold pages */
    uint64_t blocks, bytes;   /* that were filled */
    uint64_t nanoseconds;     /* spent on that, waits included */
    uint64_t waits;           /* for another thread that was filling the same block */
    uint64_t duplicates;      /* of these, waits that ended by filling it nevertheless */
    uint64_t hot_maps, hot_nanoseconds;
    uint64_t longest;         /* nanoseconds of one fault */
};
extern struct hc_stats hotcold_statistics;

/* library.c */
const char *hotcold_open(const char *path, struct library *to, int *file);
struct library *hotcold_find(uintptr_t address);
int hotcold_register(uintptr_t address);
void hotcold_complain(const char *name, const char *what);

/* signals.c: 0, or what this machine's kernel refuses */
extern const char *hotcold_refused;

/* fill.c: the first three return 0, or a sentence on what is wrong; the last of them is for what the kernel refuses */
const char *hotcold_map_hot(const struct library *library, int file);
const char *hotcold_fill_block(struct library *library, uint32_t number);
const char *hotcold_map_whole(struct library *library, const char *why);
extern const char hotcold_no_execution[], hotcold_no_move[], hotcold_no_map[];
enum outcome { FILLED, THERE, FOREIGN, BROKEN };
enum outcome hotcold_serve(uintptr_t address);
#endif

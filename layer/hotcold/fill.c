/* Fills cold pages: mmap read-write, decompress, make it executable and no longer writable, move it in place.
 *
 * It runs in a signal handler. Nothing here allocates from the heap, takes a lock of libc's, or uses
 * thread-local storage but errno. Several threads, or a forked child, may fill the same block: the last one
 * wins, with the same bytes. A block appears at once, because mremap holds the lock that a page fault waits for.
 */
#define _GNU_SOURCE
#include "handler.h"
#include <sched.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#define ZSTD_STATIC_LINKING_ONLY
#include <zstd.h>

#define WORKSPACE (224u << 10) /* bytes of a decompression context, checked by ZSTD_initStaticDCtx */
#define PATIENCE 2000          /* turns to wait for another thread; it may be this one, interrupted */

struct hc_stats hotcold_statistics;
#define COUNT(field, n) __atomic_fetch_add(&hotcold_statistics.field, (n), __ATOMIC_RELAXED)

static uint64_t read_clock(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static const char *unpack(const struct library *library, const struct hc_block *block, uint8_t *to) {
    static uint8_t workspace[WORKSPACE] __attribute__((aligned(64)));
    static uint32_t busy; /* a child that is forked meanwhile finds it busy for good, and maps its own */
    const uint8_t *from = library->file + block->offset;
    uint8_t *space = workspace;
    if (__atomic_exchange_n(&busy, 1, __ATOMIC_ACQUIRE)) {
        space = mmap(0, WORKSPACE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (space == MAP_FAILED) return "no memory is left to fill a block";
    }
    ZSTD_DCtx *context = ZSTD_initStaticDCtx(space, WORKSPACE);
    size_t got = context ? ZSTD_decompressDCtx(context, to, block->raw, from, block->packed) : 0;
    if (space == workspace) __atomic_store_n(&busy, 0, __ATOMIC_RELEASE);
    else munmap(space, WORKSPACE);
    return got == block->raw ? 0 : "a block is damaged; deploy the layer again";
}

const char *hotcold_fill_block(struct library *library, uint32_t number) {
    const struct hc_block *block = &library->blocks[number];
    uint8_t *fresh = mmap(0, block->raw, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (fresh == MAP_FAILED) return "no memory is left to fill a block";
    const char *wrong = unpack(library, block, fresh);
    if (!wrong) {
        __builtin___clear_cache((char *)fresh, (char *)fresh + block->raw);
        if (mprotect(fresh, block->raw, PROT_READ | PROT_EXEC)) wrong = "the kernel refuses executable memory";
    }
    if (wrong) {
        munmap(fresh, block->raw);
        return wrong;
    }
    const struct hc_run *run = &library->runs[block->first], *last = run + block->runs;
    for (; run < last; run++) {
        size_t size = (size_t)run->pages * HC_PAGE;
        void *to = (void *)(library->lo + (uintptr_t)run->page * HC_PAGE);
        if (mremap(fresh + (size_t)run->at * HC_PAGE, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, to) != to)
            return "the kernel refuses to move a block (is vm.max_map_count too low?)";
    }
    __atomic_store_n(&library->state[number], DONE, __ATOMIC_RELEASE);
    COUNT(blocks, 1);
    COUNT(bytes, block->raw);
    return 0;
}

const char *hotcold_map_hot(const struct library *library, int file) {
    uint64_t start = read_clock();
    const struct hc_hot *hot = library->hot, *last = hot + library->index->nhot;
    for (; hot < last; hot++) {
        void *to = (void *)(library->lo + (uintptr_t)hot->page * HC_PAGE);
        if (mmap(to, (size_t)hot->pages * HC_PAGE, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_FIXED, file,
                 (off_t)hot->offset) == MAP_FAILED)
            return "the kernel refuses to map its pages (is vm.max_map_count too low?)";
    }
    COUNT(hot_maps, library->index->nhot);
    COUNT(hot_nanoseconds, read_clock() - start);
    return 0;
}

static const struct hc_run *find_run(const struct library *library, uint32_t page) {
    uint32_t low = 0, high = library->index->nruns;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        const struct hc_run *run = &library->runs[middle];
        if (page < run->page) high = middle;
        else if (page >= run->page + run->pages) low = middle + 1;
        else return run;
    }
    return 0;
}

/* Fill what an address needs. THERE: it has been filled already, so another thread was faster, or the access
 * is none that code allows. */
enum outcome hotcold_serve(uintptr_t address) {
    struct library *library = hotcold_find(address);
    if (!library) {
        int added = hotcold_register(address);
        return added > 0 ? THERE : added < 0 ? BROKEN : FOREIGN;
    }
    uint32_t page = (uint32_t)((address - library->lo) / HC_PAGE);
    const struct hc_run *run = find_run(library, page);
    if (!run) return THERE; /* a hot page */
    uint64_t start = read_clock();
    uint32_t *state = &library->state[run->block], process = (uint32_t)syscall(SYS_getpid), seen = 0;
    COUNT(faults, 1);
    if (!__atomic_compare_exchange_n(state, &seen, process, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE) &&
        seen == process) {
        COUNT(waits, 1);
        for (int i = 0; i < PATIENCE && seen != DONE; i++) {
            sched_yield();
            seen = __atomic_load_n(state, __ATOMIC_ACQUIRE);
        }
        if (seen != DONE) COUNT(duplicates, 1);
    }
    if (seen == DONE) return THERE;
    const char *wrong = hotcold_fill_block(library, run->block);
    if (wrong) {
        hotcold_complain(library->name, wrong);
        return BROKEN;
    }
    library->touched[page] = 1;
    uint64_t took = read_clock() - start;
    COUNT(nanoseconds, took);
    if (took > hotcold_statistics.longest) hotcold_statistics.longest = took;
    return FILLED;
}

API void hotcold_stats(struct hc_stats *to) { *to = hotcold_statistics; }

/* Fills cold pages: mmap read-write, decompress, make it executable and no longer writable, move it in place.
 *
 * It runs in a signal handler. Nothing here allocates from the heap, takes a lock of libc's, or uses
 * thread-local storage but errno. Several threads, or a forked child, may fill the same block: the last one
 * wins, with the same bytes. A block appears at once, because mremap holds the lock that a page fault waits for.
 */
#define _GNU_SOURCE
#include "handler.h"
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#define ZSTD_STATIC_LINKING_ONLY
#include <zstd.h>

#define WORKSPACE (224u << 10) /* bytes of a decompression context, checked by ZSTD_initStaticDCtx */
#define PATIENCE 2000          /* turns to wait for another thread; it may be this one, interrupted */

const char hotcold_no_execution[] = "the kernel refuses to make memory executable";
const char hotcold_no_move[] = "the kernel refuses to move memory (is vm.max_map_count too low?)";
const char hotcold_no_map[] = "the kernel refuses to map its pages (is vm.max_map_count too low?)";

struct hc_stats hotcold_statistics;
#define COUNT(field, n) __atomic_fetch_add(&hotcold_statistics.field, (n), __ATOMIC_RELAXED)

static uint64_t read_clock(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* Have the kernel read a block whole, and no more: for a fault in the mapping it reads around it, megabytes on
 * some machines. A refusal costs time alone. */
static void read_ahead(const uint8_t *from, size_t size) {
    size_t before = (uintptr_t)from % HC_PAGE;
    madvise((void *)(from - before), before + size, MADV_WILLNEED);
}

static const char *unpack(const struct library *library, const struct hc_block *block, uint8_t *to) {
    static uint8_t workspace[WORKSPACE] __attribute__((aligned(64)));
    static uint32_t busy; /* a child that is forked meanwhile finds it busy for good, and maps its own */
    const uint8_t *from = library->file + block->offset;
    uint8_t *space = workspace;
    read_ahead(from, block->packed);
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
    uint8_t *fresh = mmap(0, block->raw, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (fresh == MAP_FAILED) return "no memory is left to fill a block";
    const char *wrong = unpack(library, block, fresh);
    if (!wrong) {
        __builtin___clear_cache((char *)fresh, (char *)fresh + block->raw);
        if (mprotect(fresh, block->raw, PROT_READ | PROT_EXEC)) wrong = hotcold_no_execution;
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
            return hotcold_no_move;
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
            return hotcold_no_map;
    }
    COUNT(hot_maps, library->index->nhot);
    COUNT(hot_nanoseconds, read_clock() - start);
    return 0;
}

/* ---- where that is refused ---- */

/* Make a file without a name in the folder for temporary files. */
static int make_file(void) {
    const char *folder = getenv("TMPDIR");
    static const char name[] = "/hotcold-XXXXXX";
    char path[512];
    if (!folder || strlen(folder) > sizeof path - sizeof name) folder = "/tmp";
    memcpy(path, folder, strlen(folder));
    memcpy(path + strlen(folder), name, sizeof name);
    int file = mkostemp(path, O_CLOEXEC);
    if (file >= 0) unlink(path);
    return file;
}

static int write_pages(int file, const uint8_t *from, uint32_t page, uint32_t pages) {
    for (size_t done = 0, size = (size_t)pages * HC_PAGE; done < size;) {
        ssize_t more = pwrite(file, from + done, size - done, (off_t)((uint64_t)page * HC_PAGE + done));
        if (more <= 0) return -1;
        done += (size_t)more;
    }
    return 0;
}

static const char no_space[] = "its code does not fit into the folder for temporary files; raise EphemeralStorage";

static const char *write_code(const struct library *library, int file) {
    const struct hc_index *index = library->index;
    for (const struct hc_hot *hot = library->hot, *last = hot + index->nhot; hot < last; hot++)
        if (write_pages(file, library->file + hot->offset, hot->page, hot->pages)) return no_space;
    uint8_t *raw = mmap(0, index->largest, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (raw == MAP_FAILED) return "no memory is left to fill a block";
    const char *wrong = 0;
    for (const struct hc_block *block = library->blocks, *last = block + index->nblocks; !wrong && block < last; block++) {
        wrong = unpack(library, block, raw);
        const struct hc_run *run = &library->runs[block->first], *end = run + block->runs;
        for (; !wrong && run < end; run++)
            if (write_pages(file, raw + (size_t)run->at * HC_PAGE, run->page, run->pages)) wrong = no_space;
    }
    munmap(raw, index->largest);
    return wrong;
}

/* Unpack all code of a library to a file, and map that: what every kernel allows that loads libraries. */
const char *hotcold_map_whole(struct library *library, const char *why) {
    uint64_t start = read_clock();
    hotcold_complain(library->name, why);
    hotcold_complain(library->name, "all of its code is unpacked to the folder for temporary files instead");
    int file = make_file();
    const char *wrong = file < 0 ? "no file can be made in the folder for temporary files" : write_code(library, file);
    if (!wrong && mmap((void *)library->lo, library->hi - library->lo, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_FIXED,
                       file, 0) == MAP_FAILED)
        wrong = "the kernel refuses to map its code from the folder for temporary files";
    if (file >= 0) close(file);
    if (wrong) return wrong;
    for (uint32_t b = 0; b < library->index->nblocks; b++)
        __atomic_store_n(&library->state[b], DONE, __ATOMIC_RELEASE);
    COUNT(blocks, library->index->nblocks);
    COUNT(bytes, library->hi - library->lo);
    COUNT(nanoseconds, read_clock() - start);
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
    if (wrong == hotcold_no_execution || wrong == hotcold_no_move) wrong = hotcold_map_whole(library, wrong);
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

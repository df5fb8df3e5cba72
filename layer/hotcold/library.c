/* Finds split libraries, and checks their files before anything of them is used. */
#define _GNU_SOURCE
#include "handler.h"
#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define LIBRARIES 32

static struct library libraries[LIBRARIES];
static int count;

void hotcold_complain(const char *name, const char *what) {
    char line[1024] = "hotcold: ";
    size_t used = strlen(line);
    for (const char *parts[] = {name, ": ", what, "\n"}, **part = parts; part < parts + 4; part++) {
        size_t length = strnlen(*part, sizeof line - used);
        memcpy(line + used, *part, length);
        used += length;
    }
    ssize_t ignored = write(STDERR_FILENO, line, used);
    (void)ignored;
}

/* ---- the file ---- */

static const char damaged[] = "its index is damaged; build and deploy the layer again";

/* Check what has one canonical value: see format.h. */
static const char *check_index(const struct library *library, uint64_t end, uint64_t size) {
    const struct hc_index *index = library->index;
    const struct hc_hot *hot = library->hot, *last_hot = hot + index->nhot;
    uint64_t page = 0, pages = (index->hi - index->lo) / HC_PAGE;
    uint64_t at = index->nhot ? hot->offset : index->nblocks ? library->blocks->offset : size;
    if (at < end || (index->nhot && at % HC_PAGE)) return damaged;
    for (const struct hc_hot *h = hot; h < last_hot; at += (uint64_t)h->pages * HC_PAGE, h++)
        if (h->offset != at) return damaged;
    uint32_t number = 0;
    for (uint32_t b = 0; b < index->nblocks; b++) {
        const struct hc_block *block = &library->blocks[b];
        if (block->offset != at || block->first != number || !block->runs || block->runs > index->nruns - number)
            return damaged;
        uint64_t filled = 0;
        for (uint32_t last = number + block->runs; number < last; number++) {
            const struct hc_run *run = &library->runs[number];
            for (; hot < last_hot && hot->page == page; hot++) page += hot->pages;
            if (run->page != page || !run->pages || run->block != b || run->at != filled) return damaged;
            page += run->pages;
            filled += run->pages;
        }
        if (block->raw != filled * HC_PAGE || block->raw > index->largest) return damaged;
        at += block->packed;
    }
    for (; hot < last_hot && hot->page == page; hot++) page += hot->pages;
    return number == index->nruns && hot == last_hot && page == pages && at == size ? 0 : damaged;
}

static int is_never_unloaded(const uint8_t *file, const ElfW(Phdr) *dynamic, uint64_t size) {
    if (dynamic->p_offset > size || dynamic->p_filesz > size - dynamic->p_offset) return 0;
    const ElfW(Dyn) *tag = (const void *)(file + dynamic->p_offset);
    for (size_t n = dynamic->p_filesz / sizeof *tag; n && tag->d_tag != DT_NULL; n--, tag++)
        if (tag->d_tag == DT_FLAGS_1) return (tag->d_un.d_val & DF_1_NODELETE) != 0;
    return 0;
}

static const char *check_file(struct library *library, uint64_t size) {
    const ElfW(Ehdr) *header = (const void *)library->file;
    if (size < sizeof *header || memcmp(header->e_ident, ELFMAG, SELFMAG)) return "it is no ELF file";
    const ElfW(Phdr) *first = (const void *)(library->file + header->e_phoff), *found = 0, *dynamic = 0, *text = 0;
    if (header->e_phoff > size || header->e_phnum * sizeof *first > size - header->e_phoff)
        return "the file is truncated";
    for (const ElfW(Phdr) *p = first; p < first + header->e_phnum; p++) {
        if (p->p_type == PT_HOTCOLD) found = p;
        if (p->p_type == PT_DYNAMIC) dynamic = p;
        if (p->p_type == PT_LOAD && !p->p_flags) text = p;
    }
    if (!found || !text || !dynamic) return "it is no split library";
    if (found->p_offset > size || found->p_filesz > size - found->p_offset) return "the file is truncated";
    const struct hc_index *index = library->index = (const void *)(library->file + found->p_offset);
    if (found->p_filesz < sizeof *index || memcmp(index->magic, HC_MAGIC, sizeof index->magic))
        return "it was split for another version of libhotcold.so; build the layer again";
    if (index->file_size != size) return "the file is truncated, or is another one";
    if (index->page != HC_PAGE || index->codec != HC_ZSTD || index->largest > HC_LARGEST || index->lo % HC_PAGE ||
        index->hi % HC_PAGE || index->lo != text->p_vaddr || index->hi - index->lo != text->p_memsz ||
        sizeof *index + index->nhot * sizeof *library->hot + index->nblocks * sizeof *library->blocks +
                index->nruns * sizeof *library->runs > found->p_filesz)
        return damaged;
    library->hot = (const void *)(index + 1);
    library->blocks = (const void *)(library->hot + index->nhot);
    library->runs = (const void *)(library->blocks + index->nblocks);
    if (!is_never_unloaded(library->file, dynamic, size))
        return "it could be unloaded (no DF_1_NODELETE); build the layer again";
    return check_index(library, found->p_offset + found->p_filesz, size);
}

/* Open and check a split library's file; return 0, or a sentence on what is wrong. `*file` is to be closed. */
const char *hotcold_open(const char *path, struct library *to, int *file) {
    struct stat status;
    *file = open(path, O_RDONLY | O_CLOEXEC);
    if (*file < 0 || fstat(*file, &status)) return "its file cannot be opened";
    uint64_t size = (uint64_t)status.st_size;
    const uint8_t *mapped = mmap(0, size ? size : 1, PROT_READ, MAP_PRIVATE, *file, 0);
    if (mapped == MAP_FAILED) return "its file cannot be mapped";
    *to = (struct library){.file = mapped};
    const char *wrong = check_file(to, size);
    if (wrong) munmap((void *)mapped, size);
    return wrong;
}

/* ---- the libraries of this process ---- */

struct library *hotcold_find(uintptr_t address) {
    for (int i = 0, n = __atomic_load_n(&count, __ATOMIC_ACQUIRE); i < n; i++)
        if (libraries[i].lo <= address && address < libraries[i].hi) return &libraries[i];
    return 0;
}

static const char *add(const struct dl_phdr_info *info, const ElfW(Phdr) *place, struct library *library, int *file) {
    const char *wrong = hotcold_open(info->dlpi_name, library, file);
    if (wrong) return wrong;
    /* It may be another file by now than the one that was loaded. */
    if (place->p_filesz < sizeof *library->index ||
        memcmp((const void *)(info->dlpi_addr + place->p_vaddr), library->index, place->p_filesz))
        return "its file was replaced after it was loaded";
    library->name = info->dlpi_name;
    library->base = info->dlpi_addr;
    library->lo = library->base + library->index->lo;
    library->hi = library->base + library->index->hi;
    size_t states = library->index->nblocks * sizeof *library->state;
    library->state = mmap(0, states + (library->hi - library->lo) / HC_PAGE, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (library->state == MAP_FAILED) return "no memory is left";
    library->touched = (uint8_t *)library->state + states;
    const char *refused = hotcold_refused ? hotcold_refused : hotcold_map_hot(library, *file);
    return refused ? hotcold_map_whole(library, refused) : 0;
}

/* The loader holds its lock while this runs, so no two threads are in it. */
static int consider(struct dl_phdr_info *info, size_t size, void *wanted) {
    (void)size;
    uintptr_t address = *(uintptr_t *)wanted;
    const ElfW(Phdr) *place = 0, *text = 0;
    for (const ElfW(Phdr) *p = info->dlpi_phdr; p < info->dlpi_phdr + info->dlpi_phnum; p++) {
        if (p->p_type == PT_HOTCOLD) place = p;
        if (p->p_type == PT_LOAD && !p->p_flags) text = p;
    }
    if (!place || !text || hotcold_find(info->dlpi_addr + text->p_vaddr)) return 0;
    if (address && address - info->dlpi_addr - text->p_vaddr >= text->p_memsz) return 0;
    int file = -1;
    const char *wrong = count == LIBRARIES ? "too many libraries are split" : add(info, place, &libraries[count], &file);
    if (file >= 0) close(file);
    if (!wrong) __atomic_store_n(&count, count + 1, __ATOMIC_RELEASE);
    if (!address) return 0; /* what is wrong is said when it is called */
    if (wrong) hotcold_complain(info->dlpi_name, wrong);
    return wrong ? -1 : 1;
}

/* Register the library that has an address, or with 0 every one; return 0 if none has it, -1 if it cannot be used. */
int hotcold_register(uintptr_t address) {
    int added = dl_iterate_phdr(consider, &address);
    return added ? added : hotcold_find(address) != 0;
}

/* ---- for Python ---- */

API int hotcold_libraries(void) { return __atomic_load_n(&count, __ATOMIC_ACQUIRE); }
API const char *hotcold_name(int i) { return libraries[i].name; }
API uint64_t hotcold_base(int i) { return libraries[i].base; }
API uint64_t hotcold_low(int i) { return libraries[i].index->lo; }
API uint64_t hotcold_pages(int i) { return (libraries[i].hi - libraries[i].lo) / HC_PAGE; }
API const uint8_t *hotcold_touched(int i) { return libraries[i].touched; }

/* Fill every block that is cold; return how many were, or -1. */
API long hotcold_fill(int i) {
    long n = 0;
    for (uint32_t b = 0; b < libraries[i].index->nblocks; b++) {
        if (libraries[i].state[b] == DONE) continue;
        if (hotcold_fill_block(&libraries[i], b)) return -1;
        n++;
    }
    return n;
}

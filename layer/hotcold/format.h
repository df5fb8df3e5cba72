/* A split library's index: what `split` writes into the library's last PT_LOAD, and PT_HOTCOLD points to.
 *
 * It lies in this order: struct hc_index, hc_hot[nhot], hc_block[nblocks], hc_run[nruns], names.
 * Everything has one canonical place, so that damage contradicts itself (library.c checks it): hot runs and
 * cold runs together cover .text from `lo` to `hi` without gap or overlap; cold runs stand in the order of
 * their addresses and fill the blocks in that order; in the file the hot pages follow each other, then the
 * blocks, and the last one ends where the file does.
 */
#ifndef HOTCOLD_FORMAT_H
#define HOTCOLD_FORMAT_H
#include <stdint.h>

#define PT_HOTCOLD 0x6c634c44u
#define HC_MAGIC "HOTCOLD1"
#define HC_PAGE 4096u
#define HC_LARGEST (1u << 20) /* bytes of the largest block there may be */

enum hc_codec { HC_ZSTD = 1 }; /* one frame a block, with its content size and a checksum */

struct hc_hot { /* pages that are mapped straight from the file */
    uint32_t page, pages;
    uint64_t offset;
};
struct hc_block { /* cold pages that are packed together */
    uint64_t offset;
    uint32_t packed, raw;  /* bytes */
    uint32_t first, runs;  /* its runs */
};
struct hc_run { /* cold pages that follow each other */
    uint32_t page, pages;
    uint32_t block, at;    /* its block, and the page there */
};
struct hc_index {
    char magic[8];
    uint64_t lo, hi;       /* .text, as virtual addresses; pages are counted from lo */
    uint32_t page, codec, nblocks, nruns, nhot, largest;
    uint64_t file_size;
};
#endif

/* Receives SIGSEGV before anybody else, and hands on what is not ours.
 *
 * It stays in front as Android's sigchain does. Python's own object calls sigaction, sigprocmask and
 * pthread_sigmask through its GOT; ours stand there instead, so faulthandler and the signal module act on what
 * comes after our handler, and nobody there blocks SIGSEGV. `split` renames the same three in the libraries
 * that it splits. Whoever calls libc in another way is not seen; hotcold_install() puts that right.
 */
#define _GNU_SOURCE
#include "handler.h"
#include <errno.h>
#include <link.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#define OLDS 8
#define RETRIES 100 /* of one thread at one address that is there, before it is a violation */

static struct sigaction olds[OLDS]; /* what was there when ours was put in front, oldest first */
static int nolds;

static uint32_t read_thread(void) { return (uint32_t)syscall(SYS_gettid); }

static void restore_default(int number) {
    struct sigaction fatal = {.sa_handler = SIG_DFL};
    sigaction(number, &fatal, 0);
}

/* Hand a signal to what was installed before us, under the mask that it asked for.
 *
 * faulthandler raises the signal again for its predecessor. Where that is us (it was enabled after us by a
 * call that we did not see), the next older handler gets it, and at last the default. */
static void chain(int number, siginfo_t *info, void *context) {
    static struct { uint32_t thread; void *handler; } before;
    uint32_t thread = read_thread();
    int place = nolds - 1;
    if (info->si_code == SI_TKILL && info->si_pid == getpid() && before.thread == thread)
        for (int i = place; i >= 0; i--)
            if ((void *)olds[i].sa_sigaction == before.handler) { place = i - 1; break; }
    struct sigaction action = {.sa_handler = SIG_DFL};
    if (place >= 0) action = olds[place];
    before.thread = thread;
    before.handler = (void *)action.sa_sigaction;
    int sent = info->si_code <= 0;
    if (action.sa_handler == SIG_IGN && sent) return;
    if (action.sa_handler == SIG_DFL || action.sa_handler == SIG_IGN) {
        restore_default(number);     /* the instruction runs again and ends the process, */
        if (sent) raise(number);     /* or this is pending until we return */
        return;
    }
    if (action.sa_flags & SA_RESETHAND) olds[place] = (struct sigaction){.sa_handler = SIG_DFL};
    sigset_t mask = ((ucontext_t *)context)->uc_sigmask;
    for (int other = 1; other < NSIG; other++)
        if (sigismember(&action.sa_mask, other) == 1) sigaddset(&mask, other);
    if (!(action.sa_flags & SA_NODEFER)) sigaddset(&mask, number);
    sigprocmask(SIG_SETMASK, &mask, 0); /* on Linux, of this thread */
    if (action.sa_flags & SA_SIGINFO) action.sa_sigaction(number, info, context);
    else action.sa_handler(number);
}

/* Whether a thread comes again and again for what is there: a violation, and no race that another one won. */
static int is_stuck(uintptr_t address) {
    static struct { uint32_t thread, times; uintptr_t address; } last[64];
    uint32_t thread = read_thread(), slot = thread % 64;
    if (last[slot].thread != thread || last[slot].address != address) {
        last[slot].thread = thread;
        last[slot].address = address;
        last[slot].times = 0;
    }
    return ++last[slot].times > RETRIES;
}

static int is_write(const void *context) {
#if defined(__x86_64__)
    return (((const ucontext_t *)context)->uc_mcontext.gregs[REG_ERR] & 2) != 0;
#else
    (void)context; /* a write is found out by is_stuck */
    return 0;
#endif
}

static void handle(int number, siginfo_t *info, void *context) {
    int saved = errno;
    enum outcome outcome = FOREIGN;
    uintptr_t address = (uintptr_t)info->si_addr;
    if ((info->si_code == SEGV_ACCERR || info->si_code == SEGV_MAPERR) && !is_write(context))
        outcome = hotcold_serve(address);
    if (outcome == FOREIGN || outcome == BROKEN || (outcome == THERE && is_stuck(address)))
        chain(number, info, context);
    if (outcome == BROKEN) restore_default(number); /* whatever the next one did: this code cannot run */
    errno = saved;
}

/* Put the handler in front of whatever is installed; return 1 if it was not there, 0 if it was, -1 on error. */
API int hotcold_install(void) {
    struct sigaction current, ours = {.sa_sigaction = handle, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART};
    if (sigaction(SIGSEGV, 0, &current)) return -1;
    if ((current.sa_flags & SA_SIGINFO) && current.sa_sigaction == handle) return 0;
    if (nolds == OLDS) memmove(&olds[1], &olds[2], (size_t)(--nolds - 1) * sizeof *olds); /* the first one stays */
    olds[nolds++] = current;
    sigfillset(&ours.sa_mask); /* another signal's handler may be cold itself: not inside of ours */
    return sigaction(SIGSEGV, &ours, 0) ? -1 : 1;
}

/* ---- what stands in libc's place ---- */

/* pthread_atfork of a library that stays: libpthread is then not needed. */
extern int __register_atfork(void (*)(void), void (*)(void), void (*)(void), void *);
static pid_t owner;

static void record_owner(void) { owner = getpid(); }

API int hotcold_sigaction(int number, const struct sigaction *to, struct sigaction *before) {
    /* A child of vfork resets every handler, as subprocess's does: its own, while the memory is its parent's. */
    if (number != SIGSEGV || !nolds || owner != getpid()) {
        struct sigaction copy;
        if (to) copy = *to, sigdelset(&copy.sa_mask, SIGSEGV); /* its handler may be cold */
        return sigaction(number, to ? &copy : 0, before);
    }
    struct sigaction current = olds[nolds - 1];
    if (to) olds[nolds - 1] = *to;
    if (before) *before = current;
    return 0;
}

static const sigset_t *spare(int how, const sigset_t *set, sigset_t *copy) {
    if (!set || how == SIG_UNBLOCK) return set;
    *copy = *set;
    sigdelset(copy, SIGSEGV);
    return copy;
}

API int hotcold_sigprocmask(int how, const sigset_t *set, sigset_t *before) {
    sigset_t copy;
    return sigprocmask(how, spare(how, set, &copy), before);
}

API int hotcold_pthread_sigmask(int how, const sigset_t *set, sigset_t *before) {
    sigset_t copy;
    return sigprocmask(how, spare(how, set, &copy), before) ? errno : 0;
}

static const struct { const char *name; void *to; } hooks[] = {
    {"sigaction", (void *)hotcold_sigaction},
    {"sigprocmask", (void *)hotcold_sigprocmask},
    {"pthread_sigmask", (void *)hotcold_pthread_sigmask},
};

/* ---- Python's GOT ---- */

extern int Py_AtExit(void (*)(void)) __attribute__((weak)); /* Python's own object is the one that has it */

#if defined(__x86_64__)
#define IS_SLOT(type) ((type) == R_X86_64_JUMP_SLOT || (type) == R_X86_64_GLOB_DAT)
#elif defined(__aarch64__)
#define IS_SLOT(type) ((type) == R_AARCH64_JUMP_SLOT || (type) == R_AARCH64_GLOB_DAT)
#endif

static void replace(uintptr_t slot, uintptr_t base, const ElfW(Phdr) *relro, void *to) {
    uintptr_t page = (uintptr_t)getpagesize(), start = slot & -page;
    int sealed = relro && slot >= base + relro->p_vaddr && slot < ((base + relro->p_vaddr + relro->p_memsz) & -page);
    if (sealed && mprotect((void *)start, page, PROT_READ | PROT_WRITE)) return;
    __atomic_store_n((void **)slot, to, __ATOMIC_RELEASE);
    if (sealed) mprotect((void *)start, page, PROT_READ);
}

static int hook(struct dl_phdr_info *info, size_t size, void *inside) {
    (void)size;
    const ElfW(Phdr) *dynamic = 0, *relro = 0;
    uintptr_t base = info->dlpi_addr, tags[DT_JMPREL + 1] = {0};
    int is_python = 0;
    for (const ElfW(Phdr) *p = info->dlpi_phdr; p < info->dlpi_phdr + info->dlpi_phnum; p++) {
        if (p->p_type == PT_DYNAMIC) dynamic = p;
        if (p->p_type == PT_GNU_RELRO) relro = p;
        if (p->p_type == PT_LOAD && (uintptr_t)inside - base - p->p_vaddr < p->p_memsz) is_python = 1;
    }
    if (!is_python || !dynamic) return 0;
    for (const ElfW(Dyn) *d = (const void *)(base + dynamic->p_vaddr); d->d_tag != DT_NULL; d++)
        if (d->d_tag > 0 && d->d_tag <= DT_JMPREL) tags[d->d_tag] = d->d_un.d_val;
#define PLACE(tag) (tags[tag] < base ? tags[tag] + base : tags[tag]) /* glibc has added the base already */
    const ElfW(Sym) *symbols = (const void *)PLACE(DT_SYMTAB);
    const char *strings = (const char *)PLACE(DT_STRTAB);
    const struct { int start, size; } tables[] = {{DT_JMPREL, DT_PLTRELSZ}, {DT_RELA, DT_RELASZ}};
    for (int table = 0; table < 2; table++) {
        if (!tags[tables[table].start]) continue;
        const ElfW(Rela) *r = (const void *)PLACE(tables[table].start);
        const ElfW(Rela) *last = r + tags[tables[table].size] / sizeof *r;
        for (; r < last; r++) {
            if (!IS_SLOT(ELF64_R_TYPE(r->r_info))) continue;
            const char *name = strings + symbols[ELF64_R_SYM(r->r_info)].st_name;
            for (size_t h = 0; h < sizeof hooks / sizeof *hooks; h++)
                if (!strcmp(name, hooks[h].name)) replace(base + r->r_offset, base, relro, hooks[h].to);
        }
    }
    return 1;
}

/* ---- what this machine allows ---- */

const char *hotcold_refused;

static const char *check_machine(void) {
#if defined(__x86_64__)
    static const uint8_t code[] = {0xc3};
#else
    static const uint8_t code[] = {0xc0, 0x03, 0x5f, 0xd6};
#endif
    if (getpagesize() != HC_PAGE) return "pages of this machine are not of 4 KiB";
    uint8_t *to = mmap(0, HC_PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    uint8_t *fresh = mmap(0, HC_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (to == MAP_FAILED || fresh == MAP_FAILED) return "no memory is left";
    memcpy(fresh, code, sizeof code);
    __builtin___clear_cache((char *)fresh, (char *)fresh + sizeof code);
    if (mprotect(fresh, HC_PAGE, PROT_READ | PROT_EXEC)) return hotcold_no_execution;
    if (mremap(fresh, HC_PAGE, HC_PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, to) != to) return hotcold_no_move;
    ((void (*)(void))to)();
    munmap(to, HC_PAGE);
    return 0;
}

static void install_again(void) { hotcold_install(); }

__attribute__((constructor)) static void begin(void) {
    sigset_t only;
    sigemptyset(&only);
    sigaddset(&only, SIGSEGV);
    sigprocmask(SIG_UNBLOCK, &only, 0); /* where it is blocked, the kernel ends the process at the first fault */
    record_owner();
    __register_atfork(0, 0, record_owner, 0); /* which vfork does not run */
    hotcold_install();
    hotcold_refused = check_machine();
    hotcold_register(0);
    if (!Py_AtExit) return;
    Py_AtExit(install_again); /* what Python removes as it ends is then behind us again, before destructors run */
    dl_iterate_phdr(hook, (void *)Py_AtExit);
}

/* Return 0 if a split library can be used here, or a sentence on what is wrong with it or this machine. */
API const char *hotcold_check(const char *path) {
    struct library library = {0};
    int file = -1;
    const char *wrong = check_machine();
    if (!wrong && path) wrong = hotcold_open(path, &library, &file);
    if (!wrong && library.file) munmap((void *)library.file, library.index->file_size);
    if (file >= 0) close(file);
    return wrong;
}

/* SPDX-License-Identifier: Apache-2.0
 * Opens a module: what is no plugin is refused with a sentence that names the file and the reason. */
#include "driver/manifest.h"

#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#if __SIZEOF_POINTER__ == 8
typedef Elf64_Ehdr elf_header;
enum { ELF_CLASS = ELFCLASS64 };
#else
typedef Elf32_Ehdr elf_header;
enum { ELF_CLASS = ELFCLASS32 };
#endif

/* The dynamic linker's own words for these are poor, and a truncated file can crash it. */
static int32_t check_elf(const char *path, struct kos_error *ret_error)
{
    elf_header header;
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        int32_t code = errno == ENOENT ? KOS_E_NOTFOUND : errno == EACCES ? KOS_E_PERMISSION : KOS_E_IO;
        return kos_fail(ret_error, code, "%s: %s", path, errno == ENOENT ? "there is no such file" : strerror(errno));
    }
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        close(fd);
        return kos_fail(ret_error, KOS_E_PLUGIN, "%s: is not a regular file", path);
    }
    ssize_t n = pread(fd, &header, sizeof header, 0);
    close(fd);
    if (n < SELFMAG || memcmp(header.e_ident, ELFMAG, SELFMAG) != 0)
        return kos_fail(ret_error, KOS_E_PLUGIN, "%s: is not a shared object (no ELF file)", path);
    if ((size_t)n < sizeof header)
        return kos_fail(ret_error, KOS_E_PLUGIN,
                        "%s: is cut off: it has %zd bytes, less than the header of a shared object", path, n);
    if (header.e_ident[EI_CLASS] != ELF_CLASS || header.e_type != ET_DYN)
        return kos_fail(ret_error, KOS_E_PLUGIN, "%s: is an ELF file, but not a shared object for this kind of machine",
                        path);
    uint64_t segments_end = (uint64_t)header.e_phoff + (uint64_t)header.e_phnum * header.e_phentsize;
    uint64_t sections_end =
        header.e_shoff ? (uint64_t)header.e_shoff + (uint64_t)header.e_shnum * header.e_shentsize : 0;
    uint64_t end = segments_end > sections_end ? segments_end : sections_end;
    if (end > (uint64_t)st.st_size)
        return kos_fail(ret_error, KOS_E_PLUGIN,
                        "%s: is cut off: it has %lld bytes, its header speaks of at least %llu", path,
                        (long long)st.st_size, (unsigned long long)end);
    return KOS_OK;
}

/* The linker's sentence without the path before it. */
static const char *linker_reason(const char *path)
{
    const char *text = dlerror();
    size_t len = strlen(path);
    if (!text)
        return "the dynamic linker refuses it";
    return strncmp(text, path, len) == 0 && text[len] == ':' ? text + len + 1 + (text[len + 1] == ' ') : text;
}

int32_t kos_module_open(const char *path, const struct kos_plugin **ret_plugin, struct kos_error *ret_error)
{
    if (path[0] != '/')
        return kos_fail(ret_error, KOS_E_INVALID, "%s: a module is named by its absolute path", path);
    int32_t rc = check_elf(path, ret_error);
    if (rc < 0)
        return rc;
    dlerror();
    void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!handle)
        return kos_fail(ret_error, KOS_E_PLUGIN, "%s: cannot be loaded: %s", path, linker_reason(path));
    const struct kos_plugin *plugin = dlsym(handle, "kos_plugin_v1");
    if (plugin) {
        *ret_plugin = plugin;
        return KOS_OK;
    }
    for (int major = 0; major < 10; major++) {
        char symbol[24];
        snprintf(symbol, sizeof symbol, "kos_plugin_v%d", major);
        if (dlsym(handle, symbol))
            return kos_fail(ret_error, KOS_E_VERSION, "%s: is a plugin of major version %d; this kosd takes version %d",
                            path, major, KOS_ABI_MAJOR);
    }
    return kos_fail(ret_error, KOS_E_PLUGIN,
                    "%s: is a shared object, but no plugin: the symbol kos_plugin_v1 is missing", path);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * The rules that every other header of this directory rests on.
 *
 *  - A plugin exports one const object, kos_plugin_v1 (plugin.h); the symbol carries the major version.
 *  - Within a major, structs only grow at their end. Each begins with `uint32_t size`, set by who fills it to
 *    sizeof. Who reads copies the smaller of both sizes and takes the rest as zero; ask with KOS_HAS().
 *    Lists are NULL-terminated arrays of pointers, so that elements may grow.
 *  - Optional features are asked for by name ("kos.transport/1"), in both directions; the answer is a table or NULL.
 *  - Enums are int32_t with named constants; unknown values are treated as the header of each says.
 *  - What crosses is bytes, integers and opaque ids. A struct kos_bytes or string passed in a call is valid during that
 *    call: who needs it longer copies it. Nobody frees the other side's memory.
 *  - Every operation completes exactly once, also when it fails, is cancelled or the plugin stops. What you submit never
 *    completes inside the call that submitted it; what the host submits to you may complete at once or later.
 *  - A plugin cannot tell whether it runs inside kosd or in a cell (another process).
 *  - The host never calls a plugin inside a call that the plugin makes: what follows comes after the plugin returned.
 *    So events cross: an id may still be named by one side after the other has ended it; that is ignored.
 *  - Thread: every member of every table is called on, and may be called from, the plugin's loop thread only. The one
 *    exception is kos_host.post. A plugin may have threads of its own.
 *  - A call into a plugin returns soon: what takes longer than some milliseconds is for a thread of its own. A plugin
 *    never ends its process, and leaves alone what belongs to the whole of it: signals, the working directory, umask,
 *    locale, environment, the standard descriptors.
 *  - Ids of operations, timers, transactions and runs are chosen by who submits them: unique among those of that plugin
 *    and kind which are not yet completed. 0 is never an id.
 *  - Strings are UTF-8 and NUL-terminated; times named _ms are Unix milliseconds where they are points, milliseconds
 *    where they are spans; sizes named _bytes are bytes.
 *
 * A release freezes what it has: nothing of it moves, changes or goes within the major, and what is appended raises
 * KOS_ABI_MINOR, once per release, with a line below. sdk/abi of the sources watches over that: `make abi-check` says
 * what a change adds or breaks, `make abi-update` accepts it.
 *
 * Changes:
 *   1.0  first version; until its release (now: 1.0-rc) it may still change.
 */
#ifndef KOS_ABI_H
#define KOS_ABI_H

#include <kos/bytes.h>
#include <kos/err.h>

#define KOS_ABI_MAJOR 1
#define KOS_ABI_MINOR 0
#define KOS_ABI ((uint32_t)KOS_ABI_MAJOR << 16 | KOS_ABI_MINOR)

#if defined(__GNUC__)
#define KOS_EXPORT __attribute__((visibility("default")))
#else
#define KOS_EXPORT
#endif

/* Whether `member` lies within what the other side filled, and is not NULL/0. */
#define KOS_HAS(ptr, member)                                                                                  \
    ((ptr)->size >= (uint32_t)(offsetof(__typeof__(*(ptr)), member) + sizeof((ptr)->member)) && (ptr)->member)

enum kos_level { KOS_ERROR = 3, KOS_WARNING = 4, KOS_NOTICE = 5, KOS_INFO = 6, KOS_DEBUG = 7 };
enum kos_io { KOS_IO_READ = 1, KOS_IO_WRITE = 2 };

enum { KOS_ID_BYTES = 16 };  /* KLP-IDs and message ids */

struct kos_host;

#endif

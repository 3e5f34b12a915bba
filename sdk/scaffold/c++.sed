# SPDX-License-Identifier: Apache-2.0
# The C of a template as C++: what C lets a void pointer become by itself is said, and instances are made and ended by
# constructor and destructor, so that they may hold objects of C++.
s/^#include <stdlib.h>$/#include <cstdlib>\n#include <new>/
s/^\( *\)struct \([a-z_]*\) \*\([a-z_]*\) = self;$/\1auto *\3 = static_cast<\2 *>(self);/
s/^\( *\)struct \([a-z_]*\) \*\([a-z_]*\) = calloc(1, sizeof \*[a-z_]*);$/\1auto *\3 = new (std::nothrow) \2();/
s/^\( *\)const struct \([a-z_]*\) \*\([a-z_]*\) = \(host->feature(.*)\);$/\1auto *\3 = static_cast<const \2 *>(\4);/
s/^    \.fini = free,$/    .fini = [](void *self) { delete static_cast<plugin *>(self); },/
s/\<NULL\>/nullptr/g
# Its declaration in kos/plugin.h exports it and gives it the linkage of C.
s/^KOS_EXPORT const struct kos_plugin /const kos_plugin /

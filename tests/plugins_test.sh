#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Every plugin that was built (plugins/ and the examples of the SDK) is what kosd may load: one exported symbol, none left
# open, all bound when loaded, and nothing of the runtime in its sources. TAP.
build=${KOS_BUILDDIR:-.}
src=${KOS_SRCDIR:-.}
n=0

# check STATUS NAME DETAIL
check() {
    n=$((n + 1))
    if [ "$1" -eq 0 ]; then
        echo "ok $n - $2"
    else
        echo "not ok $n - $2"
        printf '%s\n' "$3" | sed 's/^/# /'
    fi
}

modules=$(find "$build/plugins" "$build/sdk/examples" -path '*/.libs/*.so' | LC_ALL=C sort)
for module in $modules; do
    name=${module#"$build"/}
    exported=$(nm -D --defined-only "$module" | awk '{ print $3 }')
    [ "$exported" = kos_plugin_v1 ]
    check $? "$name exports kos_plugin_v1 alone" "it exports: $exported"

    # ldd -r binds everything against the libraries that the module names itself. Sanitizers' run-time is the program's.
    open=$(ldd -r "$module" 2>&1 | grep -E 'undefined symbol|not found' | grep -vE 'undefined symbol: __(asan|ubsan|lsan|sanitizer)_')
    [ -z "$open" ]
    check $? "$name leaves no symbol open" "$open"

    # A build with sanitizers leaves this flag out; kosd loads with RTLD_NOW in any case.
    readelf -dW "$module" | grep -qE 'BIND_NOW|FLAGS.*NOW' || nm -D "$module" | grep -qE '__(asan|ubsan)_'
    check $? "$name binds all symbols when it is loaded" "link it with -Wl,-z,now"

    private=$(readelf -dW "$module" | grep NEEDED | grep -oE 'lib(kos|event|event_core|config|sqlite3)[-.0-9a-z]*\.so[.0-9]*')
    # evhttp is what service/http is for; its base is its own, and libevent keeps nothing that two bases would share.
    case $name in plugins/service/http/*) private=$(printf '%s\n' "$private" | grep -v '^libevent') ;; esac
    [ -z "$private" ]
    check $? "$name links none of the runtime's libraries" "it needs: $private"
done
[ -n "$modules" ]
check $? "there are plugins to look at" "nothing was built below $build/plugins"

# The plugin that kos-plugin(7) shows, built as it says and looked at.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
awk '/^\.\\" example: hello.c/ { on = 1; next } on && /^\.Bd/ { next } on && /^\.Ed/ { exit } on' "$src/man/kos-plugin.7" >"$work/hello.c"
said=$(${CC:-cc} -std=c17 -Wall -Wextra -Werror -shared -fPIC -Wl,-z,defs,-z,now -I"$src/sdk" -o "$work/hello.so" "$work/hello.c" 2>&1) &&
    said=$("$build/kosctl" plugin info "$work/hello.so" 2>&1) && printf '%s' "$said" | grep -q org.example.hello
check $? "the plugin of kos-plugin(7) builds and is one" "$said"

# What the compiler itself wrote down: every file that an object of a plugin or of the SDK was made from.
used=$(find "$build/plugins" "$build/sdk" -name '*.Plo' -exec grep -lE '(^|[ /])runtime/' {} +)
[ -z "$used" ]
check $? "no object of plugins or SDK is made from a file of the runtime" "$used"
words=$(grep -rnE --exclude-dir=conform '#[[:space:]]*include[[:space:]]*"(\.\./)*(runtime/|(core|conf|store|trust|mesh|docs|agents|vectors|host|cell|spawn|control)/)' "$src/plugins" "$src/sdk" --include='*.[ch]')
[ -z "$words" ]
check $? "no source of plugins or SDK includes the runtime" "$words"
echo "1..$n"

# SPDX-License-Identifier: Apache-2.0
# Completion of kos-conform(1) for bash.

_kos_conform()
{
    local cur=$2 prev=$3
    COMPREPLY=()
    case $prev in
    --hosting) COMPREPLY=($(compgen -W "process cell both" -- "$cur")) ;;
    --suite)
        COMPREPLY=($(compgen -W "plugin transport handler discovery bridge vector control http.user http" -- "$cur"))
        ;;
    --files) COMPREPLY=($(compgen -d -- "$cur")) && compopt -o filenames ;;
    --settings) COMPREPLY=($(compgen -f -X '!*.klp-policy' -- "$cur")) && compopt -o filenames ;;
    --test | --listen | --timeout | --repeat | --seed) ;;
    *)
        if [[ $cur == -* ]]; then
            COMPREPLY=($(compgen -W "--hosting --suite --test --list --json --settings --files --listen --timeout
                --repeat --seed --no-fork --verbose --help --version" -- "$cur"))
        else
            COMPREPLY=($(compgen -f -X '!*.so' -- "$cur") $(compgen -d -- "$cur"))
            compopt -o filenames
        fi
        ;;
    esac
}

complete -F _kos_conform kos-conform

# SPDX-License-Identifier: Apache-2.0
# Completion of kos-new(1) for bash.
_kos_new()
{
    local cur=${COMP_WORDS[COMP_CWORD]} word kind=
    for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
        [[ $word == -* ]] || kind=$word
    done
    COMPREPLY=()
    if [[ $cur == -* ]]; then
        COMPREPLY=($(compgen -W '--c++ --autotools --version --help' -- "$cur"))
    elif [[ -z $kind ]]; then
        COMPREPLY=($(compgen -W 'handler transport discovery bridge vector' -- "$cur"))
    fi
}
complete -F _kos_new kos-new

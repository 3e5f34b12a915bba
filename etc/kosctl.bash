# SPDX-License-Identifier: Apache-2.0
# Completion of kosctl(1) for bash. Peers, agents and tasks are asked of the kosd that the command line would talk to.

# kosctl's one-line JSON, with the instance of the command line. Nothing when no kosd answers.
_kosctl_ask()
{
    command kosctl ${_kosctl_instance:+-i "$_kosctl_instance"} --json "$@" 2>/dev/null </dev/null
}

# The strings that a member has anywhere in the JSON on stdin. Those that a shell would have to quote are left out.
_kosctl_members()
{
    grep -o "\"$1\":\"[A-Za-z0-9:/._-]*\"" | sed 's/^[^:]*:"//; s/"$//'
}

_kosctl_peers()
{
    local json
    json=$(_kosctl_ask peers) || return
    # A peer has a did after its id, its agents have not.
    grep -o '"id":"[a-z2-7]*","did":"[^"]*","name":"[A-Za-z0-9.-]*"' <<<"$json" |
        sed 's/"id":"\([^"]*\)".*"name":"\([^"]*\)"/klp:\/\/node.\1 \2/' | tr ' ' '\n'
}

_kosctl_agents()
{
    local json
    _kosctl_ask agent list | _kosctl_members address
    json=$(_kosctl_ask peers) || return
    sed 's/{"id":/\n&/g' <<<"$json" | sed -n '
        /^{"id":"[a-z2-7]*","did":/ { s/^{"id":"\([^"]*\)","did":"[^"]*","name":"\([^"]*\)".*/\1 \2/; h; }
        /^{"id":"[a-z2-7]*","name":/ { s/.*"name":"\([a-z0-9-]*\)".*/\1/; G; s/\n/ /; p; }' |
        while read -r label id name; do printf 'klp://agent.%s.%s\n' "$label" "${name:-$id}"; done
}

_kosctl_tasks()
{
    _kosctl_ask task list | _kosctl_members task
}

# Whether an option of the command has no value.
_kosctl_flag()
{
    case $1 in
    --json | --help | -h | --version | -V | --did-document | --detach | --outbound | --repair) true ;;
    --log) [[ $_kosctl_command == id ]] ;;
    *) false ;;
    esac
}

# The value of an option; fails for options without one.
_kosctl_value()
{
    ! _kosctl_flag "$1" || return 1
    case $1 in
    -i | --instance | --key) COMPREPLY=($(compgen -d -- "$cur")); compopt -o filenames ;;
    --passphrase-file | --log) COMPREPLY=($(compgen -f -- "$cur")); compopt -o filenames ;;
    --role) COMPREPLY=($(compgen -W peer -- "$cur")) ;;
    --algorithm) COMPREPLY=($(compgen -W 'ed25519 p256' -- "$cur")) ;;
    --listen) COMPREPLY=($(compgen -W tcp:// -- "$cur")); compopt -o nospace ;;
    --from) if [[ $_kosctl_command == 'policy explain' ]]; then COMPREPLY=($(compgen -W "$(_kosctl_peers)" -- "$cur")); fi ;;
    --type) COMPREPLY=($(compgen -W 'TASK_REQUEST TASK_PROGRESS TASK_RESULT TASK_CANCEL BROADCAST_ANNOUNCE' -- "$cur")) ;;
    --agent) COMPREPLY=($(compgen -W "$(_kosctl_ask agent list | _kosctl_members name)" -- "$cur")) ;;
    --input)
        if [[ $cur == @* ]]; then
            COMPREPLY=($(compgen -P @ -f -- "${cur#@}"))
            compopt -o filenames
        fi ;;
    --name | --expect | --timeout | --size | --skill | --trust-required | --concurrency | --output-max | --trust | --deadline) ;;
    --exec | --stdio) COMPREPLY=($(compgen -c -- "$cur")) ;;
    *) return 1 ;;
    esac
}

_kosctl_options()
{
    case $1 in
    init) echo --name --role --listen --algorithm --passphrase-file ;;
    id) echo --did-document --log ;;
    connect) echo --expect --timeout ;;
    'agent add') echo --skill --exec --stdio --trust-required --concurrency --output-max ;;
    'task send') echo --input --trust --deadline --detach ;;
    'task wait') echo --from ;;
    'policy explain') echo --from --type --size --agent --outbound ;;
    'store check') echo --repair ;;
    'message sign') echo --key --passphrase-file ;;
    'message verify') echo --log ;;
    esac
    echo --json --instance --help
}

_kosctl_words()
{
    case $1 in
    connect) _kosctl_peers; echo peer:// ;;
    disconnect | trust) _kosctl_peers ;;
    untrust) _kosctl_ask trust | _kosctl_members id | sed 's/^/klp:\/\/node./' ;;
    'agent remove') _kosctl_ask agent list | _kosctl_members name ;;
    'task send') _kosctl_agents ;;
    'task wait' | 'task show' | 'task cancel') _kosctl_tasks ;;
    esac
}

_kosctl()
{
    local cur prev line words cword i word want=0 _kosctl_instance= _kosctl_command= first=
    COMPREPLY=()
    # COMP_WORDS breaks words at ':', which addresses have: split the line up to the cursor at blanks instead.
    line=${COMP_LINE:0:COMP_POINT}
    read -ra words <<<"$line"
    [[ $line == *[[:space:]] ]] && words+=('')
    cword=$((${#words[@]} - 1))
    cur=${words[cword]} prev=${words[cword - 1]}
    for ((i = 1; i < cword; i++)); do
        word=${words[i]}
        if ((want)); then
            want=0
            [[ ${words[i - 1]} == -i || ${words[i - 1]} == --instance ]] && _kosctl_instance=${word/#\~/$HOME}
        elif [[ $word == -* ]]; then
            if ! _kosctl_flag "$word"; then want=1; fi
        elif [[ -n $first ]]; then
            _kosctl_command="$first $word" first=
        elif [[ -z $_kosctl_command ]]; then
            case $word in
            agent | task | policy | plugin | store | message) first=$word ;;
            *) _kosctl_command=$word ;;
            esac
        fi
    done

    if ! _kosctl_value "$prev"; then
        if [[ $cur == -* ]]; then
            COMPREPLY=($(compgen -W "$(_kosctl_options "$_kosctl_command")" -- "$cur"))
        elif [[ -n $first ]]; then
            case $first in
            agent) words='add list remove' ;;
            task) words='send list show wait cancel' ;;
            policy) words='check explain reload' ;;
            plugin) words='list info reload' ;;
            store) words='check' ;;
            message) words='sign verify' ;;
            esac
            COMPREPLY=($(compgen -W "${words}" -- "$cur"))
        elif [[ -z $_kosctl_command ]]; then
            COMPREPLY=($(compgen -W 'init status id peers watch connect disconnect trust untrust agent task announce policy plugin store message help' -- "$cur"))
        elif [[ $_kosctl_command == 'policy check' || $_kosctl_command == 'plugin info' || $_kosctl_command == message* ]]; then
            COMPREPLY=($(compgen -f -- "$cur"))
            compopt -o filenames
        else
            COMPREPLY=($(compgen -W "$(_kosctl_words "$_kosctl_command")" -- "$cur"))
            [[ ${COMPREPLY[0]-} == peer:// ]] && compopt -o nospace
        fi
    fi
    # bash replaces only what stands behind the last ':' of the word.
    if [[ $cur == *:* && $COMP_WORDBREAKS == *:* ]]; then
        local known=${cur%"${cur##*:}"}
        COMPREPLY=("${COMPREPLY[@]#"$known"}")
    fi
}

complete -F _kosctl kosctl

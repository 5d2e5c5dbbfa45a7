#!/bin/sh
# with-env.sh FILE COMMAND...: run a command with the variables of a file of NAME=VALUE lines, read
# as compose, systemd and Kubernetes read it (a shell would take the blanks in a value for words).
set -eu
if [ $# -lt 2 ] || [ ! -r "$1" ]; then
    echo "with-env.sh: expected a readable file and a command, found: $*" >&2
    exit 2
fi
file=$1
shift
number=0
while IFS= read -r line || [ -n "${line}" ]; do
    number=$((number + 1))
    case ${line} in
        '' | '#'*) ;;
        [A-Z_]*=*) export "${line?}" ;;
        *)
            echo "with-env.sh: ${file}:${number}: expected NAME=VALUE or # comment, found: ${line}" >&2
            exit 2
            ;;
    esac
done <"${file}"
exec "$@"

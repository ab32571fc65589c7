#!/usr/bin/env bash
# test_client_examples.sh EXAMPLES: runs the example programs of that folder against the broker FANQD.
set -euo pipefail
examples=$1
folder=$(mktemp -d)
pids=()

stop_all() {
    for pid in "${pids[@]}"; do kill -KILL "$pid" 2>/dev/null || true; done
    rm -rf "$folder"
}
trap stop_all EXIT

expect() { # NAME EXPECTED ACTUAL
    if [ "$2" != "$3" ]; then
        printf '%s: expected\n%s\nbut it was\n%s\n' "$1" "$2" "$3" >&2
        exit 1
    fi
}

wait_for() { # a command that becomes true
    for _ in $(seq 1000); do
        if "$@"; then return; fi
        sleep 0.01
    done
    echo "does not come true: $*" >&2
    exit 1
}

has_lines() { [ "$(wc -l <"$1")" -ge "$2" ]; } # FILE COUNT
ends_well() { kill -TERM "$1"; wait "$1"; }    # PID

env -u FANQD_SANITIZED "$FANQD" --memory --port 0 --port-file "$folder/port" 2>"$folder/log" &
fanqd=$!
pids+=("$fanqd")
wait_for test -s "$folder/port"
FANQ_URL=fanq://127.0.0.1:$(cat "$folder/port")
export FANQ_URL

expect hello "hello, world" "$("$examples/example_hello")"

# A producer and two ways of working; all of it arrives, and SIGTERM ends a worker well.
"$examples/example_worker" work >"$folder/worker" &
worker=$!
pids+=("$worker")
expect producer "5000 sent, 0 failed" "$("$examples/example_producer" work 5000)"
wait_for has_lines "$folder/worker" 5000
ends_well "$worker"
expect worker "$(seq 0 4999 | sed 's/^/message /' | sort)" "$(sort "$folder/worker")"

"$examples/example_uv_worker" small capital &
uv_worker=$!
pids+=("$uv_worker")
expect "producer for libuv" "1000 sent, 0 failed" "$("$examples/example_producer" small 1000)"
"$examples/example_worker" capital >"$folder/capital" &
worker=$!
pids+=("$worker")
wait_for has_lines "$folder/capital" 1000
ends_well "$worker"
ends_well "$uv_worker"
expect "libuv worker" "$(seq 0 999 | sed 's/^/MESSAGE /' | sort)" "$(sort "$folder/capital")"

# The small system of services. Events published before a service runs wait for it.
"$examples/setup" create
"$examples/setup" create
"$examples/account_service" ada bob
"$examples/history_service" 2 >"$folder/history"
"$examples/email_service" 3 >"$folder/email" &
email=$!
pids+=("$email")
"$examples/account_service" eve
wait "$email"
expect history "$(printf 'history: %s: password changed\n' ada bob)" "$(cat "$folder/history")"
expect e-mail "$(printf 'mail to %s: your password was changed\n' ada bob eve)" "$(cat "$folder/email")"
"$examples/setup" remove
"$examples/setup" remove

ends_well "$fanqd"

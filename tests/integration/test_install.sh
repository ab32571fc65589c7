#!/usr/bin/env bash
# test_install.sh SOURCE BUILD: installs into a folder, and builds on what lies there as a user would: the C program
# of the README, which is the example hello.c, and a C++ one, with the shared and with the static library. They talk
# to the installed broker.
set -euo pipefail
source=$1 build=$2
folder=$(mktemp -d)
broker=
trap '[ -z "$broker" ] || { kill "$broker"; wait "$broker" || true; }; rm -rf "$folder"' EXIT

meson install -C "$build" --no-rebuild --quiet --destdir "$folder/root"
pc=$(find "$folder/root" -name fanq.pc)
export PKG_CONFIG_PATH=${pc%/*} PKG_CONFIG_SYSROOT_DIR=$folder/root
libraries=$(dirname "${pc%/*}")
[ "$(pkg-config --modversion fanq)" = "$("$(find "$folder/root" -path '*/bin/fanqd')" --version | grep -o '[0-9][0-9.]*' | head -n 1)" ]

sed -n '/^```c$/,/^```$/p' "$source/README.md" | grep -v '^```' >"$folder/hello.c"
diff "$source/clients/examples/hello.c" "$folder/hello.c"
cat >"$folder/hello.cpp" <<'CPP'
#include <fanq.h>
#include <cstdio>

int main()
{
    fanq_options options = FANQ_OPTIONS_INIT;
    fanq *client = nullptr;
    fanq_error error = {};
    fanq_content content = fanq_text("hello from C++");
    fanq_batch *batch = nullptr;
    size_t bytes = 0;

    int err = fanq_open(nullptr, &options, &client);
    if (err == 0)
        err = fanq_send_sync(client, "cpp", &content, 5000, &error);
    if (err == 0)
        err = fanq_receive_sync(client, "cpp", nullptr, 5000, &batch, &error);
    if (err == 0 && fanq_batch_count(batch) == 1) {
        const void *body = fanq_message_body(fanq_batch_message(batch, 0), &bytes);
        std::printf("%.*s\n", (int)bytes, (const char *)body);
        err = fanq_ack_batch_sync(batch, 5000, &error);
    }
    if (err < 0)
        std::fprintf(stderr, "%s: %s\n", fanq_strerror(err), error.text);
    fanq_batch_unref(batch);
    fanq_free(client);
    return err < 0;
}
CPP

# shellcheck disable=SC2046 # the flags are words
{
  cc -std=c99 -Wall -Wextra -Werror -o "$folder/hello-c" "$folder/hello.c" $(pkg-config --cflags --libs fanq)
  cc -std=c99 -Wall -Wextra -Werror -o "$folder/hello-static" "$folder/hello.c" $(pkg-config --cflags fanq) \
    "$libraries/libfanq.a" $(pkg-config --static --libs-only-l fanq | sed 's/-lfanq//')
  c++ -std=c++11 -Wall -Wextra -Werror -o "$folder/hello-cpp" "$folder/hello.cpp" $(pkg-config --cflags --libs fanq)
}
if ldd "$folder/hello-static" | grep -q libfanq; then
  echo "hello-static is linked with the shared library" >&2
  exit 1
fi

"$folder/root"/*/*/bin/fanqd --memory --port 0 --port-file "$folder/port" >"$folder/fanqd.log" 2>&1 &
broker=$!
until [ -s "$folder/port" ]; do
  kill -0 "$broker" || { cat "$folder/fanqd.log" >&2; exit 1; }
  sleep 0.01
done
FANQ_URL=fanq://127.0.0.1:$(cat "$folder/port")
export FANQ_URL LD_LIBRARY_PATH=$libraries
for program in hello-c hello-static hello-cpp; do
  "$folder/$program" | tee "$folder/said"
  grep -q hello "$folder/said"
done

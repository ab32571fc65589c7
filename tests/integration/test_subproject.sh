#!/usr/bin/env bash
# test_subproject.sh SOURCE: builds a project that has fanq as a meson subproject and links its library.
set -euo pipefail
source=$1
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

mkdir -p "$folder/subprojects"
ln -s "$source" "$folder/subprojects/fanq"
cat >"$folder/meson.build" <<'MESON'
project('user', 'c', version: '1')
executable('user', 'user.c', dependencies: dependency('fanq', fallback: 'fanq'))
MESON
cat >"$folder/user.c" <<'C'
#include <fanq.h>
#include <stdio.h>

int main(void)
{
    puts(fanq_version());
    return 0;
}
C

meson setup --force-fallback-for=fanq "$folder/build" "$folder" >"$folder/log" || { cat "$folder/log" >&2; exit 1; }
ninja -C "$folder/build" user >"$folder/log" || { cat "$folder/log" >&2; exit 1; }
[ "$("$folder/build/user")" = "$(sed -n "s/^ *version: '\(.*\)',$/\1/p" "$source/meson.build")" ]

#!/usr/bin/env python3
"""Purity is checked, not hoped for: what core, base and proto together leave undefined must be memory, string and assert
functions. No clock, file, socket, thread or random source can slip in unseen.

usage: test_purity.py LIBRARY..."""

import re
import subprocess
import sys

ALLOWED = {
    # memory
    "malloc", "calloc", "realloc", "free", "memcpy", "memmove", "memset", "memcmp", "memchr", "memrchr",
    # strings
    "strlen", "strnlen", "strcmp", "strncmp", "strchr",
    # assertions, and what compilers put in by themselves
    "__assert_fail", "abort", "__stack_chk_fail", "_GLOBAL_OFFSET_TABLE_",
    "__popcountdi2", "bcmp", "__memcpy_chk", "__memmove_chk", "__memset_chk", "__gcov_init", "__gcov_exit", "__gcov_merge_add",
}


def symbols(libraries, option):
    """The names that nm lists, each with the object it stands in."""
    lines = subprocess.run(["nm", option, "-A", "-P", *libraries], check=True, capture_output=True,
                           text=True).stdout.splitlines()
    for line in lines:
        place, name = re.match(r"(.*): (\S+) ", line).groups()
        yield name, place


def main():
    libraries = sys.argv[1:]
    defined = {name for name, _ in symbols(libraries, "--defined-only")}
    impure = {(name, place) for name, place in symbols(libraries, "--undefined-only")
              if name not in defined and name not in ALLOWED}
    for name, place in sorted(impure):
        print(f"{name} is not pure, and used by {place}")
    if len(defined) < 100:
        sys.exit("these libraries define next to nothing: this test looks in the wrong place")
    sys.exit(1 if impure else 0)


if __name__ == "__main__":
    main()

"""Checks every hex example and every table of PROTOCOL.md against the C codecs.

    test_examples.py PROTO_EXAMPLES PROTOCOL.md

A block fenced as request, reply or record begins with "> " and what the codecs say about it; then come lines of hex,
each with an optional comment behind two spaces. The bytes must decode to just those words and encode to the same bytes.
"""

import re
import subprocess
import sys

KINDS = ("request", "reply", "record")
HEX_LINE = re.compile(r"^([0-9a-f]{2}(?: [0-9a-f]{2})*)(?:  .*)?$")


class Example:
    def __init__(self, kind, line_number):
        self.kind = kind
        self.line_number = line_number
        self.words = None
        self.hex = ""

    def add(self, line):
        if line.startswith("> "):
            self.words = line[2:]
            return
        match = HEX_LINE.match(line)
        assert match, f"not a line of hex: {line!r}"
        self.hex += match[1].replace(" ", "")


def examples_of(page):
    examples, current = [], None
    for number, line in enumerate(page, 1):
        if current is not None and line == "```":
            current = None
        elif current is not None:
            current.add(line)
        elif line.startswith("```") and line[3:] in KINDS:
            current = Example(line[3:], number)
            examples.append(current)
    return examples


def check_examples(program, examples):
    lines = "".join(f"{e.kind} {e.hex}\n" for e in examples)
    answer = subprocess.run([program], input=lines, stdout=subprocess.PIPE, text=True, check=True).stdout.split("\n")
    failures = []
    for i, example in enumerate(examples):
        words, again = answer[2 * i : 2 * i + 2]
        if words != example.words:
            failures.append(f"line {example.line_number}: the page says\n  {example.words}\nthe codecs say\n  {words}")
        elif again != example.hex:
            failures.append(f"line {example.line_number}: encodes to {again}")
    return failures


def cells(line):
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def tables_of(page):
    """The rows of the page's tables, by the words of their first line."""
    tables, head = {}, None
    for line in page:
        if not line.startswith("|"):
            head = None
        elif head is None:
            head = tuple(cells(line))
            tables.setdefault(head, [])
        elif not re.match(r"^\|[ :|-]+$", line):
            tables[head].append(cells(line))
    return tables


def check_tables(program, page):
    rows = subprocess.run([program, "--tables"], stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()
    known = {}
    for row in rows:
        kind, rest = row.split(" ", 1)
        known.setdefault(kind, []).append(rest)
    tables = tables_of(page)
    told = {
        "error": [" ".join(row) for row in tables[("Number", "Name", "Retry?", "Text")]],
        "request": [" ".join(row[:2]) for row in tables[("Op", "Request", "Fields", "Answer")]],
        "reply": [" ".join(row[:2]) for row in tables[("Op", "Reply", "Fields")]],
        "limit": [" ".join(row[:2]) for row in tables[("Limit", "Value", "Of what")]],
    }
    failures = []
    for kind, expected in known.items():
        for row in sorted(set(expected) ^ set(told[kind])):
            where = "the headers say" if row in expected else "the page says"
            failures.append(f"table of {kind}s: only {where}: {row}")
    return failures


def main():
    program, path = sys.argv[1:]
    with open(path, encoding="utf-8") as file:
        page = file.read().split("\n")
    examples = examples_of(page)
    failures = check_examples(program, examples) + check_tables(program, page)
    if len(examples) < 20:
        failures.append(f"only {len(examples)} examples found: is the page still written as this test reads it?")
    for failure in failures:
        print(f"{path}: {failure}")
    print(f"{len(examples)} examples, {len(failures)} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())

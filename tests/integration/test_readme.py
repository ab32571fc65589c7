"""test_readme.py README FANQD FANQ: what the README shows on a terminal is what the programs say.

Runs the commands of its console blocks against a broker on a free port, in their order, and compares what they
print, except for what differs each time: ids, times, the process id, the port."""
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile

CHANGING = [
    (r"[0-9a-f]+\.[0-9a-f]+-[0-9a-f]+", "ID"),
    (r"\d{4}-\d\d-\d\dT[0-9:.]+Z", "TIME"),
    (r"\(pid \d+\)", "(pid N)"),
    (r"in \d+ ms", "in N ms"),
    (r"storage  [^:]+:", "storage  DIRECTORY:"),
    (r"export FANQ_URL=\S+ && ", ""),  # the banner says it when the port is not the usual one
    (r"127\.0\.0\.1:\d+", "127.0.0.1:PORT"),
]


def normal(text):
    for pattern, name in CHANGING:
        text = re.sub(pattern, name, text)
    return text


def examples(readme):
    """Pairs of command and what it prints."""
    pairs = []
    for block in re.findall(r"^```console\n(.*?)^```", readme, re.M | re.S):
        for part in re.split(r"^\$ ", block, flags=re.M)[1:]:
            command, _, output = part.partition("\n")
            pairs.append((command, output))
    return pairs


def start_broker(fanqd, folder):
    """Gives the process, its banner and its port."""
    broker = subprocess.Popen([fanqd, "--port", "0", "--port-file", folder / "port"],
                              env=dict(os.environ, STATE_DIRECTORY=folder / "state"),
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    banner = ""
    for line in broker.stdout:
        banner += line
        if line.startswith("ready"):
            break
    return broker, banner, (folder / "port").read_text().strip()


def run(command, environment):
    """On a terminal the shell's prompt would begin a new line; here we see to it."""
    done = subprocess.run(["bash", "-c", command], env=environment, text=True, timeout=30,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return done.stdout if done.stdout.endswith("\n") else done.stdout + "\n"


def main(readme, fanqd, fanq):
    pairs = examples(pathlib.Path(readme).read_text())
    assert len(pairs) >= 5 and pairs[0][0] == "fanqd &", pairs
    failures = 0
    with tempfile.TemporaryDirectory() as folder:
        broker, banner, port = start_broker(fanqd, pathlib.Path(folder))
        environment = dict(os.environ, FANQ_URL=f"fanq://127.0.0.1:{port}",
                           PATH=f"{pathlib.Path(fanq).parent}:{os.environ['PATH']}")
        try:
            for command, expected in pairs:
                got = banner if command == "fanqd &" else run(command, environment)
                if normal(got) != normal(expected):
                    failures += 1
                    print(f"$ {command}\nshould print\n{expected}and prints\n{got}")
        finally:
            broker.send_signal(signal.SIGTERM)
            broker.wait(20)
    return failures != 0


sys.exit(main(*sys.argv[1:]))

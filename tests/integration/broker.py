"""A real fanqd on a free port, and what the operating system knows about it."""
import ctypes
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

FANQD = os.environ.get("FANQD", "fanqd")
SANITIZED = os.environ.get("FANQD_SANITIZED") == "1"  # memory figures mean nothing then


def environment():
    """Ours without what would configure the broker or the tests."""
    return {name: value for name, value in os.environ.items() if not name.startswith("FANQD")}


def wait_until(condition, seconds=20):
    """Waits for something that has no event to wait for. Gives whether it came."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.005)
    return True


class Broker:
    def __init__(self, *flags, env=None, before=None):
        """before: called in the new process, just before it becomes fanqd."""
        self.directory = tempfile.mkdtemp(prefix="fanq-test-")
        self.port_file = os.path.join(self.directory, "port")
        self.unix = os.path.join(self.directory, "socket")
        self.log = open(os.path.join(self.directory, "log"), "w+b")
        self.process = subprocess.Popen(
            [FANQD, *([] if "--dir" in flags else ["--memory"]), "--port", "0", "--port-file", self.port_file,
             "--unix", self.unix, *flags],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=self.log, env={**environment(), **(env or {})},
            preexec_fn=before)
        if not wait_until(lambda: os.path.exists(self.port_file) or self.process.poll() is not None):
            raise RuntimeError("fanqd does not start: " + self.log_text())
        if self.process.poll() is not None:
            raise RuntimeError("fanqd ended: " + self.log_text())
        with open(self.port_file) as file:
            self.port = int(file.read())

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if self.process.poll() is None:
            self.stop()
        text = self.log_text()
        self.log.close()
        shutil.rmtree(self.directory)
        if kind is not None:
            sys.stderr.write("fanqd said:\n" + text)
        elif self.process.returncode != 0 and not getattr(self, "failure_expected", False):
            raise AssertionError("fanqd ended with %d:\n%s" % (self.process.returncode, text))

    def log_text(self):
        self.log.flush()
        with open(self.log.name, errors="replace") as file:
            return file.read()

    def signal(self, number):
        self.process.send_signal(number)

    def wait(self, seconds=20):
        return self.process.wait(seconds)

    def stop(self):
        self.signal(signal.SIGTERM)
        return self.wait()

    def rss_bytes(self):
        with open("/proc/%d/statm" % self.process.pid) as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")

    def peak_bytes(self):
        with open("/proc/%d/status" % self.process.pid) as file:
            return next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmHWM"))

    def cpu_seconds(self):
        with open("/proc/%d/stat" % self.process.pid) as file:
            fields = file.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def descriptors(self):
        return len(os.listdir("/proc/%d/fd" % self.process.pid))


def bound_by_permissions():
    """In a new process: the permissions of files bind it, even as root."""
    pr_capbset_drop, dac_override, dac_read_search = 24, 1, 2
    for capability in dac_override, dac_read_search:
        ctypes.CDLL(None).prctl(pr_capbset_drop, capability, 0, 0, 0)


def run(*flags, env=None, before=None):
    """A fanqd that is expected to end by itself: its exit code, standard output and standard error."""
    with tempfile.TemporaryDirectory(prefix="fanq-test-") as state:  # where it may leave what nobody asked for
        done = subprocess.run([FANQD, *flags], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20,
                              env={**environment(), "STATE_DIRECTORY": state, **(env or {})}, preexec_fn=before)
    return done.returncode, done.stdout, done.stderr


def main():
    unittest.main(verbosity=2)

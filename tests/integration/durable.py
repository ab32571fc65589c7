"""A broker with a directory, ended and started again; and the bytes of its log."""
import os
import shutil
import signal
import struct
import tempfile
import unittest

import broker
from broker import Broker
from wire import *

MIB = 1 << 20
VISIBLE, IN_FLIGHT, DELAYED, CREATED = 5, 6, 7, 9  # fields of a QUEUE reply


def settle_ranges(delivery):
    return [n for s in delivery[5] for n in (s[0], s[2], len(s[6]))]


def records(delivery):
    return [r for s in delivery[5] for r in s[6]]


class DurableClient(Client):
    """Checks that what it asks for is done."""

    def make(self, *queues, attributes=None):
        for queue in queues:
            reply = self.ask(QUEUE_CREATE, queue, attributes or {})
            assert reply[0] == R_QUEUE, reply

    def put(self, queue, *bodies):
        reply = self.ask(SEND, queue, 0, [record(body) for body in bodies])
        assert reply[0] == R_OK_RANGE, reply

    def publish(self, topic, *bodies):
        reply = self.ask(PUBLISH, topic, 0, [record(body) for body in bodies])
        assert reply[0] == R_OK_RANGE, reply

    def get(self, queue, count=1000, wait_ms=0, visibility_ms=None):
        """Gives a DELIVER."""
        reply = self.ask(RECEIVE, [queue], count, MIB, wait_ms, visibility_ms, 0)
        assert reply[0] == R_DELIVER, reply
        return reply

    def delete(self, delivery):
        if delivery[5]:
            reply = self.ask(ACK, delivery[2], delivery[3], settle_ranges(delivery))
            assert reply[0] == R_OK_RANGE, reply

    def take_all(self, queue):
        """Receives and deletes until nothing comes; gives the records."""
        taken = []
        while True:
            delivery = self.get(queue)
            if not delivery[5]:
                return taken
            taken += records(delivery)
            self.delete(delivery)

    def info(self, queue):
        return self.ask(QUEUE_GET, queue)


class Durable(unittest.TestCase):
    flags = ()

    def setUp(self):
        self.new_directory()
        self.broker = None

    def new_directory(self):
        self.data = tempfile.mkdtemp(prefix="fanq-test-")
        self.addCleanup(shutil.rmtree, self.data, True)

    def start(self, *flags, env=None):
        self.broker = b = Broker("--dir", self.data, *self.flags, *flags, env=env)
        self.addCleanup(self.put_away, b)
        return self.connect()

    def connect(self, timeout=30):
        client = DurableClient(self.broker.port, timeout=timeout)
        self.addCleanup(client.close)
        return client

    @staticmethod
    def put_away(b):
        if not b.log.closed:
            b.__exit__(None)

    def end(self, clean=False):
        """Stops the broker, or kills it."""
        if clean:
            self.assertEqual(self.broker.stop(), 0)
            self.assertNotIn("the disk is slow", self.broker.log_text())
        else:
            self.broker.failure_expected = True
            self.broker.signal(signal.SIGKILL)
            self.broker.wait()
        text = self.broker.log_text()
        self.broker.__exit__(None)
        return text

    def again(self, clean=False, *flags, env=None):
        self.end(clean)
        return self.start(*flags, env=env)

    def refused(self, *flags):
        """A start that must fail: gives what it says."""
        code, out, text = broker.run("--port", "0", "--dir", self.data, *flags)
        self.assertEqual((code, out), (1, ""), text)
        return text

    def check(self):
        """--check: its exit code, and all it says."""
        code, out, text = broker.run("--check", self.data)
        return code, out + text

    # ---- files ----

    def path(self, name):
        return os.path.join(self.data, name)

    def segments(self):
        return sorted(name for name in os.listdir(self.data) if name.startswith("log-") and not name.endswith(".index"))

    def commits(self, name):
        """(offset, bytes, block_count) of each commit of a segment."""
        with open(self.path(name), "rb") as file:
            data = file.read()
        at, found = 0, []
        while data[at:at + 4] == b"FNCQ":
            length, blocks = struct.unpack_from("<II", data, at + 64)
            found.append((at, length, blocks))
            at += (length + 63) // 64 * 64
        return found

    def find(self, body):
        """The segment and the offset in it where a message's body lies."""
        for name in self.segments():
            with open(self.path(name), "rb") as file:
                at = file.read().find(body)
            if at >= 0:
                return name, at
        raise AssertionError("it is in no segment")

    def flip(self, name, offset):
        with open(self.path(name), "r+b") as file:
            file.seek(offset)
            byte = file.read(1)[0]
            file.seek(offset)
            file.write(bytes([byte ^ 1]))

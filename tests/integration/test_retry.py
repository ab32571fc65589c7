"""Publishes of the C client while its connection is cut in the middle of frames and the broker is killed: every message
that it sends is there once and in order."""
import os
import random
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import unittest

import broker
import wire

PUBLISHER = os.environ["RETRY_PUBLISHER"]
COMMAND = os.environ.get("FANQ")
TO_NOWHERE_EVERY = 64


class Proxy:
    """Between a client and a broker: ends each connection after a number of bytes, the one or the other way."""

    def __init__(self, seed, bytes_max):
        self.random = random.Random(seed)
        self.bytes_max = bytes_max
        self.port = None  # of the broker
        self.cuts = 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = "fanq://127.0.0.1:%d" % self.listener.getsockname()[1]
        self.calm = False  # nothing is cut any more
        self.ended = False
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        while not self.ended:
            if not select.select([self.listener], [], [], 0.05)[0]:
                continue
            client = self.listener.accept()[0]
            try:
                with client, socket.create_connection(("127.0.0.1", self.port)) as server:
                    self.pump(client, server)
            except OSError:
                pass  # the broker is not there, or the client has gone
            self.cuts += 1

    def pump(self, client, server):
        other = {client: server, server: client}
        left = {client: self.random.randrange(self.bytes_max), server: self.random.randrange(self.bytes_max // 20)}
        while not self.ended:
            for end in select.select([client, server], [], [], 0.05)[0]:
                data = end.recv(65536)
                if not data:
                    return
                if not self.calm:
                    data = data[:left[end]]
                    left[end] -= len(data)
                other[end].sendall(data)
                if not self.calm and left[end] == 0:
                    return

    def close(self):
        self.ended = True
        self.thread.join()
        self.listener.close()


def differences(numbers, expected):
    seen = set(numbers)
    twice = len(numbers) - len(seen)
    lost = len(set(expected) - seen)
    return "%d twice, %d lost, %s" % (twice, lost, "in order" if numbers == sorted(numbers) else "in disorder")


def numbers_in(address, queue):
    numbers = []
    with wire.Client(address) as client:
        while True:
            reply = client.ask(wire.RECEIVE, [queue], 10000, 1 << 18, 0, None, 1)
            if not reply[5]:
                return numbers
            for piece in reply[5]:
                numbers += [int(record[1:11]) for record in piece[6]]


class Retry(unittest.TestCase):
    def publish(self, proxy, count, meanwhile=None):
        publisher = subprocess.Popen([PUBLISHER, proxy.url, "jobs", str(count)], stdout=subprocess.PIPE, text=True)
        try:
            end = time.monotonic() + 100
            while publisher.poll() is None and time.monotonic() < end:
                if meanwhile is None:
                    time.sleep(0.01)
                else:
                    meanwhile()
            proxy.calm = True
            said = publisher.communicate(timeout=60)[0]
        finally:
            publisher.kill()
            publisher.wait()
        refused = (count + TO_NOWHERE_EVERY - 1) // TO_NOWHERE_EVERY
        self.assertEqual(said, "applied %d refused %d open 0\n" % (count - refused, refused))
        return [n for n in range(count) if n % TO_NOWHERE_EVERY != 0]

    def cut(self, count, *flags):
        with broker.Broker(*flags) as b:
            proxy = Proxy(1, 40000)
            proxy.port = b.port
            try:
                expected = self.publish(proxy, count)
            finally:
                proxy.close()
            self.assertGreater(proxy.cuts, 20)
            numbers = numbers_in(b.port, "jobs")
            self.assertTrue(numbers == expected, differences(numbers, expected))

    def test_connections_are_cut_and_nothing_is_kept(self):
        self.cut(20000)

    def test_connections_are_cut(self):
        directory = tempfile.mkdtemp(prefix="fanq-test-")
        try:
            self.cut(20000, "--dir", directory, "--auto-create", "on")
        finally:
            shutil.rmtree(directory)

    @unittest.skipIf(COMMAND is None, "the command is not built")
    def test_lines_of_the_command(self):
        """fanq send --line, as a service's log is piped through it."""
        with broker.Broker() as b:
            proxy = Proxy(3, 8000)
            proxy.port = b.port
            command = subprocess.Popen([COMMAND, "--url", proxy.url, "send", "--line", "jobs"], stdin=subprocess.PIPE,
                                       stderr=subprocess.PIPE, text=True)
            try:
                for n in range(3000):
                    command.stdin.write("%010d\n" % n)
                    command.stdin.flush()
                    time.sleep(0.0005)
                proxy.calm = True
                said = command.communicate(timeout=60)[1]
            finally:
                command.kill()
                command.wait()
                proxy.close()
            self.assertEqual(command.returncode, 0, said)
            self.assertGreater(proxy.cuts, 5)
            numbers = numbers_in(b.port, "jobs")
            self.assertTrue(numbers == list(range(3000)), differences(numbers, range(3000)))

    def test_the_broker_is_killed(self):
        directory = tempfile.mkdtemp(prefix="fanq-test-")
        flags = ["--dir", directory, "--auto-create", "on"]
        proxy = Proxy(2, 400000)
        brokers = []

        def start():
            b = broker.Broker(*flags)
            b.failure_expected = True
            brokers.append(b)
            proxy.port = b.port

        def kill_and_start():
            time.sleep(0.2)
            brokers[-1].signal(signal.SIGKILL)
            brokers[-1].wait()
            start()

        try:
            start()
            with wire.Client(brokers[-1].port) as client:
                client.ask(wire.QUEUE_CREATE, "jobs", {})
            expected = self.publish(proxy, 60000, kill_and_start)
            proxy.close()
            self.assertGreater(len(brokers), 3)
            numbers = numbers_in(brokers[-1].port, "jobs")
            self.assertTrue(numbers == expected, differences(numbers, expected))
        finally:
            proxy.close()
            for b in brokers:
                b.__exit__(None)
            shutil.rmtree(directory)


if __name__ == "__main__":
    broker.main()

"""Peers that do not read what they are told: they get all of it later, or are closed, and nobody else waits for them."""
import hashlib
import os
import random
import threading
import time
import unittest

import broker
from broker import Broker
from wire import *

MIB = 1 << 20


def push_all(c, target, kind=0, mode=0):
    """Starts a push with more credit than will ever be used."""
    c.start(PUSH, kind, target, mode, 1 << 40, 1 << 50, None)


def bodies(delivery):
    return [r[1:] for s in delivery[5] for r in s[6]]


class Slow(unittest.TestCase):
    flags = ()

    def setUp(self):
        self.broker = Broker(*self.flags)
        self.addCleanup(self.broker.__exit__, None)


class Waits(Slow):
    def test_short_waits_end(self):
        """Nothing but the time itself ends them: a broker that sleeps too long stays asleep."""
        with Client(self.broker.port, timeout=5) as c:
            c.ask(QUEUE_CREATE, "empty", {})
            for wait_ms in [1] * 500 + [2] * 200 + [3] * 100:
                self.assertEqual(c.ask(RECEIVE, ["empty"], 1, MIB, wait_ms, None, 1)[5], [])


class LateReaders(Slow):
    def check_late_reader(self, address, pause, rng):
        """A consumer with a small socket that stops now and then gets every byte, in order."""
        sent = [rng.randbytes(int(2 ** rng.uniform(0, 17))) for _ in range(1500)]
        with Client(address, receive_buffer=16384) as slow, Client(address) as c:
            push_all(slow, "late")
            self.assertEqual(slow.read()[0], R_OK)
            for start in range(0, len(sent), 50):
                self.assertEqual(c.ask(SEND, "late", 0, [record(b) for b in sent[start:start + 50]])[0], R_OK_RANGE)
            got = []
            while len(got) < len(sent):
                if rng.random() < 0.02:
                    time.sleep(pause)
                got += bodies(slow.read())
                if rng.random() < 0.2:  # answers between deliveries
                    slow.start(PING)
                    while (reply := slow.read())[0] != R_OK:
                        got += bodies(reply)
            self.assertEqual([hashlib.sha1(b).digest() for b in got], [hashlib.sha1(b).digest() for b in sent])
            self.assertTrue(broker.wait_until(lambda: c.stats()["output_held_bytes"] == 0), c.stats())

    def test_short_pauses_over_tcp(self):
        self.check_late_reader(self.broker.port, 0.01, random.Random(1))

    def test_long_pauses_over_tcp(self):
        self.check_late_reader(self.broker.port, 0.35, random.Random(2))

    def test_long_pauses_over_unix(self):
        self.check_late_reader(self.broker.unix, 0.35, random.Random(3))

    def test_long_polls_with_acks(self):
        rng = random.Random(4)
        with Client(self.broker.port, receive_buffer=8192) as slow, Client(self.broker.port) as c:
            sent = [rng.randbytes(rng.randrange(1, 100000)) for _ in range(300)]
            for b in sent:
                c.start(SEND, "polled", 0, [record(b)])
            got = []
            while len(got) < len(sent):
                slow.start(RECEIVE, ["polled"], 20, 4 * MIB, 5000, None, 0)
                if rng.random() < 0.1:
                    time.sleep(0.3)
                d = slow.read()
                got += bodies(d)
                ranges = [n for s in d[5] for n in (s[0], s[2], len(s[6]))]
                self.assertEqual(slow.ask(ACK, d[2], d[3], ranges)[0], R_OK_RANGE)
            self.assertEqual(got, sent)


class NeverReaders(Slow):
    flags = ("--memory-bytes-max", "48M", "--ephemeral-backlog-bytes-max", "1M")

    def test_dead_subscriber_costs_the_others_nothing(self):
        with Client(self.broker.port, receive_buffer=4096) as dead, Client(self.broker.port) as alive, \
                Client(self.broker.port) as c:
            push_all(dead, "topic", kind=1)
            push_all(alive, "topic", kind=1)
            self.assertEqual(alive.read()[0], R_OK)
            self.assertTrue(broker.wait_until(lambda: c.stats()["waiters"] == 2))
            body = os.urandom(64 * 1024)
            for i in range(4000):  # 250 MiB through 48 MiB of memory
                reply = c.ask(PUBLISH, "topic", 0, [record(body)])
                self.assertEqual(reply[0], R_OK_RANGE, (i, reply))
                self.assertEqual(bodies(alive.read()), [body])
            stats = c.stats()
            self.assertEqual(stats["connections"], 3)
            self.assertLess(stats["memory_held_bytes"], 48 * MIB)
            self.assertLess(stats["output_held_bytes"], 2 * MIB)

    def test_many_dead_subscribers_pin_nothing_for_long(self):
        dead = [Client(self.broker.unix) for _ in range(100)]
        with Client(self.broker.port) as c:
            for d in dead:
                push_all(d, "topic", kind=1)
            self.assertTrue(broker.wait_until(lambda: c.stats()["waiters"] == 100))
            body = os.urandom(64 * 1024)
            for _ in range(600):
                self.assertEqual(c.ask(PUBLISH, "topic", 0, [record(body)])[0], R_OK_RANGE)
            self.assertTrue(broker.wait_until(lambda: c.stats()["memory_held_bytes"] < 16 * MIB), c.stats())
            for d in dead:
                d.close()
            self.assertTrue(broker.wait_until(lambda: c.stats()["output_held_bytes"] == 0), c.stats())
            self.assertEqual(c.stats()["connections"], 1)

    def test_cpu_rests_while_all_are_stalled(self):
        dead = [Client(self.broker.unix) for _ in range(20)]
        with Client(self.broker.port) as c:
            for d in dead:
                push_all(d, "topic", kind=1)
            self.assertTrue(broker.wait_until(lambda: c.stats()["waiters"] == 20))
            for _ in range(100):
                c.ask(PUBLISH, "topic", 0, [record(bytes(64 * 1024))])
            time.sleep(0.6)
            before = self.broker.cpu_seconds()
            time.sleep(1)
            self.assertLess(self.broker.cpu_seconds() - before, 0.1)
        for d in dead:
            d.close()


class Flooders(Slow):
    flags = ("--output-bytes-max", "256k")

    def flood(self, data, seconds=10):
        """Sends requests and never reads. Gives whether the broker closed the connection."""
        with Client(self.broker.port, receive_buffer=4096) as c:
            end = time.monotonic() + seconds
            try:
                while time.monotonic() < end:
                    c.send(data)
            except ConnectionError:
                return True
        return False

    def check_flood(self, data):
        worst = 0
        closed = []
        thread = threading.Thread(target=lambda: closed.append(self.flood(data)))
        with Client(self.broker.port) as c:
            thread.start()
            while thread.is_alive():
                start = time.monotonic()
                self.assertLess(c.stats()["output_held_bytes"], 4 * MIB)
                worst = max(worst, time.monotonic() - start)
            thread.join()
            self.assertEqual(closed, [True])
            self.assertLess(worst, 2)
            self.assertTrue(broker.wait_until(lambda: c.stats()["connections"] == 1))
            self.assertEqual(c.stats()["output_held_bytes"], 0)

    def test_pings(self):
        self.check_flood(frame(PING, 1) * 10000)

    def test_stats(self):
        self.check_flood(frame(STATS, 1) * 1000)

    def test_peeks(self):
        with Client(self.broker.port) as c:
            for _ in range(20):
                c.ask(SEND, "q", 0, [record(bytes(100000))])
        self.check_flood(frame(PEEK, 1, "q", 100, 4 * MIB, 7, None) * 500)


class LongAnswers(Slow):
    """One answer may be longer than what a connection may leave unread: who reads gets it."""
    flags = ("--output-bytes-max", "64k", "--message-bytes-max", "24M", "--frame-bytes-max", "32M")

    def fill(self, *lengths):
        bodies = [os.urandom(length) for length in lengths]
        with Client(self.broker.port) as c:
            for body in bodies:
                self.assertEqual(c.ask(SEND, "q", 0, [record(body)])[0], R_OK_RANGE)
        return bodies

    def check_peeks(self, c, bodies):
        at, seen, answers = None, [], 0
        while answers == 0 or at is not None:
            reply = c.ask(PEEK, "q", 100, 4 * MIB, 7, at)
            self.assertEqual(reply[0], R_PEEKED)
            at, answers = reply[2], answers + 1
            seen += [body for s in reply[3] for body in s[6]]
        self.assertEqual(seen, [record(body) for body in bodies])
        return answers

    def test_peeks_of_long_messages(self):
        bodies = self.fill(20 * MIB, 900000, 1 << 20, 3)
        for receive_buffer in None, 4096:  # nothing else goes on: no other event brings the rest of an answer
            with Client(self.broker.port, receive_buffer=receive_buffer) as c:
                self.assertGreaterEqual(self.check_peeks(c, bodies), 3)

    def test_peeks_of_many_messages(self):
        bodies = self.fill(*[1000 + i for i in range(2000)])
        with Client(self.broker.port, receive_buffer=4096) as c:
            self.assertGreaterEqual(self.check_peeks(c, bodies), 8)

    def test_a_long_delivery(self):
        """Nobody else is there, whose requests would move it on."""
        bodies = self.fill(20 * MIB, 20 * MIB)
        with Client(self.broker.port) as c:
            for body in bodies:
                reply = c.ask(RECEIVE, ["q"], 1, 1, 0, None, 0)
                self.assertEqual(reply[5][0][6], [record(body)])

    def test_more_than_one_that_is_not_read(self):
        self.fill(20 * MIB)
        with Client(self.broker.port, receive_buffer=4096) as c:
            for _ in range(2):
                c.start(PEEK, "q", 1, 1, 7, None)
            self.assertTrue(broker.wait_until(lambda: "does not read its answers" in self.broker.log_text()))


class TotalLimit(Slow):
    flags = ("--output-bytes-total-max", "4M")

    def test_longest_stalled_is_closed_first(self):
        with Client(self.broker.port) as c:
            for _ in range(60):
                c.ask(SEND, "q", 0, [record(bytes(MIB - 100))])
            stalled = []
            for _ in range(12):
                d = Client(self.broker.unix)
                for _ in range(4):
                    d.start(RECEIVE, ["q"], 1, 3 * MIB, 0, None, 0)
                stalled.append(d)
                time.sleep(0.05)
            self.assertTrue(broker.wait_until(lambda: c.stats()["connections"] < 13), c.stats())
            self.assertTrue(broker.wait_until(lambda: c.stats()["output_held_bytes"] <= 4 * MIB), c.stats())
            for _ in range(4):
                self.assertEqual(bodies(stalled[-1].read()), [bytes(MIB - 100)])
            self.assertLess(len(stalled[0].ended()), 4)
            for d in stalled:
                d.close()


class ManyStalled(Slow):
    flags = ("--output-bytes-total-max", "4M")

    @unittest.skipIf(broker.SANITIZED, "the sanitizer's memory is not the broker's")
    def test_what_many_have_not_read_is_not_copied_at_once(self):
        """They stall together, and all pin messages: the limit on copies holds while they are made."""
        with Client(self.broker.port) as c:
            for _ in range(100):
                c.ask(SEND, "q", 0, [record(os.urandom(MIB - 100))])
            stalled = [Client(self.broker.unix) for _ in range(50)]
            before = self.broker.rss_bytes()
            for d in stalled:
                d.send(frame(RECEIVE, 1, ["q"], 1, 3 * MIB, 0, None, 0) * 2)
            self.assertTrue(broker.wait_until(lambda: c.stats()["connections"] < 10), c.stats())
            self.assertTrue(broker.wait_until(lambda: c.stats()["output_held_bytes"] <= 4 * MIB), c.stats())
            self.assertLess(self.broker.peak_bytes(), before + 14 * MIB)
            for d in stalled:
                d.close()


class Fairness(Slow):
    def test_light_client_beside_heavy_publishers(self):
        """Publishers that never wait for an answer fill every turn; a ping still gets through quickly."""
        stop = threading.Event()
        data = frame(PUBLISH, 1, "nobody", 0, [record(bytes(900))] * 1000)

        def publish():
            with Client(self.broker.unix) as c:
                c.socket.settimeout(0.5)
                while not stop.is_set():
                    try:
                        c.send(data)
                        c.socket.recv(1 << 16)
                    except TimeoutError:
                        pass
        threads = [threading.Thread(target=publish) for _ in range(6)]
        for t in threads:
            t.start()
        times = []
        with Client(self.broker.port) as c:
            for _ in range(100):
                start = time.monotonic()
                c.ask(PING)
                times.append(time.monotonic() - start)
        stop.set()
        for t in threads:
            t.join()
        times.sort()
        self.assertLess(times[50], 0.25)


if __name__ == "__main__":
    broker.main()

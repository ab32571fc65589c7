"""Requests made to be as dear as they can be: what one of them costs the loop is bounded, whatever is in the queues."""
import struct
import unittest

import broker
from broker import Broker
from wire import *

E_INVALID = 1
SECONDS = 0.15 * (20 if broker.SANITIZED else 1)  # of processor time, far above what is needed, far below what it was


def short(value):
    """The shortest msgpack of the values used here, for floods."""
    if isinstance(value, int):
        return bytes([value]) if value < 128 else b"\xcf" + struct.pack(">Q", value)
    if isinstance(value, str):
        return bytes([0xA0 + len(value)]) + value.encode()
    if isinstance(value, bytes):
        return pack(value)
    return bytes([0x90 + len(value)]) + b"".join(map(short, value))


def request(*fields):
    payload = short(list(fields))
    return struct.pack(">I", len(payload)) + payload


class WorstCases(unittest.TestCase):
    def setUp(self):
        self.broker = Broker()
        self.addCleanup(self.broker.__exit__, None)
        self.client = Client(self.broker.unix, timeout=60)
        self.addCleanup(self.client.close)

    def flood(self, requests, answers_each):
        """Sends requests, reads all answers; gives them."""
        replies = []
        while len(requests) > 0:
            self.client.send(b"".join(requests[:1000]))
            replies += [self.client.read() for _ in range(answers_each * len(requests[:1000]))]
            requests = requests[1000:]
        self.assertTrue(all(r[0] != R_ERROR for r in replies))
        return replies

    def cheap(self, op, *fields):
        """Asks, and sees to it that the answer was not dear."""
        before = self.broker.cpu_seconds()
        reply = self.client.ask(op, *fields)
        self.assertLess(self.broker.cpu_seconds() - before, SECONDS)
        return reply

    def receive_singly(self, count):
        """Every message is received alone, so each is a run of its own. Gives the deliveries."""
        for _ in range(count // 10000):
            self.client.ask(SEND, "q", 0, [record(b"")] * 10000)
        return self.flood([request(RECEIVE, 1, ["q"], 1, 0, 0, 3600000, 0)] * count, 1)

    def test_nack_of_everything_many_times_over(self):
        """Runs that others hold are passed over, and 4096 ranges could each pass all of them."""
        held = self.receive_singly(20000)
        for op, mine in (NACK, held[0]), (EXTEND, held[1]):
            queue, batch, of = mine[2], mine[3], mine[5][0]
            reply = self.cheap(op, queue, batch, [of[0], 0, 1 << 40] * 4096, 1000)
            self.assertEqual((reply[0], reply[2]), (R_ERROR, E_INVALID))
            reply = self.cheap(op, queue, batch, [of[0], 0, 65535, of[0], 0, 2], 1000)
            self.assertEqual((reply[0], reply[2]), (R_ERROR, E_INVALID))
            reply = self.cheap(op, queue, batch, [of[0], 0, 65536], 1000)
            self.assertEqual(reply[::2], [R_CHANGED, 1])
        everything = [of[0], 0, 1 << 40] * 4096
        self.assertEqual(self.cheap(ACK, held[0][2], held[0][3], everything)[0], R_OK_RANGE)
        self.assertEqual(self.client.ask(QUEUE_GET, "q")[5:8], [0, 0, 0])

    def test_all_that_is_held_singly_comes_back_and_goes(self):
        held = self.receive_singly(30000)
        for what in (PEEK, "q", 100, 1000, 4, None), (QUEUE_GET, "q"), (PURGE, "q"):
            self.cheap(*what)
        self.assertEqual(len(held), 30000)

    def test_subscription_that_came_and_went(self):
        """Each time leaves a gap in what the queue takes of the topic."""
        gaps = 60000
        for queue in ("q", "other"):
            self.client.ask(QUEUE_CREATE, queue, {})
        self.client.ask(TOPIC_CREATE, "t")
        self.client.ask(SUBSCRIBE, "t", "other")
        publish = request(PUBLISH, 1, "t", 1, [record(b"")])
        self.flood([request(SUBSCRIBE, 1, "t", "q") + publish + request(UNSUBSCRIBE, 1, "t", "q") + publish] * gaps, 4)
        self.assertEqual(self.cheap(QUEUE_GET, "q")[5], gaps)
        got, before = 0, self.broker.cpu_seconds()
        while got < gaps:
            got += sum(len(s[6]) for s in self.client.ask(RECEIVE, ["q"], gaps, 1 << 20, 0, None, 1)[5])
        self.assertEqual(got, gaps)
        self.assertLess(self.broker.cpu_seconds() - before, SECONDS)

    def test_queue_of_many_topics(self):
        """Which of them has the oldest message is not asked of all for each message."""
        topics = 20000
        self.client.ask(QUEUE_CREATE, "q", {})
        self.flood([request(TOPIC_CREATE, 1, "t%d" % i) + request(SUBSCRIBE, 1, "t%d" % i, "q") for i in range(topics)], 2)
        order = [(i * 7919) % topics for i in range(topics)]
        self.flood([request(PUBLISH, 1, "t%d" % i, 1, [record(b"%d" % i)]) for i in order], 1)
        got, before = [], self.broker.cpu_seconds()
        while len(got) < topics:
            got += [int(r[1:]) for s in self.client.ask(RECEIVE, ["q"], topics, 1 << 20, 0, None, 1)[5] for r in s[6]]
        self.assertLess(self.broker.cpu_seconds() - before, SECONDS)
        position = {topic: at for at, topic in enumerate(order)}
        # Of one turn the topics' blocks are in any order, but turns follow each other.
        self.assertTrue(all(position[a] < position[b] + 2000 for a, b in zip(got, got[1:])))


class Waits(unittest.TestCase):
    def test_waits_of_all_connections_are_bounded(self):
        """Each is some memory for a request of a few bytes, so a bound a connection is not enough."""
        with Broker("--waits-max", "100") as b, Client(b.unix) as other, Client(b.unix) as c:
            with Client(b.unix) as greedy:
                for _ in range(6):
                    greedy.start(RECEIVE, ["q%d" % i for i in range(16)], 1, 100, 60000, None, 0)
                self.assertTrue(broker.wait_until(lambda: c.stats()["waiters"] == 6))
                self.assertEqual(c.ask(RECEIVE, ["a", "b", "c", "d", "e"], 1, 100, 0, None, 0)[::2][:2], [R_ERROR, E_LIMIT])
                for name in "abcd":
                    other.start(PUSH, 0, name, 0, 1, 100, None)
                    self.assertEqual(other.read()[0], R_OK)
                for refused in (PUSH, 0, "e", 0, 1, 100, None), (PUSH, 1, "t", 0, 1, 100, None), \
                        (RECEIVE, ["a"], 1, 100, 0, None, 0):
                    self.assertEqual(c.ask(*refused)[::2][:2], [R_ERROR, E_LIMIT])
                self.assertEqual(c.ask(SEND, "q0", 0, [record(b"x")])[0], R_OK_RANGE)
                self.assertEqual(greedy.read()[0], R_DELIVER)
            self.assertTrue(broker.wait_until(lambda: c.stats()["waiters"] == 4))
            self.assertEqual(c.ask(RECEIVE, ["a"], 1, 100, 0, None, 0)[0], R_DELIVER)


if __name__ == "__main__":
    broker.main()

"""What peers do that break the protocol, by mistake or on purpose: an answer or the end, and nobody else notices."""
import multiprocessing
import os
import random
import resource
import socket
import statistics
import struct
import time
import unittest

import broker
from broker import Broker
from wire import *


def error_of(replies):
    """The number of the one error that a connection ended with."""
    assert len(replies) == 1 and replies[0][0] == R_ERROR, replies
    return replies[0][2]


class Hostile(unittest.TestCase):
    flags = ()

    def setUp(self):
        self.broker = Broker(*self.flags)
        self.addCleanup(self.broker.__exit__, None)

    def talk(self, data, hello=False, end=False):
        """Sends data on a connection of its own; gives all the broker says until it closes."""
        with Client(self.broker.port, hello=hello) as c:
            try:
                c.send(data)
                if end:
                    c.socket.shutdown(socket.SHUT_WR)
            except ConnectionError:
                pass  # closed while we still sent
            return c.ended()

    def assert_serves(self):
        with Client(self.broker.port) as c:
            self.assertEqual(c.ask(PING)[0], R_OK)

    def assert_all_gone(self):
        with Client(self.broker.port) as c:
            self.assertTrue(broker.wait_until(lambda: c.stats()["connections"] == 1), c.stats())
            stats = c.stats()
            self.assertEqual((stats["input_held_bytes"], stats["output_held_bytes"], stats["waiters"]), (0, 0, 0))


class Greeting(Hostile):
    flags = ("--hello-ms-max", "200ms")

    def test_silence_is_told_hello_timeout(self):
        start = time.monotonic()
        self.assertEqual(error_of(self.talk(b"")), E_HELLO_TIMEOUT)
        self.assertGreater(time.monotonic() - start, 0.15)
        self.assert_all_gone()

    def test_half_a_hello_is_told_hello_timeout(self):
        self.assertEqual(error_of(self.talk(hello_frame()[:-1])), E_HELLO_TIMEOUT)

    def test_hello_byte_by_byte_is_as_good(self):
        with Client(self.broker.port, hello=False) as c:
            c.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for byte in hello_frame():
                c.send(bytes([byte]))
            self.assertEqual(c.read()[0], R_HELLO)

    def test_requests_behind_hello_in_one_packet_are_answered(self):
        with Client(self.broker.port, hello=False) as c:
            c.send(hello_frame() + b"".join(frame(PING, i) for i in range(1, 2000)))
            self.assertEqual(c.read()[0], R_HELLO)
            answered = 1
            while answered < 2000:
                reply = c.read()
                self.assertEqual((reply[0], reply[1]), (R_OK, answered))
                answered += 1

    def test_other_first_requests_are_told_hello_required(self):
        for op in list(range(2, 30)) + list(range(64, 80)):
            self.assertEqual(error_of(self.talk(frame(op, 1))), E_HELLO_REQUIRED, op)

    def test_other_protocols_are_told_hello_required(self):
        for text in (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
                     b"*1\r\n$4\r\nPING\r\n", b"\xff" * 10000, b"A" * 1000000):
            self.assertEqual(error_of(self.talk(text)), E_HELLO_REQUIRED, text[:10])

    def test_long_hello_is_told_hello_required(self):
        self.assertEqual(error_of(self.talk(frame(HELLO, 0, "fanq", 1, 1, "x" * 5000))), E_HELLO_REQUIRED)

    def test_no_common_version(self):
        self.assertEqual(error_of(self.talk(frame(HELLO, 0, "fanq", 2, 9, ""))), E_VERSION)
        self.assertEqual(error_of(self.talk(frame(HELLO, 0, "fanq", 7, 7, ""))), E_VERSION)

    def test_malformed_hello(self):
        for data in (frame(HELLO, 0, "kafka", 1, 1, ""), frame(HELLO, 0), frame(HELLO, 0, "fanq", 1, 1, 5),
                     frame(HELLO, 0, "fanq", 2, 1, ""), frame(HELLO, 0, "fanq", 1, 1, "x" * 1000)):
            self.assertEqual(self.talk(data)[0][0], R_ERROR, data)

    def test_garbage(self):
        rng = random.Random(1)
        for _ in range(300):
            replies = self.talk(rng.randbytes(rng.randrange(1, 200)), end=True)
            self.assertLessEqual(len(replies), 1)
            self.assertTrue(all(r[0] == R_ERROR for r in replies))
        self.assert_serves()
        self.assert_all_gone()


class Requests(Hostile):
    def test_second_hello_is_a_protocol_error(self):
        self.assertEqual(error_of(self.talk(hello_frame(), hello=True)), E_PROTOCOL)

    def test_too_long_a_frame_is_told_before_it_comes(self):
        for length in (8 * 1024 * 1024 + 1, 0xFFFFFFFF, 0x80000000):
            self.assertEqual(error_of(self.talk(struct.pack(">I", length) + b"\x93", hello=True)), E_FRAME_TOO_BIG)
        self.assert_all_gone()

    def test_too_short_a_frame(self):
        for length in (0, 1):
            self.assertEqual(error_of(self.talk(struct.pack(">I", length) + b"\x90" * length, hello=True)), E_PROTOCOL)

    def test_wrong_direction(self):
        for op in range(64, 78):
            with Client(self.broker.port) as c:
                c.send(frame(op, 5, 1, 2, 3))
                self.assertEqual(c.read()[0], R_ERROR)
        self.assert_serves()

    def test_unknown_operation_is_refused_and_the_connection_goes_on(self):
        with Client(self.broker.port) as c:
            self.assertEqual(c.ask(60)[::2][:2], [R_ERROR, E_UNSUPPORTED])
            self.assertEqual(c.ask(PING)[0], R_OK)

    def test_bad_record_is_refused_and_the_connection_goes_on(self):
        with Client(self.broker.port) as c:
            for bad in (b"\xc4\x02\0x", b"\xc6\0\0\0\0", b"\xc6\0\0\0\x02\xfex", b"\xa1x", b"\xc6\0\0\0\x03\x01\x80"):
                reply = c.ask(PUBLISH, "t", 0, [Packed(bad)])
                self.assertEqual(reply[0], R_ERROR, bad)
            self.assertEqual(c.ask(PING)[0], R_OK)

    def test_lying_counts_and_lengths(self):
        huge = (b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff", b"\xdb\xff\xff\xff\xff")
        for lie in huge:
            for fields in ((PUBLISH, "t", 0, Packed(lie)), (PUBLISH, "t", 0, [Packed(lie)]), (RECEIVE, Packed(lie)),
                           (ACK, 1, 1, Packed(lie)), (QUEUE_CREATE, "q", Packed(lie)), (QUEUE_CREATE, Packed(lie))):
                with Client(self.broker.port) as c:
                    c.send(frame(fields[0], 7, *fields[1:]))
                    self.assertEqual(c.read()[0], R_ERROR, (lie, fields))
            self.assertEqual(self.talk(struct.pack(">I", len(lie)) + lie, hello=True)[0][0], R_ERROR)
        self.assert_all_gone()

    def test_deep_nesting(self):
        with Client(self.broker.port) as c:
            c.send(frame(PING, 1, Packed(b"\x91" * 100000 + b"\xc0")))
            self.assertEqual(c.read()[0], R_ERROR)
        self.assert_serves()

    def test_half_frames_then_the_end(self):
        whole = frame(PUBLISH, 1, "t", 0, [record(b"x" * 100)])
        for cut in range(len(whole)):
            self.assertEqual(self.talk(whole[:cut], hello=True, end=True), [])
        with Client(self.broker.port) as c:
            self.assertEqual(c.stats()["published"], 0)
        self.assert_all_gone()

    def test_frames_byte_by_byte(self):
        with Client(self.broker.port) as c:
            c.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for byte in frame(SEND, 9, "q", 0, [record(b"abc")]):
                c.send(bytes([byte]))
            self.assertEqual(c.read(), [R_OK_RANGE, 9, 1])
            self.assertEqual(c.ask(RECEIVE, ["q"], 1, 100, 0, None, 0)[5][0][6], [record(b"abc")])

    def test_what_came_before_an_error_counts(self):
        whole = frame(SEND, 1, "q", 0, [record(b"kept")])
        self.talk(whole + b"\0\0\0\x02\xff\xff", hello=True)
        with Client(self.broker.port) as c:
            self.assertEqual(c.ask(RECEIVE, ["q"], 1, 100, 0, None, 0)[5][0][6], [record(b"kept")])

    def test_what_came_before_the_end_counts(self):
        with Client(self.broker.port) as c:
            c.send(frame(SEND, 1, "q", 0, [record(b"kept")]))
        with Client(self.broker.port) as c:
            self.assertEqual(c.ask(RECEIVE, ["q"], 1, 100, 5000, None, 0)[5][0][6], [record(b"kept")])

    def test_end_of_a_connection_ends_its_long_poll(self):
        with Client(self.broker.port) as gone:
            gone.start(RECEIVE, ["q"], 1, 100, 60000, None, 0)
            with Client(self.broker.port) as c:
                self.assertTrue(broker.wait_until(lambda: c.stats()["waiters"] == 1))
        with Client(self.broker.port) as c:
            self.assertTrue(broker.wait_until(lambda: c.stats()["waiters"] == 0))
            c.ask(SEND, "q", 0, [record(b"mine")])
            self.assertEqual(c.ask(RECEIVE, ["q"], 1, 100, 0, None, 0)[5][0][6], [record(b"mine")])

    def test_oversize_messages_are_named_and_the_others_go_on(self):
        big, good = record(bytes((1 << 20) + 1)), record(b"good")
        with Client(self.broker.port) as c:
            for flags in (0, 1):
                reply = c.ask(SEND, "q", flags, [big, good, big, good])
                self.assertEqual(reply[0], R_PUBLISHED)
                self.assertEqual(reply[5], 2)
                self.assertEqual(reply[7], [0, E_MESSAGE_TOO_BIG, 2, E_MESSAGE_TOO_BIG])
            reply = c.ask(SEND, "q", 0, [big])
            self.assertEqual((reply[0], reply[5], reply[7]), (R_PUBLISHED, 0, [0, E_MESSAGE_TOO_BIG]))
            self.assertEqual(c.ask(SEND, "b a d", 0, [big, good])[0], R_ERROR)
            slices = c.ask(RECEIVE, ["q"], 10, 1000, 0, None, 0)[5]
            self.assertEqual([r for s in slices for r in s[6]], [good] * 4)

    def test_largest_frame_goes_through(self):
        records = [record(os.urandom((1 << 20) - 1)) for _ in range(7)]
        with Client(self.broker.port) as c:
            self.assertEqual(c.ask(SEND, "q", 0, records)[0], R_OK_RANGE)
            got = []
            while len(got) < 7:
                got += [r for s in c.ask(RECEIVE, ["q"], 10, 1 << 30, 0, None, 1)[5] for r in s[6]]
            self.assertEqual(got, records)

    def test_bent_requests(self):
        """Valid requests with bytes changed: any answer will do, and the broker goes on."""
        rng = random.Random(2)
        valid = [frame(PING, 1), frame(PUBLISH, 2, "t", 1, [record(b"x")] * 3), frame(SEND, 3, "q", 0, [record(b"y")]),
                 frame(RECEIVE, 4, ["q", "p"], 10, 1000, 0, None, 0), frame(ACK, 5, 1, 1, [1, 0, 1]),
                 frame(NACK, 6, 1, 1, [1, 0, 1], 5), frame(PUSH, 7, 0, "q", 1, 10, 1000, None), frame(CREDIT, 8, 7, 1, 1),
                 frame(PUSH_STOP, 9, 7), frame(PEEK, 10, "q", 10, 1000, 7, None), frame(PURGE, 11, "q"),
                 frame(QUEUE_CREATE, 12, "q", {1: 5000}), frame(QUEUE_GET, 13, "q"), frame(QUEUE_DELETE, 14, "q"),
                 frame(QUEUE_LIST, 15, "", "", 10), frame(TOPIC_CREATE, 16, "t"), frame(SUBSCRIBE, 17, "t", "q"),
                 frame(UNSUBSCRIBE, 18, "t", "q"), frame(SUBSCRIPTION_LIST, 19, "t", "", 5), frame(STATS, 20)]
        for _ in range(1500):
            data = bytearray(b"".join(rng.choices(valid, k=rng.randrange(1, 12))))
            for _ in range(rng.randrange(4)):
                data[rng.randrange(len(data))] = rng.choice((0, 1, 0x7F, 0x80, 0xC0, 0xC6, 0xDD, 0xFF, rng.randrange(256)))
            with Client(self.broker.unix) as c:
                try:
                    c.send(bytes(data))
                    c.socket.shutdown(socket.SHUT_WR)
                except ConnectionError:
                    pass
                c.ended()
        self.assert_serves()
        self.assert_all_gone()


class Limits(Hostile):
    flags = ("--connections-max", "3")

    def test_connection_too_many_is_told_limit(self):
        held = [Client(self.broker.port) for _ in range(3)]
        for _ in range(50):
            self.assertEqual(error_of(self.talk(b"")), E_LIMIT)
        for c in held:
            self.assertEqual(c.ask(PING)[0], R_OK)
        held.pop().close()

        def free():
            with Client(self.broker.port, hello=False) as c:
                c.send(hello_frame())
                return c.read()[0] == R_HELLO
        self.assertTrue(broker.wait_until(free))
        for c in held:
            c.close()

    def test_flood_beyond_the_limit_is_refused_at_the_loops_pace(self):
        held = [Client(self.broker.port) for _ in range(3)]
        flood = []
        for _ in range(300):
            s = socket.create_connection(("127.0.0.1", self.broker.port), timeout=20)
            flood.append(s)
        for s in flood:
            self.assertGreater(len(s.recv(1000)), 0)
            s.close()
        for c in held:
            self.assertEqual(c.ask(PING)[0], R_OK)
            c.close()


class Descriptors(unittest.TestCase):
    def test_running_out_of_descriptors_is_survived(self):
        """Connections for which there is no descriptor are told so, like those beyond connections_max."""
        def few():
            resource.setrlimit(resource.RLIMIT_NOFILE, (42, 42))
        with Broker(before=few) as b, Client(b.port) as c:
            self.assertIn("raise ulimit -n", b.log_text())
            flood = [Client(b.port, hello=False) for _ in range(80)]
            for s in flood[20:]:
                self.assertEqual(error_of(s.ended()), E_LIMIT)
            before = b.cpu_seconds()
            time.sleep(1)
            self.assertLess(b.cpu_seconds() - before, 0.2)
            self.assertEqual(c.ask(PING)[0], R_OK)
            for s in flood:
                s.close()
            self.assertTrue(broker.wait_until(lambda: c.stats()["connections"] == 1))
            with Client(b.port) as other:
                self.assertEqual(other.ask(PING)[0], R_OK)


class Neighbours(Hostile):
    """What a good client feels while another connects, says one thing and goes, again and again."""

    @staticmethod
    def visitor(path, orders):
        """A process: for each order (data, seconds) it visits with data, and answers how often."""
        while (order := orders.recv()) is not None:
            data, end, visits = order[0], time.monotonic() + order[1], 0
            while time.monotonic() < end:
                with Client(path, hello=False) as c:
                    try:
                        c.send(data)
                        c.socket.recv(1000)
                    except ConnectionError:
                        pass
                visits += 1
            orders.send(visits)

    def median_beside(self, client, orders, data, seconds):
        """The median of the good client's requests, in microseconds, and how many visits there were."""
        times = []
        orders.send((data, seconds))
        while not orders.poll():
            start = time.perf_counter()
            client.ask(SEND, "good", 0, [record(b"x" * 100)])
            client.ask(RECEIVE, ["good"], 1, 1000, 0, None, 1)
            times.append((time.perf_counter() - start) * 1e6)
        return statistics.median(times), orders.recv()

    def test_attack_is_felt_no_more_than_good_company(self):
        good = hello_frame() + frame(SEND, 1, "other", 0, [record(b"x" * 100)]) + frame(RECEIVE, 2, ["other"], 1, 1000, 0, None, 1)
        bad = [os.urandom(300), hello_frame() + b"\0\0\0\5garbage", struct.pack(">I", 0x7FFFFFFF) + bytes(100),
               hello_frame() + frame(64, 1, 1, 1, 1), hello_frame() + frame(PUBLISH, 1, "t", 0, Packed(b"\xdd\xff\xff\xff\xff"))]
        ours, theirs = multiprocessing.Pipe()
        process = multiprocessing.Process(target=self.visitor, args=(self.broker.unix, theirs))
        process.start()
        ratios, calm_visits, attack_visits = [], 0, 0
        with Client(self.broker.port) as c:
            for data in bad * 3:
                calm, visits = self.median_beside(c, ours, good, 0.2)
                calm_visits += visits
                attacked, visits = self.median_beside(c, ours, data, 0.2)
                attack_visits += visits
                ratios.append(attacked / calm)
        self.assertGreater(attack_visits, calm_visits / 2)
        ours.send(None)
        process.join()
        print("median during attacks / beside a good client: " + " ".join("%.2f" % r for r in ratios))
        self.assertLess(statistics.median(ratios), 2)


if __name__ == "__main__":
    broker.main()

"""The client that was written from PROTOCOL.md, against the real broker.

    test_client.py FANQD          (or the environment variable FANQD)
"""

import os
import signal
import struct
import subprocess
import sys
import tempfile
import time
import unittest

import fanq_client as fanq
from fanq_client import Client, FanqError, record

# Error numbers: section 7.
INVALID, PROTOCOL, VERSION, UNSUPPORTED, HELLO_REQUIRED, FRAME_TOO_BIG, BAD_RECORD, MESSAGE_TOO_BIG = 1, 7, 8, 9, 10, 11, 12, 13
NAME_INVALID, QUEUE_NOT_FOUND, TOPIC_NOT_FOUND, EXISTS, SUBSCRIPTION_NOT_FOUND, PUSH_EXISTS = 14, 15, 16, 18, 22, 24

FANQD = os.environ.get("FANQD", "fanqd")


class Broker:
    """fanqd on a free port; ended by its process id."""

    def __init__(self):
        self.directory = tempfile.TemporaryDirectory()
        port_file = os.path.join(self.directory.name, "port")
        self.process = subprocess.Popen(
            [FANQD, "--memory", "--port", "0", "--port-file", port_file, "--auto-create", "off"], stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 20
        while not self.read(port_file).endswith("\n"):
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.process.kill()
                raise RuntimeError(f"{FANQD} does not listen")
            time.sleep(0.01)
        self.port = int(self.read(port_file))

    @staticmethod
    def read(path):
        try:
            with open(path, encoding="ascii") as file:
                return file.read()
        except FileNotFoundError:
            return ""

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(20)
        self.directory.cleanup()
        return code


class ConformanceTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.broker = Broker()

    @classmethod
    def tearDownClass(cls):
        code = cls.broker.stop()
        assert code == 0, f"fanqd ended with {code}"

    def setUp(self):
        self.client = Client(self.broker.port)
        self.queue = self.id().split(".")[-1]
        self.client.call(fanq.QUEUE_CREATE, self.queue, {})
        self.topic = "t_" + self.queue
        self.client.call(fanq.TOPIC_CREATE, self.topic)
        self.client.call(fanq.SUBSCRIBE, self.topic, self.queue)

    def tearDown(self):
        self.client.close()

    def refused(self, number, op, *fields):
        with self.assertRaises(FanqError) as refusal:
            self.client.call(op, *fields)
        self.assertEqual(refusal.exception.number, number)

    def connect(self):
        client = Client(self.broker.port)
        self.addCleanup(client.close)
        return client

    # -- hello --

    def test_hello_tells_about_the_broker(self):
        version, epoch, server, storage, frame_bytes_max, message_bytes_max, auto_create = self.client.hello[:7]
        self.assertEqual((version, storage, auto_create), (1, "memory", False))
        self.assertTrue(server.startswith("fanq"))
        self.assertGreater(epoch, 0)
        self.assertGreater(frame_bytes_max, message_bytes_max)

    # -- producers: section 6 --

    def connect_producer(self, producer, known):
        client = Client(self.broker.port, producer=producer)
        self.addCleanup(client.close)
        self.assertEqual(client.hello[7], known)
        return client

    def test_repeated_publish_is_applied_once(self):
        producer = os.urandom(16)
        client = self.connect_producer(producer, False)
        first = client.repeat(100, fanq.PUBLISH, self.topic, 1, [record(b"one")])
        self.assertEqual(first[0], fanq.R_PUBLISHED)
        client.close()
        client = self.connect_producer(producer, True)
        op, (stream, _, _, count, *_) = client.repeat(100, fanq.PUBLISH, self.topic, 1, [record(b"one")])
        self.assertEqual((op, stream, count), (fanq.R_PUBLISHED, 0, 1))
        self.assertEqual(client.repeat(100, fanq.PUBLISH, self.topic, 0, [record(b"one")]), (fanq.R_OK_RANGE, [1]))
        client.repeat(101, fanq.SEND, self.queue, 0, [record(b"two")])
        self.assertEqual([m.body for m in self.client.receive(self.queue).messages], [b"one", b"two"])

    def test_refused_publish_stays_refused_behind_an_applied_one(self):
        producer = os.urandom(16)
        client = self.connect_producer(producer, False)
        later = "later_" + self.queue
        for _ in range(2):
            with self.assertRaises(FanqError) as refusal:
                client.repeat(7, fanq.SEND, later, 0, [record(b"no")])
            self.assertEqual(refusal.exception.number, QUEUE_NOT_FOUND)
            client.repeat(8, fanq.SEND, self.queue, 0, [record(b"yes")])
            self.client.call(fanq.QUEUE_CREATE, later, {})
            client = self.connect_producer(producer, True)
        self.assertEqual(self.client.receive(later).messages, [])
        self.assertEqual(len(self.client.receive(self.queue).messages), 1)

    def test_newer_connection_of_a_producer_ends_the_older_one(self):
        producer = os.urandom(16)
        older = self.connect_producer(producer, False)
        newer = self.connect_producer(producer, True)
        with self.assertRaises(ConnectionError):
            older.read_reply()
        newer.repeat(1, fanq.SEND, self.queue, 0, [record(b"x")])
        self.assertEqual(len(newer.receive(self.queue).messages), 1)

    def test_producer_is_sixteen_bytes(self):
        self.expect_expelled(self.raw(fanq.pack([fanq.HELLO, 1, "fanq", 1, 1, "short", b"x"])), INVALID)

    def expect_expelled(self, client, number):
        op, request_id, code = client.read_reply()[:3]
        self.assertEqual((op, code), (fanq.R_ERROR, number))
        with self.assertRaises(ConnectionError):
            client.read_reply()
        return request_id

    def raw(self, payload):
        """A client that sent just this first frame."""
        client = Client.__new__(Client)
        client.socket = fanq.socket.create_connection(("127.0.0.1", self.broker.port), 20)
        client.reader = client.socket.makefile("rb")
        self.addCleanup(client.close)
        client.send_frame(payload)
        return client

    def test_hello_must_come_first(self):
        self.assertEqual(self.expect_expelled(self.raw(fanq.pack([fanq.PING, 3])), HELLO_REQUIRED), 3)

    def test_versions_must_meet(self):
        self.expect_expelled(self.raw(fanq.pack([fanq.HELLO, 1, "fanq", 1000, 1001, "future"])), VERSION)

    # -- publish, receive, ack --

    def test_publish_receive_ack(self):
        published = self.client.publish(self.topic, record(b"one"), record(b"two"), record(b""))
        self.assertEqual((published.count, published.subscription_count, published.refusals), (3, 1, []))
        self.assertEqual(published.epoch, self.client.epoch)
        batch = self.client.receive(self.queue)
        self.assertEqual([m.body for m in batch.messages], [b"one", b"two", b""])
        self.assertEqual([m.seq - published.first_seq for m in batch.messages], [0, 1, 2])
        for message in batch.messages:
            self.assertEqual((message.stream, message.epoch), (published.stream, published.epoch))
            self.assertEqual((message.deliveries, message.first_receive_ms), (1, 0))
            self.assertLess(abs(message.time_ms - time.time() * 1000), 60000)
        self.client.ack(batch, batch.messages[1:])
        self.client.ack(batch, batch.messages[:1])
        self.client.ack(batch)  # again: succeeds
        self.assertEqual(self.figures()["visible"] + self.figures()["in_flight"], 0)
        self.assertEqual(self.client.receive(self.queue).messages, [])

    def figures(self):
        names = "name queue_id attributes visible in_flight delayed oldest_age_ms created_ms consumers sent delivered deleted"
        return dict(zip(names.split(), self.client.call(fanq.QUEUE_GET, self.queue)))

    def test_properties_come_out_as_they_went_in(self):
        properties = {5: "a subject", 6: "00-trace-01", 7: {"n": ["Number", "42"], "b": ["Binary", b"\x00\xff"], "s": ["String.x", ""]}}
        self.client.send(self.queue, record(b"body", properties), record(b"plain"))
        messages = self.client.receive(self.queue, auto_delete=True).messages
        self.assertEqual([(m.body, m.properties) for m in messages], [(b"body", properties), (b"plain", {})])

    def test_pipelined_publishes_are_answered_each(self):
        sent = [self.client.request(fanq.PUBLISH, self.topic, 0, [record(b"%d" % i)]) for i in range(500)]
        for request_id in sent:
            self.assertEqual(self.client.wait(request_id)[0], fanq.R_OK_RANGE)
        self.assertEqual(self.client.waiting, {})
        batch = self.client.receive(self.queue, count=1000)
        self.assertEqual([m.body for m in batch.messages], [b"%d" % i for i in range(500)])

    def test_long_poll_wakes(self):
        other = self.connect()
        waiting = other.request(fanq.RECEIVE, [self.queue], 10, 1 << 18, 20000, None, 1)
        self.client.publish(self.topic, record(b"wake up"))
        start = time.monotonic()
        self.assertEqual(fanq.Batch(other.wait(waiting)[1]).messages[0].body, b"wake up")
        self.assertLess(time.monotonic() - start, 10)

    def test_long_poll_ends_empty(self):
        start = time.monotonic()
        batch = self.client.receive(self.queue, wait_ms=150)
        self.assertEqual((batch.messages, batch.number), ([], 0))
        self.assertGreaterEqual(time.monotonic() - start, 0.14)

    def test_one_of_several_queues_answers(self):
        self.client.call(fanq.QUEUE_CREATE, "second-" + self.queue, {})
        queue_id = self.client.call(fanq.QUEUE_GET, "second-" + self.queue)[1]
        self.client.send("second-" + self.queue, record(b"here"))
        batch = self.client.receive(self.queue, "second-" + self.queue, wait_ms=5000)
        self.assertEqual((batch.queue_id, batch.messages[0].body), (queue_id, b"here"))

    # -- nack, extend, visibility --

    def test_nack_gives_back(self):
        self.client.send(self.queue, record(b"a"), record(b"b"))
        batch = self.client.receive(self.queue)
        self.assertEqual(self.client.nack(batch, batch.messages[:1]), 1)
        again = self.client.receive(self.queue)
        self.assertEqual([(m.body, m.deliveries) for m in again.messages], [(b"a", 2)])
        self.assertGreater(again.messages[0].first_receive_ms, 0)
        self.assertEqual(self.client.nack(again, delay_ms=60000), 1)
        self.assertEqual(self.figures()["delayed"], 1)
        self.assertEqual(self.client.nack(again), 0)  # not held any more
        self.client.ack(batch)
        self.assertEqual(self.figures()["delayed"], 0)

    def test_what_is_not_acked_comes_again(self):
        self.client.send(self.queue, record(b"again"))
        self.client.receive(self.queue, visibility_ms=100)
        batch = self.client.receive(self.queue, wait_ms=20000)
        self.assertEqual([(m.body, m.deliveries) for m in batch.messages], [(b"again", 2)])
        self.assertEqual(self.client.extend(batch, 60000), 1)
        self.assertEqual(self.figures()["in_flight"], 1)
        self.assertEqual(self.client.extend(batch, 0), 1)
        self.assertEqual(self.figures()["visible"], 1)

    # -- push --

    def test_push_with_acks_and_credit(self):
        push = self.client.push(self.queue, ack=True, messages=2)
        self.client.send(self.queue, *[record(b"%d" % i) for i in range(5)])
        bodies = []
        while len(bodies) < 5:
            batch = self.client.next_pushed(push)
            self.assertGreater(batch.number, 0)
            bodies += [m.body for m in batch.messages]
            self.client.ack(batch)
            self.client.credit(push, len(batch.messages), 1000)
        self.assertEqual(bodies, [b"%d" % i for i in range(5)])
        self.refused(INVALID, fanq.PUSH_STOP, push + 1000)
        self.client.call(fanq.PUSH_STOP, push)
        self.assertEqual(self.figures()["consumers"], 0)

    def test_credit_is_a_limit(self):
        push = self.client.push(self.queue, ack=True, messages=2)
        self.client.send(self.queue, *[record(b"%d" % i) for i in range(5)])
        self.assertLessEqual(self.figures()["in_flight"], 2)
        self.client.call(fanq.PUSH_STOP, push)  # gives back what was not acknowledged
        self.assertEqual(self.figures()["visible"], 5)

    def test_push_of_a_topic(self):
        push = self.client.push(self.topic, topic=True)
        self.client.publish(self.topic, record(b"live"))
        batch = self.client.next_pushed(push)
        self.assertEqual(([m.body for m in batch.messages], batch.number, batch.dropped), ([b"live"], 0, 0))
        self.client.call(fanq.TOPIC_DELETE, self.topic)
        with self.assertRaises(FanqError) as end:
            self.client.next_pushed(push)
        self.assertEqual(end.exception.number, TOPIC_NOT_FOUND)

    def test_push_ids_are_unique(self):
        push = self.client.push(self.queue)
        self.client.send_frame(fanq.pack([fanq.PUSH, push, 0, self.queue, 0, 1, 1, None]))
        with self.assertRaises(FanqError) as refusal:
            self.client.wait(push)
        self.assertEqual(refusal.exception.number, PUSH_EXISTS)

    # -- the rest --

    def test_peek_shows_and_takes_nothing(self):
        self.client.send(self.queue, *[record(b"%d" % i) for i in range(3)])
        self.client.receive(self.queue, count=1)
        shown, after = [], None
        while True:
            after, slices = self.client.call(fanq.PEEK, self.queue, 1, 1000, 7, after)[:2]
            for piece in slices:
                shown += [(fanq.open_record(inside)[0], piece[7]) for inside in piece[6]]
            if after is None:
                break
        self.assertEqual(shown, [(b"0", 2), (b"1", 1), (b"2", 1)])
        self.assertEqual(self.figures()["visible"], 2)

    def test_create_set_list_delete(self):
        self.refused(EXISTS, fanq.QUEUE_CREATE, self.queue, {1: 77})
        self.assertEqual(self.client.call(fanq.QUEUE_SET, self.queue, {1: 77})[2][1], 77)
        self.client.call(fanq.QUEUE_CREATE, self.queue, {1: 77})
        self.assertIs(self.client.call(fanq.QUEUE_SET, self.queue, {3: True})[2][3], True)
        self.refused(EXISTS, fanq.QUEUE_CREATE, self.queue, {3: False})
        self.assertEqual(self.client.call(fanq.TOPIC_GET, self.topic)[2], 1)
        self.assertEqual(self.client.call(fanq.SUBSCRIPTION_LIST, self.topic, "", 10), [[self.queue], False])
        for i in range(5):
            self.client.call(fanq.QUEUE_CREATE, f"list-{i}", {})
        self.assertEqual(self.client.call(fanq.QUEUE_LIST, "list-", "", 3), [["list-0", "list-1", "list-2"], True])
        self.assertEqual(self.client.call(fanq.QUEUE_LIST, "list-", "list-2", 3), [["list-3", "list-4"], False])
        self.assertEqual(self.client.call(fanq.TOPIC_LIST, self.topic, "", 1000), [[self.topic], False])
        self.client.call(fanq.UNSUBSCRIBE, self.topic, self.queue)
        self.refused(SUBSCRIPTION_NOT_FOUND, fanq.UNSUBSCRIBE, self.topic, self.queue)
        self.client.send(self.queue, record(b"x"))
        self.client.call(fanq.PURGE, self.queue)
        self.assertEqual(self.figures()["visible"], 0)
        self.client.call(fanq.QUEUE_DELETE, self.queue)
        self.refused(QUEUE_NOT_FOUND, fanq.QUEUE_DELETE, self.queue)
        self.client.call(fanq.PING)
        self.assertGreaterEqual(self.client.call(fanq.STATS)[0]["connections"], 1)

    def test_refusals_leave_the_connection_alive(self):
        self.refused(QUEUE_NOT_FOUND, fanq.RECEIVE, ["nowhere"], 1, 1, 0, None, 0)
        self.refused(TOPIC_NOT_FOUND, fanq.PUBLISH, "nowhere", 0, [record(b"x")])
        self.refused(QUEUE_NOT_FOUND, fanq.ACK, 1, 1, [1, 1, 1])
        self.refused(NAME_INVALID, fanq.QUEUE_CREATE, "no spaces", {})
        self.refused(INVALID, fanq.QUEUE_CREATE, "", {})
        self.refused(INVALID, fanq.RECEIVE, [self.queue], 0, 1, 0, None, 0)
        self.refused(INVALID, fanq.RECEIVE, [self.queue], 1, 1, 600001, None, 0)
        self.refused(INVALID, fanq.PUBLISH, self.topic, 0, [])
        self.refused(BAD_RECORD, fanq.PUBLISH, self.topic, 0, [b"bin 8"])
        self.refused(BAD_RECORD, fanq.PUBLISH, self.topic, 0, [record(b"x", {99: 1})])
        self.refused(UNSUPPORTED, 63, "whatever")
        self.client.call(fanq.PING)

    def test_later_fields_are_skipped(self):
        self.client.call(fanq.PING, "a field", {"of": [1, 2]}, "a later version")

    def test_a_message_too_long_is_refused_alone(self):
        message_bytes_max = self.client.hello[5]
        published = self.client.send(self.queue, record(b"a"), record(b"x" * message_bytes_max), record(b"b"))
        self.assertEqual((published.count, published.refusals), (2, [1, MESSAGE_TOO_BIG]))
        bodies = [m.body for m in self.client.receive(self.queue, auto_delete=True).messages]
        self.assertEqual(bodies, [b"a", b"b"])

    def test_what_breaks_the_protocol_ends_the_connection(self):
        broken = {
            "a reply": fanq.pack([fanq.R_OK, 1]),
            "bytes behind the array": fanq.pack([fanq.PING, 1]) + b"\xc0",
            "too few fields": fanq.pack([fanq.PUBLISH, 1, "t"]),
            "a number for a name": fanq.pack([fanq.QUEUE_GET, 1, 5]),
            "not an array": fanq.pack({1: 2}),
            "a count that lies": b"\xdd\xff\xff\xff\xff",
        }
        for what, payload in broken.items():
            with self.subTest(what):
                client = self.connect()
                client.send_frame(payload)
                self.assertEqual(self.expect_expelled(client, PROTOCOL), 0)
        client = self.connect()
        client.socket.sendall(struct.pack(">I", client.hello[4] + 1))
        self.assertEqual(self.expect_expelled(client, FRAME_TOO_BIG), 0)
        self.client.call(fanq.PING)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        FANQD = sys.argv.pop(1)
    unittest.main()

"""A small client of the fanq protocol, written from proto/PROTOCOL.md with nothing but the standard library.

It answers one question: is that page enough? It blocks, and keeps no more state than what has arrived and was not
asked for yet. Messages come as Message, in batches that are acknowledged by Batch.
"""

import itertools
import socket
import struct
from collections import namedtuple

# Requests and replies: section 5.
(HELLO, PING, PUBLISH, SEND, RECEIVE, ACK, NACK, EXTEND, PUSH, CREDIT, PUSH_STOP, PEEK, PURGE, QUEUE_CREATE, QUEUE_SET,
 QUEUE_GET, QUEUE_DELETE, QUEUE_LIST, TOPIC_CREATE, TOPIC_GET, TOPIC_DELETE, TOPIC_LIST, SUBSCRIBE, UNSUBSCRIBE,
 SUBSCRIPTION_LIST, STATS) = range(1, 27)
R_HELLO, R_OK, R_ERROR, R_OK_RANGE, R_PUBLISHED, R_DELIVER, R_PEEKED, R_CHANGED, R_QUEUE, R_NAMES, R_TOPIC = range(64, 75)
R_STATS, R_PUSH_END = 76, 77

Message = namedtuple("Message", "stream epoch seq time_ms deliveries first_receive_ms body properties")
Published = namedtuple("Published", "stream epoch first_seq count subscription_count refusals")


class FanqError(Exception):
    def __init__(self, number, text):
        super().__init__(f"{number}: {text}")
        self.number = number


class Record(bytes):
    """A record, ready to be sent as it is."""


# ---- msgpack: section 1 ----


def sized(length, fix, fix_max, wide, value=b""):
    """A header: its short form, or `wide`, a dict of struct format to tag."""
    if length <= fix_max:
        return bytes([fix | length]) + value
    for form, tag in wide.items():
        if length < 1 << 8 * struct.calcsize(form):
            return bytes([tag]) + struct.pack(">" + form, length) + value
    raise ValueError("too long")


def pack(value):
    if isinstance(value, Record):
        return bytes(value)
    if value is None or isinstance(value, bool):
        return {None: b"\xc0", False: b"\xc2", True: b"\xc3"}[value]
    if isinstance(value, int):
        return sized(value, 0, 0x7F, {"B": 0xCC, "H": 0xCD, "I": 0xCE, "Q": 0xCF})
    if isinstance(value, str):
        text = value.encode()
        return sized(len(text), 0xA0, 31, {"B": 0xD9, "H": 0xDA, "I": 0xDB}, text)
    if isinstance(value, bytes):
        return sized(len(value), 0, -1, {"B": 0xC4, "H": 0xC5, "I": 0xC6}, value)
    if isinstance(value, dict):
        return sized(len(value), 0x80, 15, {"H": 0xDE, "I": 0xDF}) + b"".join(pack(k) + pack(v) for k, v in value.items())
    return sized(len(value), 0x90, 15, {"H": 0xDC, "I": 0xDD}) + b"".join(map(pack, value))


NUMBERS = {0xCC: "B", 0xCD: "H", 0xCE: "I", 0xCF: "Q", 0xD0: "b", 0xD1: "h", 0xD2: "i", 0xD3: "q"}
STRINGS = {0xD9: "B", 0xDA: "H", 0xDB: "I"}
BINS = {0xC4: "B", 0xC5: "H", 0xC6: "I"}
ARRAYS = {0xDC: "H", 0xDD: "I"}
MAPS = {0xDE: "H", 0xDF: "I"}


def unpack(data, at=0):
    """Gives a value and where it ends. Bytes that run out raise struct.error or IndexError."""

    def number(form):
        nonlocal at
        at += struct.calcsize(form)
        return struct.unpack_from(">" + form, data, at - struct.calcsize(form))[0]

    def content(length):
        nonlocal at
        if length > len(data) - at:
            raise IndexError("cut short")
        at += length
        return data[at - length : at]

    def value():
        nonlocal at
        value, at = unpack(data, at)
        return value

    tag = number("B")
    if tag < 0x80:
        return tag, at
    if tag in NUMBERS:
        return number(NUMBERS[tag]), at
    if 0xA0 <= tag < 0xC0 or tag in STRINGS:
        return content(number(STRINGS[tag]) if tag in STRINGS else tag & 31).decode(), at
    if tag in BINS:
        return bytes(content(number(BINS[tag]))), at
    if 0x90 <= tag < 0xA0 or tag in ARRAYS:
        return [value() for _ in range(number(ARRAYS[tag]) if tag in ARRAYS else tag & 15)], at
    if 0x80 <= tag < 0x90 or tag in MAPS:
        return {value(): value() for _ in range(number(MAPS[tag]) if tag in MAPS else tag & 15)}, at
    return {0xC0: None, 0xC2: False, 0xC3: True}[tag], at


# ---- records: section 3 ----


def record(body, properties=None):
    inside = b"\x01" + pack(properties) + body if properties else b"\x00" + body
    return Record(b"\xc6" + struct.pack(">I", len(inside)) + inside)


def open_record(inside):
    """What stands behind a record's header, taken apart."""
    properties, at = unpack(inside, 1) if inside[0] & 1 else ({}, 1)
    return inside[at:], properties


class Batch:
    """What one DELIVER brought."""

    def __init__(self, fields):
        self.queue_id, self.number, self.dropped, slices = fields[:4]
        self.messages = []
        for stream, epoch, first_seq, time_ms, deliveries, first_receive_ms, records in (s[:7] for s in slices):
            for seq, inside in enumerate(records, first_seq):
                body, properties = open_record(inside)
                self.messages.append(Message(stream, epoch, seq, time_ms, deliveries, first_receive_ms, body, properties))

    def ranges(self, messages):
        """The ids of messages as [stream, first, count, ...], neighbours joined."""
        ranges = []
        for stream, seq in sorted((m.stream, m.seq) for m in messages):
            if ranges and ranges[-3] == stream and ranges[-2] + ranges[-1] == seq:
                ranges[-1] += 1
            else:
                ranges += [stream, seq, 1]
        return ranges


class Client:
    def __init__(self, port, host="127.0.0.1", timeout=30, name="python-conformance/1", producer=None):
        self.socket = socket.create_connection((host, port), timeout)
        self.reader = self.socket.makefile("rb")
        self.ids = itertools.count(1)
        self.waiting = {}  # request id -> replies that came while another was waited for
        self.hello = self.call(HELLO, "fanq", 1, 1, name, *([producer] if producer else []))
        self.epoch = self.hello[1]

    def close(self):
        self.reader.close()
        self.socket.close()

    # -- frames: section 1 --

    def send_frame(self, payload):
        self.socket.sendall(struct.pack(">I", len(payload)) + payload)

    def request(self, op, *fields):
        """Sends a request without waiting; gives its id."""
        request_id = next(self.ids)
        self.send_frame(pack([op, request_id, *fields]))
        return request_id

    def repeat(self, request_id, op, *fields):
        """Sends a request under an id of its own choice: what an earlier connection was not told the end of."""
        self.send_frame(pack([op, request_id, *fields]))
        return self.wait(request_id)

    def read_reply(self):
        header = self.reader.read(4)
        if len(header) < 4:
            raise ConnectionError("the broker closed the connection")
        payload = self.reader.read(struct.unpack(">I", header)[0])
        reply, end = unpack(payload)
        if end != len(payload):
            raise ValueError("bytes behind the reply")
        return reply

    def wait(self, request_id):
        """Gives (op, fields) of the next reply to a request; an OK_RANGE answers several."""
        while not self.waiting.get(request_id):
            op, first, *fields = self.read_reply()
            for answered in range(first, first + fields[0]) if op == R_OK_RANGE else [first]:
                self.waiting.setdefault(answered, []).append((op, fields))
        op, fields = self.waiting[request_id].pop(0)
        if not self.waiting[request_id]:
            del self.waiting[request_id]
        if op in (R_ERROR, R_PUSH_END):
            raise FanqError(*fields[:2])
        return op, fields

    def call(self, op, *fields):
        return self.wait(self.request(op, *fields))[1]

    # -- requests: section 5 --

    def publish(self, topic, *records):
        return Published(*self.call(PUBLISH, topic, 1, records)[:6])

    def send(self, queue, *records):
        return Published(*self.call(SEND, queue, 1, records)[:6])

    def receive(self, *queues, count=10, wait_ms=0, visibility_ms=None, auto_delete=False):
        return Batch(self.call(RECEIVE, queues, count, 1 << 18, wait_ms, visibility_ms, int(auto_delete)))

    def ack(self, batch, messages=None):
        self.call(ACK, batch.queue_id, batch.number, batch.ranges(messages or batch.messages))

    def nack(self, batch, messages=None, delay_ms=0):
        return self.call(NACK, batch.queue_id, batch.number, batch.ranges(messages or batch.messages), delay_ms)[0]

    def extend(self, batch, visibility_ms, messages=None):
        return self.call(EXTEND, batch.queue_id, batch.number, batch.ranges(messages or batch.messages), visibility_ms)[0]

    def push(self, target, topic=False, ack=False, messages=100, size=1 << 20):
        push_id = self.request(PUSH, int(topic), target, int(ack), messages, size, None)
        self.wait(push_id)  # OK; DELIVERs follow with the same id
        return push_id

    def next_pushed(self, push_id):
        return Batch(self.wait(push_id)[1])

    def credit(self, push_id, messages, size):
        self.request(CREDIT, push_id, messages, size)

"""The wire as the attack tests need it: frames as bytes, so that they can be bent, and a plain blocking client."""
import socket
import struct

HELLO, PING, PUBLISH, SEND, RECEIVE, ACK, NACK, EXTEND, PUSH, CREDIT, PUSH_STOP, PEEK, PURGE = range(1, 14)
QUEUE_CREATE, QUEUE_SET, QUEUE_GET, QUEUE_DELETE, QUEUE_LIST = range(14, 19)
TOPIC_CREATE, TOPIC_GET, TOPIC_DELETE, TOPIC_LIST, SUBSCRIBE, UNSUBSCRIBE, SUBSCRIPTION_LIST, STATS = range(19, 27)

R_HELLO, R_OK, R_ERROR, R_OK_RANGE, R_PUBLISHED, R_DELIVER, R_PEEKED, R_CHANGED, R_QUEUE = range(64, 73)
R_STATS, R_PUSH_END = 76, 77

E_PROTOCOL, E_VERSION, E_UNSUPPORTED, E_HELLO_REQUIRED, E_FRAME_TOO_BIG, E_BAD_RECORD = 7, 8, 9, 10, 11, 12
E_MESSAGE_TOO_BIG, E_NO_ROOM, E_LIMIT, E_DRAINING, E_HELLO_TIMEOUT = 13, 19, 20, 21, 25


class Packed(bytes):
    """Bytes that are msgpack already."""


def pack(value):
    if isinstance(value, Packed):
        return bytes(value)
    if value is None:
        return b"\xc0"
    if isinstance(value, bool):
        return b"\xc3" if value else b"\xc2"
    if isinstance(value, int):
        return bytes([value]) if value < 128 else b"\xcf" + struct.pack(">Q", value)
    if isinstance(value, str):
        text = value.encode()
        return b"\xda" + struct.pack(">H", len(text)) + text
    if isinstance(value, bytes):
        return b"\xc6" + struct.pack(">I", len(value)) + value
    if isinstance(value, list):
        return b"\xdd" + struct.pack(">I", len(value)) + b"".join(map(pack, value))
    return b"\xdf" + struct.pack(">I", len(value)) + b"".join(pack(k) + pack(v) for k, v in value.items())


def unpack(data, at=0):
    """Gives the value at `at` and the place behind it."""
    tag = data[at]
    at += 1
    if tag < 0x80:
        return tag, at
    if tag < 0x90:
        return unpack_map(data, at, tag & 15)
    if tag < 0xA0:
        return unpack_list(data, at, tag & 15)
    if tag < 0xC0:
        return data[at:at + (tag & 31)].decode(), at + (tag & 31)
    if tag in (0xC0, 0xC2, 0xC3):
        return {0xC0: None, 0xC2: False, 0xC3: True}[tag], at
    width = {0xC4: 1, 0xC5: 2, 0xC6: 4, 0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8, 0xD9: 1, 0xDA: 2, 0xDB: 4,
             0xDC: 2, 0xDD: 4, 0xDE: 2, 0xDF: 4}[tag]
    number = int.from_bytes(data[at:at + width], "big")
    at += width
    if tag in (0xCC, 0xCD, 0xCE, 0xCF):
        return number, at
    if tag in (0xDC, 0xDD):
        return unpack_list(data, at, number)
    if tag in (0xDE, 0xDF):
        return unpack_map(data, at, number)
    part = data[at:at + number]
    return (part if tag <= 0xC6 else part.decode()), at + number


def unpack_list(data, at, count):
    values = []
    for _ in range(count):
        value, at = unpack(data, at)
        values.append(value)
    return values, at


def unpack_map(data, at, count):
    flat, at = unpack_list(data, at, 2 * count)
    return dict(zip(flat[::2], flat[1::2])), at


def frame(*fields):
    payload = pack(list(fields))
    return struct.pack(">I", len(payload)) + payload


def record(body):
    return b"\0" + body


def hello_frame():
    return frame(HELLO, 0, "fanq", 1, 1, "test")


class Client:
    def __init__(self, address, hello=True, timeout=20, receive_buffer=None):
        """address: a TCP port of this machine, or the path of a Unix socket."""
        self.socket = socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET)
        self.socket.settimeout(timeout)
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.next_id = 1
        try:
            self.socket.connect(address if isinstance(address, str) else ("127.0.0.1", address))
            if hello:
                self.send(hello_frame())
                self.greeting = self.read()
        except BaseException:
            self.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def read_bytes(self, length):
        parts = []
        while length > 0:
            part = self.socket.recv(min(length, 1 << 20))
            if not part:
                raise EOFError("the broker closed the connection")
            parts.append(part)
            length -= len(part)
        return b"".join(parts)

    def read_payload(self):
        return self.read_bytes(struct.unpack(">I", self.read_bytes(4))[0])

    def read(self):
        return unpack(self.read_payload())[0]

    def start(self, op, *fields):
        """Sends a request; gives its id."""
        self.next_id += 1
        self.send(frame(op, self.next_id, *fields))
        return self.next_id

    def ask(self, op, *fields):
        request_id = self.start(op, *fields)
        reply = self.read()
        assert reply[1] == request_id, (reply, request_id)
        return reply

    def stats(self):
        return self.ask(STATS)[2]

    def ended(self):
        """Reads to the end; gives the frames that came before it."""
        replies = []
        try:
            while True:
                replies.append(self.read())
        except (EOFError, ConnectionError):
            return replies

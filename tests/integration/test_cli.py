#!/usr/bin/env python3
"""The fanq command against a real fanqd: what it prints, where, and how it exits.

usage: test_cli.py FANQ FANQD [unittest arguments]

Every test uses queues and topics of its own, so they share one broker and its free port.
"""
import base64
import fcntl
import json
import os
import pty
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
import unittest

FANQ, FANQD = sys.argv[1:3]
TIMEOUT_S = 60


class Broker:
    """A fanqd in memory, on a port of its own."""

    def __init__(self, *flags):
        self.folder = tempfile.TemporaryDirectory()
        port_file = os.path.join(self.folder.name, "port")
        self.process = subprocess.Popen([FANQD, "--memory", "--port", "0", "--port-file", port_file, *flags],
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + TIMEOUT_S
        while not self.read(port_file):
            if self.process.poll() is not None:
                self.folder.cleanup()
                raise AssertionError("fanqd ended at once: " + " ".join(self.process.args))
            assert time.monotonic() < deadline, "fanqd was not ready in time"
            time.sleep(0.01)
        self.url = "fanq://127.0.0.1:" + self.read(port_file)

    @staticmethod
    def read(path):
        try:
            with open(path) as file:
                return file.read().strip()
        except FileNotFoundError:
            return ""

    def stop(self):
        self.process.terminate()
        self.process.wait(TIMEOUT_S)
        self.folder.cleanup()


BROKER = None


def setUpModule():
    global BROKER
    BROKER = Broker()


def tearDownModule():
    BROKER.stop()


def environment(**extra):
    env = {name: value for name, value in os.environ.items() if not name.startswith("FANQ_")}
    env["FANQ_URL"] = BROKER.url
    env.update(extra)
    return env


class Result:
    def __init__(self, done):
        self.code, self.out, self.err = done.returncode, done.stdout, done.stderr.decode()


def fanq(*arguments, stdin=b"", env=None):
    """Runs fanq and gives exit code, standard output in bytes, standard error as text."""
    done = subprocess.run([FANQ, *arguments], input=stdin, capture_output=True, timeout=TIMEOUT_S,
                          env=env or environment())
    return Result(done)


class Case(unittest.TestCase):
    def ok(self, *arguments, stdin=b""):
        result = fanq(*arguments, stdin=stdin)
        self.assertEqual(result.code, 0, f"{arguments}: {result.err}")
        return result

    def fails(self, code, *arguments, stdin=b""):
        result = fanq(*arguments, stdin=stdin)
        self.assertEqual(result.code, code, f"{arguments}: {result.out} {result.err}")
        return result

    def json(self, *arguments, stdin=b""):
        """The one object on standard output."""
        lines = self.ok("--json", *arguments, stdin=stdin).out.splitlines()
        self.assertEqual(len(lines), 1)
        return json.loads(lines[0])

    def json_lines(self, *arguments):
        return [json.loads(line) for line in self.ok("--json", *arguments).out.splitlines()]

    def start(self, *arguments):
        process = subprocess.Popen([FANQ, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, env=environment())
        self.addCleanup(self.end, process)
        return process

    @staticmethod
    def end(process):
        if process.poll() is None:
            process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                stream.close()

    @staticmethod
    def on_a_terminal(columns, *arguments):
        """What it prints there, in text."""
        ours, its = pty.openpty()
        fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        with open(its, "wb") as out:
            subprocess.run([FANQ, *arguments], stdin=subprocess.DEVNULL, stdout=out, timeout=TIMEOUT_S, check=True,
                           env=environment(NO_COLOR="1"))
            text = os.read(ours, 65536)
        os.close(ours)
        return text.decode()

    def eventually(self, condition):
        deadline = time.monotonic() + TIMEOUT_S
        while not condition():
            self.assertLess(time.monotonic(), deadline, "did not come true in time")
            time.sleep(0.02)


class CommandLine(Case):
    def test_help_lists_every_command_and_describes_each(self):
        text = self.ok("help").out.decode()
        for name in ("send", "recv", "pub", "tail", "peek", "status", "top", "ping", "bench", "version"):
            self.assertIn(f"\n  {name} ", text)
            self.assertIn(f"usage: fanq {name}", self.ok("help", name).out.decode())
            self.assertEqual(self.ok(name, "--help").out, self.ok("help", name).out)
        for noun, verbs in {"queue": "ls create rm info set purge", "topic": "ls create rm info",
                            "sub": "add rm ls"}.items():
            for verb in verbs.split():
                self.assertIn(f"\n  {noun} {verb} ", text)
                self.assertIn(f"usage: fanq {noun} {verb}", self.ok(noun, verb, "-h").out.decode())
        self.assertIn("queue purge", self.ok("queue", "--help").out.decode())

    def test_without_a_command_help_is_an_error(self):
        result = self.fails(2)
        self.assertEqual(result.out, b"")
        self.assertIn("usage: fanq", result.err)

    def test_version(self):
        self.assertRegex(self.ok("version").out.decode(), r"^fanq \d+\.\d+\.\d+\n$")
        self.assertEqual(self.ok("--version").out, self.ok("version").out)
        self.assertIn("version", self.json("version"))

    def test_typos_get_the_nearest_match(self):
        for arguments, meant in ((["snd", "q", "x"], '"fanq send"'), (["queeu", "ls"], '"fanq queue"'),
                                 (["queue", "lst"], '"fanq queue ls"'), (["topic", "craete", "t"], '"fanq topic create"'),
                                 (["recv", "--cuont", "3", "q"], '"--count"'), (["help", "penk"], '"fanq peek"'),
                                 (["queue", "create", "--visibilty=3s", "q"], '"--visibility"')):
            result = self.fails(2, *arguments)
            self.assertIn(f"did you mean {meant}?", result.err)
            self.assertEqual(result.out, b"")

    def test_wrong_usage_says_what_to_type(self):
        self.assertIn("an argument is missing", self.fails(2, "send").err)
        self.assertIn("usage: fanq send", self.fails(2, "send").err)
        self.assertIn("quotes", self.fails(2, "send", "q", "two", "words").err)
        self.assertIn("such as 500ms", self.fails(2, "recv", "--wait", "20", "q").err)
        self.assertIn("wants a value", self.fails(2, "recv", "q", "--wait").err)
        self.assertIn("takes no value", self.fails(2, "recv", "q", "--ack=3").err)
        self.assertIn("a number from 1", self.fails(2, "recv", "-n", "0", "q").err)
        self.assertIn("NAME=VALUE", self.fails(2, "send", "q", "x", "--attr", "nonsense").err)
        self.assertIn("String, Number or Binary", self.fails(2, "send", "q", "x", "--attr", "a:Text=1").err)
        self.assertIn("put -- before it", self.fails(2, "send", "q", "-Z").err)
        self.assertIn("wants another word", self.fails(2, "queue").err)
        self.assertIn("--delay goes with --nack", self.fails(2, "recv", "q", "--delay", "1s").err)
        for command in (["queue", "create", "q", "--visibility"], ["recv", "q", "--visibility"],
                        ["recv", "q", "--nack", "--delay"]):
            self.assertIn("must be at most 12h", self.fails(2, *command, "13h").err)
        self.assertIn("must be at most 10m", self.fails(2, "queue", "set", "q", "--wait", "11m").err)

    def test_a_refusal_says_what_would_do(self):
        self.assertIn("kept for queues in strict order", self.fails(1, "send", "jobs.fifo", "x").err)
        limit = self.json("status")["message_bytes_max"]
        result = self.fails(1, "send", "big", stdin=b"x" * (limit + 1))
        self.assertIn(f"that is {limit:,} bytes", result.err)
        self.assertIn("--message-bytes-max", result.err)

    def test_a_bad_url_is_a_usage_error(self):
        result = self.fails(2, "--url", "http://nowhere", "queue", "ls")
        self.assertIn("not the URL of a broker", result.err)
        self.assertIn("fanq://HOST:9320", result.err)

    def test_no_broker_is_5_and_says_what_to_do(self):
        for command in (["queue", "ls"], ["send", "q", "x"], ["recv", "q"], ["ping"], ["tail", "q"], ["top", "--once"]):
            result = self.fails(5, "--url", "fanq://127.0.0.1:1", *command)
            self.assertEqual(result.out, b"")
            self.assertIn("cannot connect to fanq://127.0.0.1:1: ", result.err)
            self.assertIn("refused", result.err)
            self.assertIn("start one:  fanqd --port 1 ", result.err)
            self.assertIn("export FANQ_URL=fanq://HOST:9320", result.err)

    def test_no_broker_at_a_path_is_told_how_to_start_it_there(self):
        self.assertIn("start one:  fanqd --unix /no/such ", self.fails(5, "--url", "unix:/no/such", "ping").err)

    def test_no_broker_elsewhere_is_told_otherwise(self):
        result = self.fails(5, "--url", "fanq://no-such-host.invalid", "ping")
        self.assertIn("cannot connect to fanq://no-such-host.invalid: ", result.err)
        self.assertIn("fanqd --listen 0.0.0.0", result.err)

    def test_options_before_and_behind_the_command(self):
        self.ok("send", "options-q", "--", "-x")
        self.assertEqual(self.ok("--timeout", "5s", "recv", "options-q").out, b"-x")
        self.fails(2, "--timeout", "5", "queue", "ls")
        self.assertEqual(fanq("queue", "ls", env=environment(FANQ_TIMEOUT="nonsense")).code, 2)


class Queues(Case):
    def test_create_list_look_change_and_delete(self):
        result = self.ok("queue", "create", "life-a", "life-b", "--visibility", "5m", "--wait", "2s")
        self.assertEqual(result.out, b"")
        self.assertIn("created queue life-a", result.err)
        self.assertEqual(self.ok("queue", "ls", "life-").out, b"life-a\nlife-b\n")
        self.assertEqual(self.json("queue", "ls", "life-"), {"queues": [{"name": "life-a"}, {"name": "life-b"}]})
        info = self.json("queue", "info", "life-a")
        self.assertEqual(set(info), {"name", "visible", "in_flight", "delayed", "oldest_age_ms", "consumers", "sent",
                                     "delivered", "deleted", "visibility_ms", "receive_wait_ms", "early_delivery", "created"})
        self.assertEqual((info["visibility_ms"], info["receive_wait_ms"]), (300000, 2000))
        self.assertIs(info["early_delivery"], False)
        self.assertRegex(self.ok("queue", "info", "life-a").out.decode(), r"(?m)^visibility +5m$")
        self.ok("queue", "set", "life-a", "--visibility", "1500ms")
        self.assertEqual(self.json("queue", "info", "life-a")["visibility_ms"], 1500)
        self.ok("queue", "set", "life-a", "--early-delivery", "on")
        self.assertIs(self.json("queue", "info", "life-a")["early_delivery"], True)
        self.assertRegex(self.ok("queue", "info", "life-a").out.decode(), r"(?m)^early +on$")
        self.ok("queue", "set", "life-a", "--early-delivery=off", "--wait", "1s")
        self.assertIs(self.json("queue", "info", "life-a")["early_delivery"], False)
        self.ok("queue", "create", "life-early", "--early-delivery", "on")
        self.ok("queue", "create", "life-early", "--early-delivery", "on")
        self.fails(1, "queue", "create", "life-early", "--early-delivery", "off")
        self.fails(2, "queue", "set", "life-a", "--early-delivery", "yes")
        self.ok("queue", "rm", "-y", "life-early")
        self.assertEqual(self.json("queue", "ls", "-v", "life-")["queues"][0]["visibility_ms"], 1500)
        self.assertIn(b"VISIBLE", self.ok("queue", "ls", "-v").out)
        self.fails(2, "queue", "set", "life-a")
        self.ok("queue", "rm", "--yes", "life-a", "life-b")
        self.assertEqual(self.ok("queue", "ls", "life-").out, b"")

    def test_creating_again_with_other_settings_fails(self):
        self.ok("queue", "create", "same", "--visibility", "7s")
        self.ok("queue", "create", "same", "--visibility", "7s")
        result = self.fails(1, "queue", "create", "same", "--visibility", "8s")
        self.assertIn("fanq queue set same", result.err)

    def test_destruction_needs_yes_without_a_terminal(self):
        self.ok("queue", "create", "precious")
        self.ok("topic", "create", "precious")
        for command in (["queue", "rm"], ["queue", "purge"], ["topic", "rm"]):
            result = self.fails(2, *command, "precious")
            self.assertIn("--yes", result.err)
        self.assertEqual(self.ok("queue", "ls", "precious").out, b"precious\n")

    def test_destruction_asks_on_a_terminal(self):
        self.ok("queue", "create", "asked")
        for answer, code, left in ((b"n\n", 1, b"asked\n"), (b"y\n", 0, b"")):
            master, slave = pty.openpty()
            process = subprocess.Popen([FANQ, "queue", "rm", "asked"], stdin=slave, stdout=slave, stderr=slave,
                                       env=environment())
            os.close(slave)
            os.write(master, answer)
            self.assertEqual(process.wait(TIMEOUT_S), code)
            self.assertIn(b"[y/N]", os.read(master, 4096))
            os.close(master)
            self.assertEqual(self.ok("queue", "ls", "asked").out, left)

    def test_purge(self):
        self.ok("send", "purged", "--line", stdin=b"1\n2\n3\n")
        self.ok("queue", "purge", "--yes", "purged")
        self.assertEqual(self.json("queue", "info", "purged")["visible"], 0)

    def test_what_is_missing_is_4_and_the_nearest_name_is_told(self):
        self.ok("queue", "create", "invoices")
        self.ok("topic", "create", "happenings")
        for command in (["queue", "info"], ["peek"], ["queue", "rm", "-y"], ["queue", "purge", "-y"], ["tail"]):
            self.assertIn('did you mean "invoices"?', self.fails(4, *command, "invocies").err)
        self.assertIn('did you mean "happenings"?', self.fails(4, "topic", "info", "hapenings").err)
        self.assertIn('did you mean "happenings"?', self.fails(4, "sub", "ls", "hapenings").err)
        self.assertIn("fanq queue create", self.fails(4, "queue", "info", "zzzzzzzzzzzz").err)
        self.assertEqual(self.fails(4, "peek", "zzzzzzzzzzzz").out, b"")

    def test_a_queue_that_never_had_a_message_may_be_a_typo(self):
        self.ok("send", "shipments", "x")
        self.assertIn('queue shipmnets never had a message; did you mean "shipments"?',
                      self.fails(3, "recv", "shipmnets").err)
        self.ok("recv", "shipments")
        self.assertEqual(self.fails(3, "recv", "shipments").err, "nothing to receive\n")

    def test_some_of_many_is_7(self):
        self.ok("queue", "create", "half-1")
        self.fails(7, "queue", "rm", "--yes", "half-1", "half-2")
        self.fails(4, "queue", "rm", "--yes", "half-1", "half-2")
        result = fanq("--json", "queue", "create", "half-3", "not a name")
        self.assertEqual(result.code, 7)
        self.assertEqual(json.loads(result.out), {"done": ["half-3"], "failed": ["not a name"]})


class Topics(Case):
    def test_topics_and_subscriptions(self):
        self.ok("topic", "create", "news", "news-2")
        self.ok("queue", "create", "reader-1", "reader-2")
        self.assertEqual(self.ok("topic", "ls", "news").out, b"news\nnews-2\n")
        self.ok("sub", "add", "news", "reader-1", "reader-2")
        self.ok("sub", "add", "news", "reader-1")
        self.assertEqual(self.ok("sub", "ls", "news").out, b"news\treader-1\nnews\treader-2\n")
        self.assertIn(b"news\treader-1\n", self.ok("sub", "ls").out)
        self.assertEqual(self.json("sub", "ls", "news")["subscriptions"][0], {"topic": "news", "queue": "reader-1"})
        info = self.json("topic", "info", "news")
        self.assertEqual(set(info), {"name", "stream", "subscriptions", "published", "created"})
        self.assertEqual(info["subscriptions"], 2)
        self.assertIn("2 subscriptions", self.ok("pub", "news", "hello").err)
        for queue in ("reader-1", "reader-2"):
            self.assertEqual(self.ok("recv", queue).out, b"hello")
        self.ok("sub", "rm", "news", "reader-1")
        self.assertIn(": 1 subscription\n", self.ok("pub", "news", "again").err)
        self.fails(4, "sub", "rm", "news", "reader-1")
        self.assertIn("did you mean", self.fails(4, "sub", "add", "news", "reader-3").err)
        self.assertEqual(self.json("topic", "ls", "-v", "news")["topics"][0]["published"], 2)
        self.ok("topic", "rm", "--yes", "news", "news-2")
        self.fails(4, "topic", "info", "news")

    def test_publishing_to_nobody_says_so(self):
        self.assertIn("fanq sub add nobody QUEUE", self.ok("pub", "nobody", "x").err)


class Messages(Case):
    def test_send_and_receive(self):
        result = self.ok("send", "plain", "hi there")
        self.assertEqual(result.out, b"")
        self.assertRegex(result.err, r"^sent [0-9a-f]+\.[0-9a-f]+-0 to plain \(created\)\n$")
        self.assertNotIn("created", self.ok("send", "plain", "more").err)
        self.assertEqual(self.ok("recv", "plain").out, b"hi there")
        self.assertEqual(self.ok("recv", "plain").out, b"more")
        result = self.fails(3, "recv", "plain")
        self.assertEqual(result.out, b"")
        self.assertIn("nothing", result.err)

    def test_bodies_are_bytes(self):
        body = bytes(range(256)) * 300
        self.ok("send", "binary", "-", stdin=body)
        self.ok("send", "binary", stdin=body)
        with tempfile.NamedTemporaryFile() as file:
            file.write(body)
            file.flush()
            self.ok("send", "binary", "--file", file.name)
        self.ok("send", "binary", "")
        for _ in range(3):
            self.assertEqual(self.ok("recv", "binary").out, body)
        self.assertEqual(self.ok("recv", "binary").out, b"")
        self.assertEqual(self.fails(1, "send", "binary", "--file", "/no/such/file").out, b"")

    def test_json_has_stable_keys(self):
        sent = self.json("send", "keys", "text \"quoted\" \u00e9\n\x01", "--attr", "type=order.created", "--attr",
                         "count:Number=5", "--subject", "a subject")
        self.assertEqual(set(sent), {"id", "queue", "created"})
        message, = self.json_lines("recv", "keys")
        self.assertEqual(message["id"], sent["id"])
        self.assertEqual(set(message), {"id", "queue", "time", "deliveries", "subject", "attributes", "body"})
        self.assertEqual(message["body"], "text \"quoted\" \u00e9\n\x01")
        self.assertEqual(message["subject"], "a subject")
        self.assertEqual(message["deliveries"], 1)
        self.assertEqual(message["attributes"], {"type": {"type": "String", "value": "order.created"},
                                                 "count": {"type": "Number", "value": "5"}})
        self.assertEqual(set(self.json("pub", "keys", "x")), {"id", "topic", "subscriptions", "created"})

    def test_json_of_what_is_not_text_is_base64(self):
        for body in (b"\xff\x00\x01", b"\xed\xa0\x80", b"\xc0\x80", b"\xe2\x82", os.urandom(5000)):
            self.ok("send", "base64", "-", stdin=body)
            message, = self.json_lines("recv", "base64")
            self.assertEqual(base64.b64decode(message["body_base64"], validate=True), body)
            self.assertNotIn("body", message)

    def test_header_line(self):
        sent = self.ok("send", "-v", "header", "body", "--attr", "a=b")
        message_id = sent.out.decode().strip()
        self.assertRegex(self.ok("recv", "-v", "header").out.decode(),
                         rf"^# {message_id} header \S+Z 4 bytes, delivery 1 a=b\nbody\n$")

    def test_ten_thousand_lines_there_and_back(self):
        lines = b"".join(b"line %d %s\n" % (i, b"x" * (i % 90)) for i in range(10000))
        result = self.ok("send", "lines", "--line", stdin=lines)
        self.assertEqual(result.out, b"")
        self.assertIn("sent 10,000 messages to lines (created)", result.err)
        self.assertEqual(self.ok("recv", "lines", "--line", "-n", "10000").out, lines)
        self.fails(3, "recv", "lines")

    def test_lines_to_a_topic(self):
        self.ok("topic", "create", "line-topic")
        self.ok("queue", "create", "line-reader")
        self.ok("sub", "add", "line-topic", "line-reader")
        lines = b"\n".join(b"%d" % i for i in range(10000))
        counts = self.json("pub", "line-topic", "--line", stdin=lines)
        self.assertEqual({key: counts[key] for key in ("topic", "sent", "failed", "unknown", "created")},
                         {"topic": "line-topic", "sent": 10000, "failed": 0, "unknown": 0, "created": False})
        self.assertEqual(self.ok("recv", "line-reader", "--all").out, lines + b"\n")

    def test_empty_and_unended_lines(self):
        self.ok("send", "odd", "--line", stdin=b"\n\na\n\nlast")
        self.assertEqual(self.ok("recv", "odd", "--all", "--line").out, b"\n\na\n\nlast\n")
        self.assertIn("sent 0 messages", self.ok("send", "odd", "--line", stdin=b"").err)

    def test_null_separated(self):
        self.ok("send", "nulls", "-0", stdin=b"a\nb\0c\0")
        self.assertEqual(self.ok("recv", "nulls", "--all", "-0").out, b"a\nb\0c\0")

    def test_a_line_too_long_is_counted_and_the_others_go(self):
        limit = self.json("status")["message_bytes_max"] - 64  # a record is a little longer than its body
        result = self.fails(7, "send", "long", "--line", stdin=b"a\n" + b"x" * (limit + 65) + b"\nb\n" + b"y" * limit)
        self.assertIn("sent 3 messages", result.err)
        self.assertIn("1 not taken", result.err)
        self.assertEqual(self.ok("recv", "long", "--all", "--line").out, b"a\nb\n" + b"y" * limit + b"\n")
        self.fails(1, "send", "long", "--line", stdin=b"x" * (limit + 65))

    def test_lines_go_out_as_they_come(self):
        process = subprocess.Popen([FANQ, "send", "slow", "--line"], stdin=subprocess.PIPE, stderr=subprocess.PIPE,
                                   env=environment())
        self.addCleanup(self.end, process)
        process.stdin.write(b"one\ntw")
        process.stdin.flush()
        self.assertEqual(self.ok("recv", "slow", "--wait", "20s").out, b"one")
        process.stdin.write(b"o\n")
        process.stdin.flush()
        self.assertEqual(self.ok("recv", "slow", "--wait", "20s").out, b"two")
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait(TIMEOUT_S), 143)

    def test_settling(self):
        self.ok("send", "settle", "m")
        self.assertEqual(self.ok("recv", "settle", "--nack").out, b"m")
        message, = self.json_lines("recv", "settle", "--no-ack", "--visibility", "1m")
        self.assertEqual(message["deliveries"], 2)
        self.fails(3, "recv", "settle")
        self.assertEqual(self.json("queue", "info", "settle")["in_flight"], 1)
        self.ok("send", "settle", "n")
        self.ok("recv", "settle", "--nack", "--delay", "1m")
        self.assertEqual(self.json("queue", "info", "settle")["delayed"], 1)

    def test_receive_waits(self):
        process = self.start("recv", "waits", "--wait", "30s")
        self.eventually(lambda: fanq("queue", "info", "waits", "--json").out.find(b'"consumers":1') > 0)
        self.ok("send", "waits", "woken")
        self.assertEqual(process.communicate(timeout=TIMEOUT_S)[0], b"woken")
        start = time.monotonic()
        self.fails(3, "recv", "waits", "--wait", "300ms")
        self.assertGreaterEqual(time.monotonic() - start, 0.3)

    def test_receive_from_several(self):
        self.ok("queue", "create", "several-1", "several-2")
        self.ok("send", "several-2", "x")
        message, = self.json_lines("recv", "several-1", "several-2")
        self.assertEqual((message["queue"], message["body"]), ("several-2", "x"))

    def test_a_reader_that_leaves_gets_nothing_deleted_behind_its_back(self):
        self.ok("send", "pipe", "--line", stdin=b"0123456789" * 100 + b"\n")
        self.ok("send", "pipe", "--line", stdin=(b"x" * 999 + b"\n") * 2000)
        process = self.start("recv", "pipe", "--all", "--line")
        process.stdout.read(10)
        process.stdout.close()
        self.assertEqual(process.wait(TIMEOUT_S), 141)
        info = self.json("queue", "info", "pipe")
        self.assertEqual(info["in_flight"], 0)
        self.assertGreater(info["visible"], 500)

    def test_signals(self):
        for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
            for command in (["recv", "signals", "--wait", "60s"], ["tail", "--topic", "signals"], ["top", "-i", "60s"],
                            ["bench", "-d", "60s"]):
                process = self.start(*command)
                time.sleep(0.3)
                self.assertIsNone(process.poll(), command)
                process.send_signal(number)
                self.assertEqual(process.wait(TIMEOUT_S), code, command)

    def test_peek_takes_nothing(self):
        self.ok("send", "peeked", "first", "--attr", "a=b")
        self.ok("send", "peeked", "second\x1b[31m")
        self.ok("recv", "peeked", "--no-ack")
        table = self.ok("peek", "peeked").out.decode().splitlines()
        self.assertEqual(table[0].split(), ["STATE", "AGE", "TRIES", "ID", "ATTRIBUTES", "BODY"])
        self.assertRegex(table[1], r"^in-flight +\S+ +1 +\S+-0 +a=b +first$")
        self.assertRegex(table[2], r"^ready +\S+ +0 +\S+-1 +- +second\\x1b\[31m$")
        self.assertEqual(self.ok("peek", "peeked", "--line", "--state", "ready").out, b"second\x1b[31m\n")
        self.assertEqual([m["state"] for m in self.json_lines("peek", "peeked")], ["in-flight", "ready"])
        self.assertEqual(len(self.ok("peek", "peeked", "-n", "1", "--line").out.splitlines()), 1)
        self.fails(2, "peek", "peeked", "--state", "asleep")
        self.ok("send", "peeked-many", "--line", stdin=b"".join(b"%d\n" % i for i in range(3000)))
        self.assertEqual(self.ok("peek", "peeked-many", "--all", "--line").out,
                         b"".join(b"%d\n" % i for i in range(3000)))

    def test_tail_of_a_topic_gets_copies(self):
        self.ok("topic", "create", "followed")
        process = self.start("tail", "followed", "-n", "2")
        self.assertIn(b"following topic followed", process.stderr.readline())
        self.ok("pub", "followed", "one")
        self.ok("pub", "followed", "two")
        self.assertEqual(process.communicate(timeout=TIMEOUT_S)[0], b"one\ntwo\n")
        self.assertEqual(process.returncode, 0)
        self.fails(3, "tail", "followed", "--wait", "100ms")

    def test_tail_of_a_queue_takes_nothing(self):
        self.ok("topic", "create", "tailed-from")
        self.ok("queue", "create", "tailed")
        self.ok("sub", "add", "tailed-from", "tailed")
        self.ok("send", "tailed", "waiting")
        process = self.start("tail", "tailed", "-n", "5")
        self.assertEqual(process.stdout.readline(), b"waiting\n")
        for command, text in (("send", "1"), ("pub", "2"), ("send", "3"), ("pub", "4")):
            self.ok(command, "tailed" if command == "send" else "tailed-from", text)
            self.assertEqual(process.stdout.readline().decode(), text + "\n")
        self.assertEqual(process.wait(TIMEOUT_S), 0)
        self.assertEqual(self.json("queue", "info", "tailed")["visible"], 5)

    def test_tail_of_a_name_that_is_both_asks_which(self):
        self.ok("topic", "create", "both")
        self.ok("queue", "create", "both")
        self.assertIn("fanq tail --topic both", self.fails(2, "tail", "both").err)


class TheBroker(Case):
    def test_status(self):
        status = self.json("status")
        self.assertEqual(set(status), {"url", "server", "storage", "epoch", "frame_bytes_max", "message_bytes_max",
                                       "auto_create", "stats"})
        self.assertEqual(status["storage"], "memory")
        text = self.ok("status").out.decode()
        self.assertIn(BROKER.url, text)
        self.assertRegex(text, rf"(?m)^epoch +{status['epoch']}$")

    def test_ping(self):
        self.assertIn(BROKER.url.encode(), self.ok("ping").out)
        self.assertEqual(set(self.json("ping")), {"url", "server", "storage", "epoch", "ms"})
        start = time.monotonic()
        self.fails(5, "--url", "fanq://127.0.0.1:1", "ping", "--wait", "400ms")
        self.assertGreaterEqual(time.monotonic() - start, 0.4)

    def test_top(self):
        self.ok("send", "topped", "x")
        self.assertRegex(self.ok("top", "--once").out.decode(), r"(?m)^topped +1 +0 +0 ")
        for columns, widest in ((80, 80), (200, 105)):
            table = self.on_a_terminal(columns, "top", "--once", "topped")
            self.assertEqual(max(len(line) for line in table.splitlines() if line.startswith("topped")), widest)
        top = self.json("top", "--once", "topped")
        self.assertEqual(top["queues"][0]["visible"], 1)
        process = self.start("top", "--json", "-i", "100ms")
        for _ in range(3):
            self.assertIn("queues", json.loads(process.stdout.readline()))
        process.send_signal(signal.SIGINT)
        self.assertEqual(process.wait(TIMEOUT_S), 130)

    def test_bench(self):
        before = self.ok("queue", "ls").out
        result = self.json("bench", "-d", "300ms", "--size", "64")
        self.assertEqual(set(result), {"case", "size", "batch", "messages", "seconds", "messages_per_s", "p50_us",
                                       "p99_us"})
        self.assertGreater(result["messages"], 0)
        self.assertIn(b"messages of 64 bytes", self.ok("bench", "pipe", "-d", "200ms", "--size", "64").out)
        self.assertEqual(self.ok("queue", "ls").out, before)
        self.assertIn('did you mean "fanq bench pipe"?', self.fails(2, "bench", "piep").err)

    def test_bench_of_fan_out(self):
        before = self.ok("queue", "ls").out
        result = self.json("bench", "fanout", "-d", "300ms", "--subscribers", "3")
        self.assertEqual((result["case"], result["size"], result["subscribers"]), ("fanout", 128, 3))
        self.assertGreater(result["delivered_per_s"], 0)
        process = self.start("bench", "fanout", "-d", "60s")
        self.eventually(lambda: b"fanq-bench-" in self.ok("topic", "ls").out)
        process.send_signal(signal.SIGINT)
        self.assertEqual(process.wait(TIMEOUT_S), 130)
        self.assertEqual(self.ok("queue", "ls").out, before)

    def test_a_broker_that_goes_ends_a_receive_and_pauses_a_tail(self):
        broker = Broker()
        env = environment(FANQ_URL=broker.url)
        receiver = subprocess.Popen([FANQ, "recv", "going", "--wait", "60s"], stderr=subprocess.PIPE, env=env)
        self.addCleanup(self.end, receiver)
        tail = subprocess.Popen([FANQ, "tail", "--topic", "going"], stderr=subprocess.PIPE, env=env)
        self.addCleanup(self.end, tail)
        self.assertIn(b"following topic going", tail.stderr.readline())
        self.eventually(lambda: b'"consumers":1' in fanq("--json", "queue", "info", "going", env=env).out)
        broker.stop()
        self.assertEqual(receiver.wait(TIMEOUT_S), 5)
        self.assertIn(b"trying again", tail.stderr.readline())
        tail.send_signal(signal.SIGINT)
        self.assertEqual(tail.wait(TIMEOUT_S), 130)

    def test_without_auto_create_what_is_missing_is_missing(self):
        broker = Broker("--auto-create", "off")
        self.addCleanup(broker.stop)
        for command in (["send", "q", "x"], ["recv", "q"], ["send", "q", "--line"]):
            result = fanq("--url", broker.url, *command, stdin=b"x\n")
            self.assertEqual(result.code, 4, result.err)
            self.assertEqual(result.out, b"")
        self.assertEqual(fanq("--url", broker.url, "pub", "t", "x").code, 4)

    def test_a_full_broker_holds_the_sender_back(self):
        broker = Broker("--memory-bytes-max", "8M", "--frame-bytes-max", "1M",
                        "--message-bytes-max", "64k")
        self.addCleanup(broker.stop)
        env = environment(FANQ_URL=broker.url)
        lines = (b"z" * 1023 + b"\n") * 20000
        sender = subprocess.Popen([FANQ, "send", "full", "--line"], stdin=subprocess.PIPE, stderr=subprocess.PIPE, env=env)
        self.addCleanup(self.end, sender)
        receiver = subprocess.Popen([FANQ, "recv", "full", "-n", "20000", "--wait", "20s", "--line"],
                                    stdout=subprocess.PIPE, env=env)
        self.addCleanup(self.end, receiver)
        writer = threading.Thread(target=lambda: (sender.stdin.write(lines), sender.stdin.close()))
        writer.start()
        received = receiver.communicate(timeout=TIMEOUT_S)[0]
        writer.join()
        self.assertEqual(sender.wait(TIMEOUT_S), 0)
        self.assertTrue(received == lines)

    def test_a_broker_that_stays_full_fails_the_rest(self):
        broker = Broker("--memory-bytes-max", "8M", "--frame-bytes-max", "1M",
                        "--message-bytes-max", "64k")
        self.addCleanup(broker.stop)
        result = fanq("--url", broker.url, "--timeout", "1s", "send", "full", "--line", stdin=(b"z" * 1023 + b"\n") * 20000)
        self.assertEqual(result.code, 7)
        self.assertIn("not taken", result.err)
        self.assertIn("the rest of the input was not read", result.err)


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[3:]], verbosity=1)

"""fanqd from its start to its end: flags, ports, sockets, readiness, draining."""
import os
import signal
import socket
import stat
import tempfile
import threading
import time
import unittest

import broker
from broker import Broker
from wire import *


class Starting(unittest.TestCase):
    def test_port_file_is_one_line_with_the_port(self):
        with Broker() as b:
            with open(b.port_file) as file:
                self.assertEqual(file.read(), "%d\n" % b.port)
            self.assertEqual(sorted(os.listdir(b.directory)), ["log", "port", "socket"])
            with Client(b.port) as c:
                self.assertEqual(c.ask(PING)[0], R_OK)

    def test_unix_socket_serves_and_goes_with_the_broker(self):
        with Broker() as b:
            self.assertTrue(stat.S_ISSOCK(os.stat(b.unix).st_mode))
            with Client(b.unix) as c:
                self.assertEqual(c.ask(PING)[0], R_OK)
            self.assertEqual(b.stop(), 0)
            self.assertFalse(os.path.exists(b.unix))

    def test_unix_socket_left_behind_is_replaced(self):
        with tempfile.TemporaryDirectory() as directory:
            path = os.path.join(directory, "s")
            left = socket.socket(socket.AF_UNIX)
            left.bind(path)
            left.close()
            with Broker("--unix", path) as b, Client(path) as c:
                self.assertEqual(c.ask(PING)[0], R_OK)

    def test_unix_socket_in_use_is_left_alone(self):
        with Broker() as b:
            code, _, text = broker.run("--port", "0", "--unix", b.unix)
            self.assertEqual(code, 1)
            self.assertIn("choose another --unix PATH", text)
            with Client(b.unix) as c:
                self.assertEqual(c.ask(PING)[0], R_OK)

    def test_file_in_the_way_of_the_unix_socket_is_left_alone(self):
        with tempfile.NamedTemporaryFile() as file:
            code, _, _ = broker.run("--port", "0", "--unix", file.name)
            self.assertEqual(code, 1)
            self.assertTrue(os.path.exists(file.name))

    def test_used_port_says_what_to_type(self):
        with Broker() as b:
            code, out, text = broker.run("--port", str(b.port))
            self.assertEqual((code, out), (1, ""))
            self.assertIn("port %d of 127.0.0.1 is in use" % b.port, text)
            self.assertIn("--port 0", text)

    def test_foreign_address_says_what_to_type(self):
        code, _, text = broker.run("--listen", "192.0.2.1", "--port", "0")
        self.assertEqual(code, 1)
        self.assertIn("--listen 0.0.0.0", text)

    def test_flags_that_are_wrong_end_with_2_and_environment_with_78(self):
        self.assertEqual(broker.run("--prot", "1")[0], 2)
        self.assertIn("Did you mean --port?", broker.run("--prot", "1")[2])
        self.assertEqual(broker.run(env={"FANQD_PORT": "x"})[0], 78)
        self.assertEqual(broker.run("--message-bytes-max", "9M")[0], 78)

    def test_help_and_version_are_data(self):
        code, out, text = broker.run("--help")
        self.assertEqual((code, text), (0, ""))
        for flag in ("--frame-bytes-max SIZE", "--listen ADDRESS[:PORT]", "--drain-ms TIME"):
            self.assertIn(flag, out)
        code, out, text = broker.run("--version")
        self.assertEqual((code, text), (0, ""))
        self.assertRegex(out, r"^fanqd \d+\.\d+\.\d+\n$")

    def test_banner_tells_port_storage_and_access(self):
        with Broker() as b:
            self.assertTrue(broker.wait_until(lambda: "ready in" in b.log_text()))
            text = b.log_text()
            self.assertIn("fanq://127.0.0.1:%d" % b.port, text)
            self.assertIn("memory only: messages vanish on exit", text)
            self.assertIn("this machine only", text)
            self.assertIn('Try: export FANQ_URL=fanq://127.0.0.1:%d && fanq send hello' % b.port, text)

    def test_banner_tells_commands_that_work_there(self):
        for flags, start in ((("--listen", "0.0.0.0"), "fanq://127.0.0.1:%d && fanq queue create hello && "),
                             (("--listen", "127.0.0.2"), "fanq://127.0.0.2:%d && fanq send hello "),
                             (("--listen", "127.0.0.1", "--auto-create", "off"),
                              "fanq://127.0.0.1:%d && fanq queue create hello && ")):
            with Broker(*flags) as b:
                self.assertTrue(broker.wait_until(lambda: "Try:" in b.log_text()))
                self.assertIn("Try: export FANQ_URL=" + start % b.port, b.log_text())

    def test_unwritable_port_file_is_an_error(self):
        code, _, text = broker.run("--port", "0", "--port-file", "/nonexistent/port")
        self.assertEqual(code, 1)
        self.assertIn("--port-file", text)

    def test_supervisor_is_told(self):
        with tempfile.TemporaryDirectory() as directory:
            path = os.path.join(directory, "notify")
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
                s.bind(path)
                s.settimeout(20)
                with Broker(env={"NOTIFY_SOCKET": path}) as b:
                    self.assertEqual(s.recv(100), b"READY=1")

    def test_auto_create_is_told_and_follows_the_reach(self):
        with Broker() as b, Client(b.port) as c:
            self.assertIs(c.greeting[-1], True)
            self.assertEqual(c.ask(SEND, "new", 0, [record(b"x")])[0], R_OK_RANGE)
        with Broker("--listen", "0.0.0.0") as b, Client(b.port) as c:
            self.assertIs(c.greeting[-1], False)
            self.assertEqual(c.ask(SEND, "new", 0, [record(b"x")])[0], R_ERROR)


class Stopping(unittest.TestCase):
    def test_long_polls_are_answered_empty_and_the_exit_is_0(self):
        with Broker() as b:
            pollers = [Client(b.port) for _ in range(20)]
            for i, c in enumerate(pollers):
                c.start(RECEIVE, ["q%d" % i], 10, 100000, 60000, None, 0)
            with Client(b.port) as c:
                self.assertTrue(broker.wait_until(lambda: c.stats()["waiters"] == 20))
            b.signal(signal.SIGTERM)
            for c in pollers:
                reply = c.read()
                self.assertEqual((reply[0], reply[5]), (R_DELIVER, []))
                self.assertEqual(c.ended(), [])
                c.close()
            self.assertEqual(b.wait(), 0)

    def test_pushes_end_with_draining(self):
        with Broker() as b, Client(b.port) as c:
            push = c.start(PUSH, 0, "q", 0, 100, 100000, None)
            self.assertEqual(c.read()[:2], [R_OK, push])
            b.signal(signal.SIGINT)
            self.assertEqual(c.read()[:3], [R_PUSH_END, push, E_DRAINING])
            self.assertEqual(c.ended(), [])
            c.close()
            self.assertEqual(b.wait(), 0)

    def test_answers_under_way_are_delivered(self):
        with Broker("--message-bytes-max", "4M") as b, Client(b.port, receive_buffer=8192) as c:
            body = os.urandom(3 << 20)
            c.ask(SEND, "q", 0, [record(body)])
            c.start(RECEIVE, ["q"], 1, 1, 0, None, 0)
            with Client(b.port) as other:
                self.assertTrue(broker.wait_until(lambda: other.stats()["delivered"] == 1))
            b.signal(signal.SIGTERM)
            reply = c.read()
            self.assertEqual(reply[5][0][6], [record(body)])
            c.close()
            self.assertEqual(b.wait(), 0)

    def test_sleeping_client_does_not_hold_the_exit(self):
        with Broker() as b, Client(b.port) as c:
            c.ask(PING)
            start = time.monotonic()
            b.signal(signal.SIGTERM)
            self.assertEqual(b.wait(), 0)  # and c has not closed its end
            self.assertLess(time.monotonic() - start, 1.0)

    def test_reader_that_never_reads_is_given_up_after_drain_ms(self):
        with Broker("--drain-ms", "300ms") as b, Client(b.port, receive_buffer=4096) as c:
            for _ in range(16):
                c.ask(SEND, "q", 0, [record(bytes(1 << 19))])
            c.start(PUSH, 0, "q", 0, 1000, 1 << 30, None)
            with Client(b.port) as other:
                self.assertTrue(broker.wait_until(lambda: other.stats()["delivered"] > 0))
            start = time.monotonic()
            self.assertEqual(b.stop(), 0)
            self.assertLess(time.monotonic() - start, 5)

    def test_second_signal_ends_at_once(self):
        with Broker("--drain-ms", "60s") as b, Client(b.port, receive_buffer=4096) as c:
            for _ in range(16):
                c.ask(SEND, "q", 0, [record(bytes(1 << 19))])
            c.start(PUSH, 0, "q", 0, 1000, 1 << 30, None)
            with Client(b.port) as other:
                self.assertTrue(broker.wait_until(lambda: other.stats()["output_held_bytes"] > 0))
            b.failure_expected = True
            b.signal(signal.SIGTERM)
            self.assertTrue(broker.wait_until(lambda: "stopping" in b.log_text()))
            b.signal(signal.SIGTERM)
            self.assertEqual(b.wait(10), 1)

    def test_busy_clients_do_not_keep_it(self):
        with Broker() as b:
            def publish():
                try:
                    with Client(b.port) as c:
                        while True:
                            c.ask(PUBLISH, "t", 0, [record(b"x" * 100)] * 100)
                except (EOFError, ConnectionError):
                    pass
            threads = [threading.Thread(target=publish) for _ in range(4)]
            for t in threads:
                t.start()
            with Client(b.port) as c:
                self.assertTrue(broker.wait_until(lambda: c.stats()["published"] > 10000))
            self.assertEqual(b.stop(), 0)
            for t in threads:
                t.join()

    def test_no_new_connections_while_draining(self):
        with Broker() as b:
            idle = Client(b.port)
            b.signal(signal.SIGTERM)
            self.assertEqual(idle.ended(), [])
            with self.assertRaises(OSError):
                Client(b.port)
            idle.close()
            self.assertEqual(b.wait(), 0)


if __name__ == "__main__":
    broker.main()

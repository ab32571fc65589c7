"""A broker whose disk is slow, full, or broken: what it answers, when, and what is there afterwards."""
import signal
import time
import unittest

import broker
from broker import wait_until
from durable import *
from faults import Faults
from wire import *


class Shim(Durable):
    def setUp(self):
        super().setUp()
        self.faults = Faults()
        self.addCleanup(self.faults.close)

    def start(self, *flags, env=None):
        return super().start(*flags, env={**self.faults.environment, **(env or {})})


class Syncing(Shim):
    def test_every_answer_has_its_sync(self):
        c = self.start()
        c.make("q")
        for i in range(100):
            begun = self.faults.syncs_begun
            c.put("q", b"x")
            self.assertGreater(self.faults.syncs_ended, begun)  # one that began after the request

        def agree():
            before = self.faults.syncs_ended
            told = c.stats()["log_syncs"]
            return before == told == self.faults.syncs_ended

        self.assertTrue(wait_until(agree), (self.faults.syncs_ended, c.stats()["log_syncs"]))

    def test_syncs_are_shared(self):
        """What gathers during a sync is the next one."""
        c = self.start()
        c.make("q")
        self.faults.sync_delay_ms = 50
        before = self.faults.syncs_ended
        for _ in range(2000):
            c.start(SEND, "q", 0, [record(b"x")])
            time.sleep(0.0001)
        answered = 0
        while answered < 2000:
            reply = c.read()
            self.assertEqual(reply[0], R_OK_RANGE)
            answered += reply[2]
        self.assertLess(self.faults.syncs_ended - before, 100)

    def test_nothing_is_answered_or_seen_before_its_sync(self):
        c = self.start()
        c.make("q")
        other, third = self.connect(), self.connect()
        self.faults.sync_delay_ms = 700
        waiting = other.start(RECEIVE, ["q"], 10, MIB, 20000, None, 0)
        since = time.monotonic()
        c.start(SEND, "q", 0, [record(b"x")])
        while time.monotonic() - since < 0.5:  # the loop is not held up
            begun = time.monotonic()
            self.assertEqual(third.ask(PING)[0], R_OK)
            self.assertLess(time.monotonic() - begun, 0.3)
        self.assertEqual(c.read()[0], R_OK_RANGE)
        self.assertGreater(time.monotonic() - since, 0.69)
        delivery = other.read()
        self.assertEqual((delivery[1], records(delivery)), (waiting, [record(b"x")]))
        self.assertGreater(time.monotonic() - since, 0.69)
        since = time.monotonic()  # deletes, and everything else that changes, too
        c.delete(delivery)
        self.assertGreater(time.monotonic() - since, 0.69)
        since = time.monotonic()
        c.make("another")
        self.assertGreater(time.monotonic() - since, 0.69)
        since = time.monotonic()
        self.assertEqual(c.ask(PURGE, "q")[0], R_OK)
        self.assertGreater(time.monotonic() - since, 0.3)
        self.faults.sync_delay_ms = 0

    def test_an_early_queue_sees_before_the_sync(self):
        c = self.start()
        c.make("early", attributes={3: True})
        c.make("safe")
        c.ask(TOPIC_CREATE, "t")
        for queue in ("early", "safe"):
            self.assertEqual(c.ask(SUBSCRIBE, "t", queue)[0], R_OK)
        early, safe = self.connect(), self.connect()
        self.faults.sync_delay_ms = 700
        for client, queue in ((early, "early"), (safe, "safe")):
            client.start(RECEIVE, [queue], 10, MIB, 20000, None, 0)
        since = time.monotonic()
        c.start(PUBLISH, "t", 0, [record(b"x")])
        delivery = early.read()
        self.assertEqual(records(delivery), [record(b"x")])
        self.assertLess(time.monotonic() - since, 0.4)
        time.sleep(0.2)  # now the message's sync has begun, also on a busy machine
        early.delete(delivery)  # answered when it is safe itself: by the sync after the message's
        self.assertGreater(time.monotonic() - since, 1.39)
        self.faults.sync_delay_ms = 0
        self.assertEqual(c.read()[0], R_OK_RANGE)
        self.assertEqual(records(safe.read()), [record(b"x")])

    def test_an_early_queue_has_what_was_answered(self):
        """The publisher is not answered before the sync, and what it was not answered may be gone."""
        c = self.start()
        c.make("q", attributes={3: True})
        c.put("q", b"answered")
        other = self.connect()
        self.assertEqual(len(records(other.get("q"))), 1)
        self.faults.sync_delay_ms = 60000
        waiting = self.connect(timeout=0.5)
        waiting.start(SEND, "q", 0, [record(b"not answered")])
        self.assertEqual(records(other.get("q", wait_ms=20000)), [record(b"not answered")])
        with self.assertRaises(TimeoutError):
            waiting.read()
        self.faults.sync_delay_ms = 0
        c = self.again()
        left = records(c.get("q"))
        self.assertEqual(left[0], record(b"answered"))
        self.assertIn(left[1:], ([], [record(b"not answered")]))
        self.assertTrue(c.info("q")[4][3])  # it is early still

    def test_other_modes_do_not_wait(self):
        for mode in ("async:10ms", "none"):
            c = self.start("--fsync", mode)
            c.make(*(["q"] if mode != "none" else []))
            time.sleep(0.5)  # one thread writes and syncs: what comes during a sync waits for it, in any mode
            self.faults.sync_delay_ms = 1500
            since = time.monotonic()
            c.put("q", b"x")
            self.assertLess(time.monotonic() - since, 1)
            self.faults.sync_delay_ms = 0
            self.end()

    def test_async_syncs_in_time(self):
        c = self.start("--fsync", "async:50ms")
        c.make("q")
        time.sleep(0.5)
        before = self.faults.syncs_ended
        c.put("q", b"x")
        self.assertTrue(wait_until(lambda: self.faults.syncs_ended > before, 2))

    def test_long_stalls(self):
        """Others are answered meanwhile, and it goes on as if nothing had been."""
        c, other = self.start(), self.connect()
        c.make("q")
        other.put("q", b"before")
        self.faults.sync_delay_ms = 2000
        for i in range(3):
            c.start(SEND, "q", 0, [record(b"%d" % i)])
            since = time.monotonic()
            while time.monotonic() - since < 1:
                begun = time.monotonic()
                self.assertEqual(other.ask(PING)[0], R_OK)
                self.assertEqual(other.info("q")[0], R_QUEUE)
                self.assertLess(time.monotonic() - begun, 0.3)
        answered = 0
        while answered < 3:
            answered += c.read()[2]
        self.faults.sync_delay_ms = 0
        self.assertEqual(len(c.take_all("q")), 4)


class Failing(Shim):
    def fails(self, fault):
        c, other = self.start(), self.connect()
        c.make("q")
        for i in range(100):
            c.put("q", b"%d" % i)
        setattr(self.faults, fault, 1)
        c.start(SEND, "q", 0, [record(b"perhaps")])
        self.assertEqual([r for r in c.ended() if r[0] in (R_OK_RANGE, R_PUBLISHED)], [])
        self.broker.failure_expected = True
        self.assertNotEqual(self.broker.wait(), 0)
        other.ended()
        self.assertIn("the log has failed", self.broker.log_text())
        self.end_of_failed()
        c = self.start()
        kept = c.take_all("q")
        self.assertEqual(kept[:100], [record(b"%d" % i) for i in range(100)])
        self.assertIn(kept[100:], ([], [record(b"perhaps")]))

    def end_of_failed(self):
        self.broker.__exit__(None)

    def test_failed_sync(self):
        self.fails("fail_syncs")

    def test_failed_write(self):
        self.fails("fail_writes")

    def test_failed_sync_in_the_other_modes(self):
        """Even where nobody waits for it: what was promised to follow does not."""
        c = self.start("--fsync", "async:10ms")
        c.make("q")
        c.put("q", b"x")
        self.faults.fail_syncs = 1
        try:
            c.put("q", b"y")
        except EOFError:
            pass
        self.broker.failure_expected = True
        self.assertNotEqual(self.broker.wait(), 0)


class Stopping(Shim):
    """SIGTERM while the disk stands still."""
    STALL_MS = 8000

    def stall(self):
        c = self.start("--drain-ms", "300ms")
        c.make("q")
        c.put("q", b"answered")
        self.faults.sync_delay_ms = self.STALL_MS
        before = self.faults.syncs_begun
        c.start(SEND, "q", 0, [record(b"perhaps")])
        self.assertTrue(wait_until(lambda: self.faults.syncs_begun > before))
        self.since = time.monotonic()
        self.broker.signal(signal.SIGTERM)
        return c

    def nothing_is_lost(self, c):
        self.assertEqual([r for r in c.ended() if r[0] in (R_OK_RANGE, R_PUBLISHED)], [])
        self.broker.__exit__(None)
        self.faults.sync_delay_ms = 0
        kept = self.start().take_all("q")
        self.assertEqual(kept[:1], [record(b"answered")])
        self.assertIn(kept[1:], ([], [record(b"perhaps")]))

    def test_it_waits_and_says_so(self):
        c = self.stall()
        self.assertTrue(wait_until(lambda: "the disk is slow" in self.broker.log_text(), 5))
        self.assertEqual(self.broker.wait(30), 0)
        self.assertGreater(time.monotonic() - self.since, self.STALL_MS / 1000 - 1)
        self.nothing_is_lost(c)

    def test_a_second_signal_ends_at_once(self):
        for when, code in (("stopping", 1), ("the disk is slow", -signal.SIGTERM)):
            with self.subTest(when=when):
                self.new_directory()
                c = self.stall()
                self.assertTrue(wait_until(lambda: when in self.broker.log_text(), 5))
                self.broker.failure_expected = True
                self.broker.signal(signal.SIGTERM)
                self.assertEqual(self.broker.wait(30), code)
                self.assertLess(time.monotonic() - self.since, 3)
                self.nothing_is_lost(c)


class DiskFull(Shim):
    """Publishers are told to wait, consumers drain, and it goes on by itself."""
    BODY = 60000

    def fill(self, c, first):
        """Sends until there is no room. Gives the number of the next message."""
        while True:
            reply = c.ask(SEND, "q", 0, [record(b"%08d" % (first + i) + bytes(self.BODY)) for i in range(10)])
            if reply[0] == R_ERROR:
                self.assertEqual(reply[2], E_NO_ROOM)
                return first
            first += 10
            self.assertLess(first * self.BODY, 3000 * MIB)

    def drain(self, c):
        """Gives the numbers."""
        return [int(r[1:9]) for r in c.take_all("q")]

    def room_comes(self, c):
        """In time, without a restart; gives how many messages it took to see it."""
        end = time.monotonic() + 60
        while c.ask(SEND, "q", 0, [record(b"99999999")])[0] == R_ERROR:
            self.assertLess(time.monotonic(), end, "there is no room, though everything was deleted")
            time.sleep(0.05)
        self.assertEqual(self.drain(c), [99999999])

    def three_times(self, *flags, full):
        c = self.start("--fsync", "async", *flags)
        c.make("q")
        self.assertTrue(wait_until(lambda: c.stats()["segments_spare"] > 0))
        c = self.again(True, "--fsync", "async", *flags)  # in a segment that was prepared
        first = 0
        for _ in range(3):
            full(True)
            end = self.fill(c, first)
            self.assertEqual(c.ask(PING)[0], R_OK)
            self.assertEqual(c.ask(SEND, "q", 0, [record(b"x")])[:3:2], [R_ERROR, E_NO_ROOM])
            self.assertEqual(self.drain(c), list(range(first, end)))
            full(False)
            self.room_comes(c)
            first = end
        self.assertGreater(first, 0)
        self.assertRegex(self.broker.log_text(), 'publishes are refused|cannot prepare a segment')
        self.assertIn('level=info msg="the disk has room again"', self.broker.log_text())
        full(True)
        end = self.fill(c, first)
        full(False)
        c = self.again()
        self.assertEqual(self.drain(c), list(range(first, end)))

    def test_own_limit(self):
        self.three_times("--disk-bytes-max", "512M", full=lambda on: None)

    def test_file_system(self):
        def full(on):
            self.faults.full = 1 if on else 0

        self.three_times(full=full)
        self.assertGreater(self.faults.full_told, 0)

    def test_file_system_that_is_full_from_the_first_moment(self):
        c = self.start("--fsync", "async")
        c.make("q")
        self.faults.full = 1
        end = self.fill(c, 0)
        self.assertEqual(self.drain(c), list(range(end)))


class FilledByOthers(Shim):
    """Publishes are refused, but what is no message goes on: the log lives on the segments that it has."""
    SEGMENTS, WINDOW, MESSAGES = 5, 1000, 100

    def flood(self, c, queue, log_bytes):
        """Sets an attribute again and again, until the log has grown by so much. Gives the last value."""
        first, value = c.stats()["log_bytes"], 0
        while c.stats()["log_bytes"] < first + log_bytes:
            frames = b"".join(frame(QUEUE_SET, c.next_id + 1 + i, queue, {1: value + 1 + i}) for i in range(self.WINDOW))
            c.next_id += self.WINDOW
            value = (value + self.WINDOW) % 40000000
            for _ in range(10):
                c.send(frames)
                for _ in range(self.WINDOW):
                    self.assertEqual(c.read_payload()[1], R_QUEUE)
        return value

    def test_facts_without_end(self):
        c = self.start("--fsync", "async")
        flooded = "flooded" + 70 * "d"
        c.make("q", flooded)
        c.put("q", *(b"%d" % i for i in range(self.MESSAGES)))
        c = self.again(True, "--fsync", "async")
        self.assertTrue(wait_until(lambda: c.stats()["segments_spare"] >= 2))
        self.faults.full = 1
        before = c.stats()
        value = self.flood(c, flooded, self.SEGMENTS * 64 * MIB)
        after = c.stats()
        self.assertGreater(self.faults.full_told, 0)
        self.assertGreater(after["checkpoints"], before["checkpoints"] + self.SEGMENTS)
        self.assertLessEqual(after["segments"] + after["segments_spare"], before["segments"] + before["segments_spare"] + 1)
        self.assertNotIn("checkpoint", self.broker.log_text())
        self.end()
        self.assertEqual(self.check()[0], 0)
        self.faults.full = 0
        c = self.start()
        self.assertEqual(c.info(flooded)[4][1], value)
        self.assertEqual(c.take_all("q"), [record(b"%d" % i) for i in range(self.MESSAGES)])
        c = self.again(True)  # and a clean end writes its checkpoint
        self.assertEqual(c.info(flooded)[4][1], value)


if __name__ == "__main__":
    broker.main()

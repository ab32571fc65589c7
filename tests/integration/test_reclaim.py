"""Disk and memory come back: with messages that stay among many that go, and with a backlog far beyond the memory."""
import mmap
import os
import signal
import struct
import time
import unittest

import broker
from broker import wait_until
from durable import *
from wire import *


class Stragglers(Durable):
    BODY, BATCH, EVERY = 16000, 60, 1000
    DISK = 512 * MIB

    def disk_bytes(self):
        return sum(os.stat(self.path(n)).st_blocks * 512 for n in os.listdir(self.data))

    def test_few_messages_that_stay_do_not_fill_the_disk(self):
        """One in a thousand is never deleted, through three times as much traffic as the disk may hold."""
        c = self.start("--disk-bytes-max", str(self.DISK), "--fsync", "none", "--memory-bytes-max", "64M")
        c.make("q", attributes={1: 3600000})
        sent, kept, most = 0, [], 0
        filler = os.urandom(self.BODY)
        while sent * self.BODY < 3 * self.DISK:
            reply = c.ask(SEND, "q", 0, [record(b"%08d" % (sent + i) + filler) for i in range(self.BATCH)])
            self.assertEqual(reply[0], R_OK_RANGE, (reply, sent, c.stats()))
            sent += self.BATCH
            taken = 0
            while taken < self.BATCH:
                d = c.get("q")
                ranges = []
                for s in d[5]:
                    for i, r in enumerate(s[6]):
                        taken += 1
                        if int(r[1:9]) % self.EVERY == 0:
                            kept.append(int(r[1:9]))
                        else:
                            ranges += [s[0], s[2] + i, 1]
                self.assertEqual(c.ask(ACK, d[2], d[3], ranges)[0], R_OK_RANGE)
            if sent % (100 * self.BATCH) == 0:
                most = max(most, self.disk_bytes())
        self.assertLessEqual(most, self.DISK + 16 * MIB)  # checkpoints and indexes beside the segments
        self.assertGreater(len(kept), 90)
        c = self.again()
        self.assertEqual(c.info("q")[VISIBLE], len(kept))
        self.assertEqual(sorted(int(r[1:9]) for r in c.take_all("q")), sorted(kept))

    def test_many_segments_of_traffic_leave_few(self):
        c = self.start("--fsync", "none")
        c.make("q")
        batch = [record(os.urandom(self.BODY)) for _ in range(self.BATCH)]
        for _ in range(1000):
            self.assertEqual(c.ask(SEND, "q", 0, batch)[0], R_OK_RANGE)
            self.assertEqual(len(c.take_all("q")), self.BATCH)
        # The one that is filled, one that the next checkpoint lets go, and five spares; some small files.
        self.assertTrue(wait_until(lambda: self.disk_bytes() <= 7 * 64 * MIB + MIB, 60), c.stats())


class ShortRuns(Durable):
    LIMIT = 5 * 64 * MIB

    def test_runs_that_leave_next_to_nothing_do_not_fill_the_disk(self):
        """Each begins a segment. That old ones are emptied, and go, needs nobody who deletes anything."""
        for run in range(8):
            c = self.start("--disk-bytes-max", str(self.LIMIT))
            if run == 0:
                c.make("q")
            self.assertTrue(wait_until(lambda: c.ask(SEND, "q", 0, [record(b"%d" % run)])[0] == R_OK_RANGE), c.stats())
            self.end(clean=run % 2 == 1)
        self.assertEqual(self.start().info("q")[VISIBLE], 8)

    def test_a_limit_that_leaves_no_room_is_refused(self):
        text = self.refused("--disk-bytes-max", str(self.LIMIT - 1))
        self.assertIn("--disk-bytes-max", text)
        self.assertIn(str(self.LIMIT), text)


class Moving(Durable):
    """What is left of a segment is moved. Of each block every queue of its topic is asked whether it wants it."""
    QUEUES, SINGLE, BODY, BATCH = 10000, 150, 100000, 60

    def flood(self, c, op, *requests):
        for i in range(0, len(requests), 1000):
            part = requests[i:i + 1000]
            c.send(b"".join(frame(op, 1, *fields) for fields in part))
            for _ in part:
                reply = c.read()
                self.assertNotEqual(reply[0], R_ERROR, reply)

    def test_very_many_queues_are_asked_in_parts(self):
        c = self.start("--disk-bytes-max", "500M", "--fsync", "none")
        names = ["q%d" % i for i in range(self.QUEUES)]
        c.ask(TOPIC_CREATE, "t")
        c.make("keep", "other")
        self.flood(c, QUEUE_CREATE, *((name, {}) for name in names))
        self.flood(c, SUBSCRIBE, *(("t", name) for name in names))
        c.ask(SUBSCRIBE, "t", "keep")  # the last one to be asked, and the only one that wants anything
        batch = [record(os.urandom(self.BODY)) for _ in range(self.BATCH)]
        self.flood(c, PURGE, *((name,) for name in names))

        def traffic():
            for _ in range(self.SINGLE):
                c.publish("t", b"stays")
            self.flood(c, PURGE, *((name,) for name in names))
            self.assertEqual(c.ask(SEND, "other", 0, batch)[0], R_OK_RANGE)
            c.take_all("other")
            return c.stats()["moved_bytes"] > 0

        self.assertTrue(wait_until(traffic, 120), c.stats())
        self.assertLess(c.stats()["turn_cpu_us_max"], 50000 * (20 if broker.SANITIZED else 1))


class Backlog(Durable):
    """A memory of 64 MiB, a backlog of four times that in twenty queues, and publishers that go on."""
    MEMORY, CACHE, REST = 64 * MIB, 32 * MIB, 64 * MIB
    QUEUES, BODY, BATCH = 20, 4000, 25
    flags = ("--memory-bytes-max", "64M", "--cache-bytes-max", "32M")

    def publish_on(self, counter):
        """In a process of its own: sends to one queue after the other, and counts."""
        pid = os.fork()
        if pid != 0:
            self.addCleanup(self.stop_publisher, pid)
            return pid
        try:
            c = DurableClient(self.broker.port, timeout=60)
            batch = [record(os.urandom(self.BODY)) for _ in range(self.BATCH)]
            count = 0
            while c.ask(SEND, "q%d" % (count % self.QUEUES), 0, batch)[0] == R_OK_RANGE:
                count += 1
                struct.pack_into("Q", counter, 0, count)
        finally:
            os._exit(0)

    @staticmethod
    def stop_publisher(pid):
        try:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        except (ProcessLookupError, ChildProcessError):
            pass

    def rate(self, counter, work):
        """Publishes a second while the work is done."""
        before, since = struct.unpack_from("Q", counter)[0], time.monotonic()
        work()
        return (struct.unpack_from("Q", counter)[0] - before) / (time.monotonic() - since)

    def test_draining_one_queue_of_many(self):
        c = self.start()
        c.make(*("q%d" % i for i in range(self.QUEUES)))
        counter = mmap.mmap(-1, mmap.PAGESIZE)
        pid = self.publish_on(counter)
        fill = 4 * self.MEMORY // (self.BODY * self.BATCH)
        self.assertTrue(wait_until(lambda: struct.unpack_from("Q", counter)[0] >= fill, 120))
        self.assertLess(self.broker.rss_bytes(), self.MEMORY + self.CACHE + self.REST)
        slowest = []
        for queue in ("q7", "q8", "q9"):  # three, since other programs may be what slows it
            alone = self.rate(counter, lambda: time.sleep(2))
            taken, before = 0, c.stats()["read_bytes"]
            waiting = c.info(queue)[VISIBLE]

            def drain():
                nonlocal taken
                while taken < waiting:
                    d = c.get(queue)
                    taken += len(records(d))
                    c.delete(d)

            beside = self.rate(counter, drain)
            self.assertLessEqual(c.stats()["read_bytes"] - before, 3 * taken * self.BODY)
            self.assertLess(self.broker.rss_bytes(), self.MEMORY + self.CACHE + self.REST)
            slowest.append(beside / alone)
        self.assertGreater(max(slowest), 0.5, slowest)
        self.stop_publisher(pid)
        self.assertLess(self.broker.peak_bytes(), self.MEMORY + self.CACHE + self.REST)

    def test_a_backlog_comes_back_whole_and_in_order(self):
        """Also after a restart, when none of it is in memory."""
        c = self.start("--fsync", "none")
        c.make("a", "b")
        filler = os.urandom(self.BODY)
        count = 3 * self.MEMORY // self.BODY // 100 * 100
        for i in range(0, count, 100):
            for queue in ("a", "b"):
                c.ask(SEND, queue, 0, [record(b"%08d" % (i + k) + filler) for k in range(50 if queue == "b" else 100)])

        def take(queue, most):
            taken = []
            while len(taken) < most:
                d = c.get(queue)
                self.assertTrue(d[5])
                self.assertTrue(all(r[9:] == filler for r in records(d)))
                taken += [int(r[1:9]) for r in records(d)]
                c.delete(d)
            return taken

        first = take("a", count // 2)
        c = self.again()
        first += take("a", count - len(first))
        self.assertEqual(first, list(range(count)))
        self.assertEqual(take("b", count // 2), [n for n in range(count) if n % 100 < 50])
        self.assertLess(self.broker.peak_bytes(), self.MEMORY + self.CACHE + self.REST)
        self.assertEqual(self.again(True).info("a")[VISIBLE], 0)


if __name__ == "__main__":
    broker.main()

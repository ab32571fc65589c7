"""Copies of a directory that a running broker uses: `fanq backup`, and what it stands on, BACKUP and BACKUP_END."""
import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import unittest

import broker
from broker import Broker, wait_until
from durable import *
from wire import *

FANQ = os.environ["FANQ"]
BACKUP, BACKUP_END, R_BACKUP = 27, 28, 78
E_INVALID, E_BACKUP_ENDED = 1, 26
SEGMENT_BYTES = 64 * MIB
TOO_LONG = "it took longer than backup_ms_max, with those that it overlapped"


def fanq_command(url, *words):
    env = {**broker.environment(), "FANQ_URL": url,
           "PATH": os.path.dirname(broker.FANQD) + ":" + os.environ["PATH"]}  # its check is by the fanqd under test
    return subprocess.Popen([FANQ, *words], env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True)


def finish(process):
    """Its exit code, and all it said."""
    out, err = process.communicate(timeout=120)
    return process.returncode, out + err


class Backup(Durable):
    def setUp(self):
        super().setUp()
        self.targets = tempfile.mkdtemp(prefix="fanq-test-")
        self.addCleanup(shutil.rmtree, self.targets, True)

    def target(self, name="copy"):
        return os.path.join(self.targets, name)

    def url(self):
        return "fanq://127.0.0.1:%d" % self.broker.port

    def back_up(self, name="copy", *words):
        return finish(fanq_command(self.url(), "backup", self.target(name), *words))

    def backed_up(self, name="copy", *words):
        code, text = self.back_up(name, *words)
        self.assertEqual(code, 0, text)
        return text

    def holders(self):
        with DurableClient(self.broker.port) as client:
            return client.ask(STATS)[2]["backups"]

    def churn(self, c, segments):
        """Sends and deletes as much as so many segments hold. Gives how many there were at the most."""
        body, most = os.urandom(MIB - 1000), 0
        for _ in range(segments * 6):
            for _ in range(10):
                c.put("q", body)
            c.take_all("q")
            most = max(most, c.ask(STATS)[2]["segments"])
        return most

    def on_copy(self, name="copy"):
        """A broker on the copy, and a client of it."""
        copy = Broker("--dir", self.target(name))
        self.addCleanup(self.put_away, copy)
        client = DurableClient(copy.port, timeout=30)
        self.addCleanup(client.close)
        return client


class Blocked:
    """A backup that is stopped in the middle: it reads the index of the segment that is being filled, which is a pipe."""

    def __init__(self, test, name="copy"):
        with DurableClient(test.broker.port) as c:
            c.make("first")  # so that there is a segment
        self.pipe = test.path("log-%016x.index" % 1)
        os.mkfifo(self.pipe)
        self.process = fanq_command(test.url(), "backup", test.target(name))
        self.writer = open(self.pipe, "wb")  # waits for the reader

    def let_go(self):
        self.writer.close()
        os.unlink(self.pipe)
        return finish(self.process)


class UnderLoad(Backup):
    """Publishers and consumers go on; the copy has what was answered before, and nothing that was deleted before."""
    BODY_BYTES = 20000

    def publish_on(self, number, sent):
        with DurableClient(self.broker.port) as c:
            for i in range(10 ** 9):
                if self.over.is_set():
                    return
                bodies = [b"%d-%d-%d." % (number, i, k) for k in range(8)]
                c.publish("t", *[body.ljust(self.BODY_BYTES, b"x") for body in bodies])
                sent.update(bodies)

    def consume_on(self, queue, asked, deleted):
        with DurableClient(self.broker.port) as c:
            while not self.over.is_set():
                delivery = c.get(queue, count=20, wait_ms=20)
                bodies = [self.body(r) for r in records(delivery)]
                asked.update(bodies)
                c.delete(delivery)
                deleted.update(bodies)
                time.sleep(0.05)  # so that a backlog grows

    @staticmethod
    def body(record_bytes):
        return record_bytes[1:].partition(b".")[0] + b"."

    def test_what_was_answered_before_is_in_the_copy(self):
        c = self.start("--memory-bytes-max", "64M")
        c.make("kept", attributes={1: 5000, 2: 100})
        c.make("worked", "untouched")
        c.ask(TOPIC_CREATE, "t")
        for queue in ("kept", "worked"):
            self.assertEqual(c.ask(SUBSCRIBE, "t", queue)[0], R_OK)
        c.put("untouched", b"one", b"two")
        self.over = threading.Event()
        sent, asked, deleted = [set(), set()], set(), set()
        threads = [threading.Thread(target=self.publish_on, args=(n, sent[n])) for n in range(2)]
        threads.append(threading.Thread(target=self.consume_on, args=("worked", asked, deleted)))
        for thread in threads:
            thread.start()
        try:
            self.assertTrue(wait_until(lambda: len(self.segments()) >= 3, 60))  # two are full
            before, deleted_before = set().union(*map(set, map(list, sent))), set(list(deleted))
            text = self.backed_up()
            asked_after = set(list(asked))
        finally:
            self.over.set()
            for thread in threads:
                thread.join()
        all_sent = set().union(*sent)
        self.assertIn("fine", text)
        self.assertGreater(len(before), 1000)
        self.assertGreater(len(deleted_before), 20)

        last = max(name for name in os.listdir(self.target()) if name.startswith("log-") and len(name) == 20)
        self.assertLess(os.stat(os.path.join(self.target(), last)).st_size, SEGMENT_BYTES)  # it was cut
        copy = self.on_copy()
        epoch, copied_epoch = c.ask(STATS)[2]["epoch"], copy.ask(STATS)[2]["epoch"]
        self.assertGreater(copied_epoch, epoch + 900)
        self.assertEqual(copy.info("kept")[4], {1: 5000, 2: 100, 3: False})
        self.assertEqual(copy.ask(SUBSCRIPTION_LIST, "t", "", 10)[2], ["kept", "worked"])
        kept = {self.body(r) for r in copy.take_all("kept")}
        worked = {self.body(r) for r in copy.take_all("worked")}
        self.assertLessEqual(before, kept)
        self.assertLessEqual(kept, all_sent)
        self.assertLessEqual(before - asked_after, worked)
        self.assertFalse(worked & deleted_before)
        self.assertEqual(copy.take_all("untouched"), [record(b"one"), record(b"two")])
        copy.publish("t", b"goes on.")
        self.assertEqual([self.body(r) for r in copy.take_all("kept")], [b"goes on."])

        # And the original has lost nothing by it.
        self.assertLessEqual(all_sent, {self.body(r) for r in c.take_all("kept")})


class KilledMeanwhile(Backup):
    """Power cuts do not wait for backups: the original has all that was answered, and half a copy is none."""
    BODY_BYTES = 20000

    def publish_on(self, first, sent):
        """Until the broker is gone."""
        try:
            with DurableClient(self.broker.port) as c:
                for i in range(first, 10 ** 9, 8):
                    bodies = [b"%d." % (i + k) for k in range(8)]
                    c.put("q", *[body.ljust(self.BODY_BYTES, b"x") for body in bodies])
                    sent.update(bodies)
        except (EOFError, ConnectionError):
            pass

    @staticmethod
    def bodies(client):
        """Without taking any."""
        at, found = None, set()
        while True:
            reply = client.ask(PEEK, "q", 1000, MIB, 7, at)
            found |= {r[1:].partition(b".")[0] + b"." for s in reply[3] for r in s[6]}
            at = reply[2]
            if at is None:
                return found

    def load(self, sent, messages):
        """Publishers until the broker is gone; there are so many messages more when this returns."""
        enough = len(sent) + messages
        threads = [threading.Thread(target=self.publish_on, args=(n * 10 ** 8 + enough * 10, sent)) for n in range(2)]
        for thread in threads:
            thread.start()
        self.assertTrue(wait_until(lambda: len(sent) >= enough, 60))
        return threads

    def kill_and_start(self, threads):
        self.broker.signal(signal.SIGKILL)
        for thread in threads:
            thread.join()
        return self.again()

    def test_the_broker(self):
        """In the middle for certain."""
        sent = set()
        self.start().make("q")
        threads = self.load(sent, 2000)
        blocked = Blocked(self)
        self.assertEqual(self.holders(), 1)
        at_first = len(sent)
        self.assertTrue(wait_until(lambda: len(sent) > at_first + 5000, 60))
        self.broker.signal(signal.SIGKILL)
        for thread in threads:
            thread.join()
        code, text = blocked.let_go()
        self.assertEqual(code, 5, text)
        self.assertIn("the connection to the broker was lost, and the backup with it", text)
        self.assertEqual(os.listdir(self.targets), [])
        c = self.again()
        self.assertLessEqual(sent, self.bodies(c))
        self.assertEqual(self.holders(), 0)
        self.end()
        self.assertEqual(self.check()[0], 0)

    def test_both(self):
        """At any moment, client and broker: what is left is refused, or has all that was answered before."""
        sent, whole = set(), 0
        c = self.start()
        c.make("q")
        for i, delay_ms in enumerate((0, 5, 20, 50, 100, 400)):
            threads = self.load(sent, 500)
            before = set(list(sent))
            backup = fanq_command(self.url(), "backup", self.target("copy%d" % i), "--no-check")
            time.sleep(delay_ms / 1000)
            backup.kill()
            c = self.kill_and_start(threads)
            finish(backup)
            whole += self.look_at(self.target("copy%d" % i), before)
            self.assertLessEqual(sent, self.bodies(c))
        self.assertLess(whole, 6)

    def look_at(self, path, before):
        """Whether it is a whole copy."""
        for copy in path, path + ".new":
            if not os.path.exists(copy) or os.listdir(copy) == []:
                continue
            if "identity" in os.listdir(copy):
                with Broker("--dir", copy) as b, DurableClient(b.port) as client:
                    self.assertLessEqual(before, self.bodies(client))
                return True
            code, _, text = broker.run("--port", "0", "--dir", copy)
            self.assertEqual(code, 1, text)
            self.assertIn("it is not a fanq directory", text)
            code, text = finish(fanq_command(self.url(), "backup", path))
            self.assertEqual(code, 1, text)
            self.assertIn("one was cut off there: remove it", text)
        return False


class Refused(Backup):
    def test_a_broker_in_memory(self):
        with Broker() as b:
            code, text = finish(fanq_command("fanq://127.0.0.1:%d" % b.port, "backup", self.target()))
            self.assertEqual(code, 1, text)
            self.assertIn("in memory only", text)
            with DurableClient(b.port) as c:
                self.assertEqual(c.ask(BACKUP)[:1] + c.ask(BACKUP)[2:3], [R_ERROR, E_UNSUPPORTED])
        self.assertEqual(os.listdir(self.targets), [])

    def test_a_connection_of_another_machine(self):
        probe = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.addCleanup(probe.close)
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing
        except OSError:
            self.skipTest("this machine has no address but that of the loopback")
        address = probe.getsockname()[0]
        self.start("--listen", "0.0.0.0")
        code, text = finish(fanq_command("fanq://%s:%d" % (address, self.broker.port), "backup", self.target()))
        self.assertEqual(code, 1, text)
        self.assertIn("connect on the broker's machine", text)

    def test_a_directory_that_is_there(self):
        self.start()
        os.mkdir(self.target())
        code, text = self.back_up()
        self.assertEqual(code, 1)
        self.assertIn("exists already", text)
        os.rmdir(self.target())
        os.mkdir(self.target("copy.new"))
        code, text = self.back_up()
        self.assertEqual(code, 1)
        self.assertIn("copy.new exists already", text)
        self.assertEqual(os.listdir(self.targets), ["copy.new"])
        self.assertTrue(wait_until(lambda: self.holders() == 0))

    def test_another_directory_under_the_same_path(self):
        self.start()
        self.flip("identity", 16)
        code, text = self.back_up()
        self.flip("identity", 16)
        self.assertEqual(code, 1)
        self.assertIn("is not the broker's directory", text)
        self.assertEqual(os.listdir(self.targets), [])

    def test_an_end_without_a_beginning_and_a_second_beginning(self):
        c = self.start()
        self.assertEqual(c.ask(BACKUP_END)[2], E_INVALID)
        self.assertEqual(c.ask(BACKUP)[0], R_BACKUP)
        self.assertEqual(c.ask(BACKUP)[2], E_INVALID)
        self.assertEqual(c.ask(BACKUP_END)[0], R_OK)
        self.assertEqual(c.ask(BACKUP_END)[2], E_INVALID)
        others = [self.connect() for _ in range(9)]
        self.assertEqual([other.ask(BACKUP)[0] for other in others], [R_BACKUP] * 8 + [R_ERROR])
        self.assertEqual(others[0].ask(BACKUP_END)[0], R_OK)
        self.assertEqual(others[8].ask(BACKUP)[0], R_BACKUP)

    def test_damage_is_found(self):
        c = self.start()
        c.make("q")
        c.put("q", b"a body to be found", b"and one behind it")
        name, at = self.find(b"a body to be found")
        c.put("q", b"and a commit")
        self.assertTrue(wait_until(lambda: c.ask(STATS)[2]["checkpoints"] > 0))
        self.flip(name, at)
        code, text = self.back_up()
        self.assertEqual(code, 1, text)
        self.assertIn("is damaged", text)
        self.flip(name, at)
        self.backed_up("again")


class Modes(Backup):
    def test_a_new_broker_and_a_unix_socket(self):
        self.start()
        code, text = finish(fanq_command("unix:" + self.broker.unix, "backup", self.target() + "/", "--json"))
        self.assertEqual(code, 0, text)
        self.assertEqual(json.loads(text.split("\n")[0])["directory"], self.target())
        copy = self.on_copy()
        copy.make("q")

    def test_what_is_not_synced_yet_is_in_it_too(self):
        for mode in ("async:10m", "none"):
            with self.subTest(mode=mode):
                c = self.start("--fsync", mode)
                c.make("q" + mode[:4])
                c.put("q" + mode[:4], b"one")
                self.backed_up(mode[:4])
                self.assertEqual(self.on_copy(mode[:4]).take_all("q" + mode[:4]), [record(b"one")])
                self.end()

    def test_a_copy_of_a_copy_and_one_after_the_other(self):
        c = self.start()
        c.make("q")
        for i in range(3):
            c.put("q", b"%d" % i)
            self.backed_up("copy%d" % i)
        for i in range(2):
            self.assertEqual(self.on_copy("copy%d" % i).take_all("q"), [record(b"%d" % k) for k in range(i + 1)])
        self.end()
        self.data = self.target("copy2")
        c = self.start()
        c.delete(c.get("q", count=1))
        c = self.again()
        c.put("q", b"3")
        self.backed_up("again")
        self.assertEqual(self.on_copy("again").take_all("q"), [record(b"%d" % k) for k in (1, 2, 3)])


class Held(Backup):
    """What a backup keeps the broker from doing, and for how long."""

    def state(self, told):
        """What must not change: below the end, the files that were named."""
        found = {}
        names = ["identity", "checkpoint-a", "checkpoint-b"]
        for number in told[6]:
            names += ["log-%016x" % number, "log-%016x.index" % number]
        for name in names:
            if os.path.exists(self.path(name)):
                with open(self.path(name), "rb") as file:
                    data = file.read()
                if name[:4] == "log-" and name[-1] != "x":
                    data = data[:told[4] - int(name[4:], 16) * told[5]]
                found[name] = hashlib.sha256(data).hexdigest()
        return found

    def test_the_files_stay_as_they_are_and_go_afterwards(self):
        c = self.start("--fsync", "none")
        c.make("q")
        self.churn(c, 2)
        holder = self.connect()
        told = holder.ask(BACKUP)
        self.assertEqual(told[0], R_BACKUP)
        self.assertEqual(told[2], os.path.realpath(self.data))
        before, checkpoints = self.state(told), c.ask(STATS)[2]["checkpoints"]
        self.churn(c, 3)
        self.assertEqual(self.state(told), before)
        self.assertEqual(c.ask(STATS)[2]["checkpoints"], checkpoints)
        held = c.ask(STATS)[2]["segments"]
        self.assertGreaterEqual(held, 4)
        self.assertEqual(holder.ask(BACKUP_END)[0], R_OK)
        self.churn(c, 2)
        self.assertTrue(wait_until(lambda: c.ask(STATS)[2]["segments"] < held))
        self.assertGreater(c.ask(STATS)[2]["checkpoints"], checkpoints)

    def test_it_ends_with_its_connection(self):
        self.start()
        blocked = Blocked(self)
        self.assertEqual(self.holders(), 1)
        self.assertEqual(os.listdir(self.targets), ["copy.new"])
        blocked.process.kill()
        self.assertNotEqual(blocked.let_go()[0], 0)
        self.assertTrue(wait_until(lambda: self.holders() == 0))
        shutil.rmtree(self.target("copy.new"))
        self.backed_up()

    def test_an_interrupt_leaves_nothing(self):
        self.start()
        blocked = Blocked(self)
        blocked.process.send_signal(signal.SIGINT)
        self.assertEqual(blocked.process.wait(30), 128 + signal.SIGINT)
        blocked.let_go()
        self.assertEqual(os.listdir(self.targets), [])
        self.assertTrue(wait_until(lambda: self.holders() == 0))

    def test_a_broker_that_stops(self):
        self.start()
        blocked = Blocked(self)
        self.assertEqual(self.broker.stop(), 0)
        code, text = blocked.let_go()
        self.assertEqual(code, 5, text)
        self.assertEqual(os.listdir(self.targets), [])

    def test_it_may_not_last_for_ever(self):
        c = self.start("--backup-ms-max", "300ms")
        holder = self.connect()
        self.assertEqual(holder.ask(BACKUP)[0], R_BACKUP)
        time.sleep(0.5)
        self.assertEqual(holder.ask(BACKUP_END)[2:], [E_BACKUP_ENDED, TOO_LONG])
        self.assertEqual(holder.ask(BACKUP)[0], R_BACKUP)  # there may be another
        self.assertEqual(holder.ask(BACKUP_END)[0], R_OK)
        blocked = Blocked(self)
        time.sleep(0.5)
        code, text = blocked.let_go()
        self.assertEqual(code, 1, text)
        self.assertIn("backup_ms_max", text)
        self.assertEqual(os.listdir(self.targets), [])

    def test_those_that_were_ended_leave_room_for_others(self):
        self.start("--backup-ms-max", "300ms")
        for _ in range(8):
            self.assertEqual(self.connect().ask(BACKUP)[0], R_BACKUP)
        self.assertEqual(self.connect().ask(BACKUP)[0], R_ERROR)  # too many at a time
        time.sleep(0.5)
        self.assertEqual(self.connect().ask(BACKUP)[0], R_BACKUP)

    def test_a_disk_that_gets_short_goes_before(self):
        c = self.start("--fsync", "none", "--disk-bytes-max", str(5 * SEGMENT_BYTES))
        c.make("q")
        holder = self.connect()
        self.assertEqual(holder.ask(BACKUP)[0], R_BACKUP)
        body, taken, refused = os.urandom(MIB - 1000), 0, 0
        while taken < 8 * 60:  # more than the disk holds
            reply = c.ask(SEND, "q", 0, [record(body)])
            if reply[0] == R_OK_RANGE:
                taken += 1
                c.take_all("q")
            else:
                self.assertEqual(reply[2], E_NO_ROOM)
                refused += 1
                self.assertLess(refused, 1000, "the space does not come back")
                time.sleep(0.02)
        self.assertEqual(holder.ask(BACKUP_END)[2], E_BACKUP_ENDED)


class TakingTurns(Backup):
    """Holds without a pause between them, under load: the log gives space back all the same."""
    SEGMENTS = 16

    def ended_at_last(self, hold_on):
        """hold_on(over, figures): takes one hold after the other until over is set."""
        c = self.start("--fsync", "none", "--backup-ms-max", "300ms")
        c.make("q")
        over, figures = threading.Event(), {"begun": 0, "ended": 0}
        holder = threading.Thread(target=hold_on, args=(over, figures))
        holder.start()
        try:
            most = self.churn(c, self.SEGMENTS)
        finally:
            over.set()
            holder.join()
        self.assertLess(most, self.SEGMENTS * 2 // 3)
        self.assertGreaterEqual(figures["begun"], 4)
        return figures

    def test_an_end_and_a_beginning_in_one_write(self):
        def hold_on(over, figures):
            with DurableClient(self.broker.port, timeout=30) as holder:
                while not over.is_set():
                    holder.send(frame(BACKUP_END, 1) + frame(BACKUP, 2))
                    self.assertEqual(holder.read()[1], 1)
                    figures["begun"] += holder.read()[0] == R_BACKUP  # else the disk was not still in time

        self.ended_at_last(hold_on)

    def test_two_connections(self):
        def hold_on(over, figures):
            holders = [DurableClient(self.broker.port, timeout=30) for _ in range(2)]
            self.assertEqual([holder.ask(BACKUP)[0] for holder in holders], [R_BACKUP] * 2)
            while not over.is_set():
                for holder in holders:
                    if holder.ask(BACKUP_END)[0] == R_ERROR:
                        figures["ended"] += 1
                    figures["begun"] += holder.ask(BACKUP)[0] == R_BACKUP
                    time.sleep(0.01)
            for holder in holders:
                holder.close()

        self.assertGreaterEqual(self.ended_at_last(hold_on)["ended"], 2)

    def test_a_later_one_ends_with_the_first(self):
        self.start("--backup-ms-max", "1s")
        first, second = self.connect(), self.connect()
        since = time.monotonic()
        self.assertEqual(first.ask(BACKUP)[0], R_BACKUP)
        time.sleep(0.7)
        self.assertEqual(second.ask(BACKUP)[0], R_BACKUP)
        self.assertEqual(first.ask(BACKUP_END)[0], R_OK)
        time.sleep(0.5)
        self.assertEqual(second.ask(BACKUP_END)[2:], [E_BACKUP_ENDED, TOO_LONG])
        self.assertEqual(second.ask(BACKUP)[0], R_BACKUP)  # after a rest; and with all its time
        self.assertGreater(time.monotonic() - since, 1.9)
        time.sleep(0.7)
        self.assertEqual(second.ask(BACKUP_END)[0], R_OK)

    def test_who_waits_may_go_and_cannot_end_what_has_not_begun(self):
        self.start("--backup-ms-max", "5s")
        first, second = self.connect(), self.connect()
        self.assertEqual(first.ask(BACKUP)[0], R_BACKUP)
        time.sleep(1)
        self.assertEqual(first.ask(BACKUP_END)[0], R_OK)
        second.start(BACKUP)
        self.assertEqual(second.ask(BACKUP_END)[2], E_INVALID)
        self.assertEqual(second.ask(BACKUP)[2], E_INVALID)
        self.assertEqual(self.holders(), 1)
        second.close()
        self.assertTrue(wait_until(lambda: self.holders() == 0))
        self.assertEqual(first.ask(BACKUP)[0], R_BACKUP)


if __name__ == "__main__":
    broker.main()

"""A broker with a directory: what is there after a stop or a kill, and what it says of a directory that is not as it should be."""
import os
import shutil
import tempfile
import time
import unittest

import broker
from broker import Broker, wait_until
from durable import *
from wire import *


def rich_record(body):
    """With subject and attributes."""
    properties = b"\x82\x05\xa2hi\x07\x82\xa1n\x92\xa6Number\xa242\xa1b\x92\xa6Binary\xc4\x02\x00\xff"
    return b"\1" + properties + body


class Restart(Durable):
    """Everything as it was, after a clean stop and after a kill."""

    def both(self, prepare, verify):
        for clean in (True, False):
            with self.subTest(clean=clean):
                self.new_directory()
                before = prepare(self.start())
                verify(self.again(clean), before)
                verify(self.again(not clean), before)  # and once more, from what the restart left
                self.end()

    def test_messages_in_order_with_all_they_carry(self):
        sent = [rich_record(b"%d" % i) for i in range(1000)] + [record(b""), record(os.urandom(100000))]

        def prepare(c):
            c.make("q")
            for i in range(0, len(sent), 100):
                self.assertEqual(c.ask(SEND, "q", 0, sent[i:i + 100])[0], R_OK_RANGE)
            return c.ask(SEND, "q", 1, [record(b"last")])

        def verify(c, published):
            got, seqs, at = [], [], c.ask(PEEK, "q", 1000, MIB, 7, None)
            while True:
                got += [r for s in at[3] for r in s[6]]
                seqs += [s[2] + i for s in at[3] for i in range(len(s[6]))]
                last = at[3][-1]
                if at[2] is None:
                    break
                at = c.ask(PEEK, "q", 1000, MIB, 7, at[2])
            self.assertEqual(got, sent + [record(b"last")])
            self.assertEqual(seqs, list(range(len(got))))
            self.assertEqual(last[0], published[2])  # its stream

        self.both(prepare, verify)

    def test_messages_keep_their_ids(self):
        c = self.start()
        c.make("q")
        published = c.ask(SEND, "q", 1, [record(b"x")])
        slice = self.again().get("q")[5][0]
        self.assertEqual(slice[:3], published[2:5])  # stream, epoch, seq

    def test_queues_topics_subscriptions_and_attributes(self):
        def everything(c):
            queues = c.ask(QUEUE_LIST, "", "", 1000)[2]
            topics = c.ask(TOPIC_LIST, "", "", 1000)[2]
            infos = [c.info(q)[2:5] + [c.info(q)[CREATED]] for q in queues]
            return (queues, topics, infos, [c.ask(TOPIC_GET, t)[2:] for t in topics],
                    [c.ask(SUBSCRIPTION_LIST, t, "", 1000)[2] for t in topics])

        def prepare(c):
            c.make("plain", "gone")
            c.make("special", attributes={1: 12345, 2: 678})
            c.make("changed")
            self.assertEqual(c.ask(QUEUE_SET, "changed", {1: 777})[0], R_QUEUE)
            for topic in ("news", "idle", "old"):
                self.assertEqual(c.ask(TOPIC_CREATE, topic)[0], 74)
            for topic, queue in (("news", "plain"), ("news", "special"), ("news", "gone"), ("old", "plain")):
                self.assertEqual(c.ask(SUBSCRIBE, topic, queue)[0], R_OK)
            self.assertEqual(c.ask(UNSUBSCRIBE, "news", "special")[0], R_OK)
            self.assertEqual(c.ask(QUEUE_DELETE, "gone")[0], R_OK)
            self.assertEqual(c.ask(TOPIC_DELETE, "old")[0], R_OK)
            return everything(c)

        def verify(c, before):
            self.assertEqual(everything(c), before)
            self.assertEqual(c.info("changed")[4][1], 777)

        self.both(prepare, verify)

    def test_subscriptions_take_what_they_took_and_go_on(self):
        c = self.start()
        c.make("a", "b", "late")
        self.assertEqual(c.ask(TOPIC_CREATE, "t")[0], 74)
        for queue in ("a", "b"):
            self.assertEqual(c.ask(SUBSCRIBE, "t", queue)[0], R_OK)
        c.publish("t", b"1")
        self.assertEqual(c.ask(UNSUBSCRIBE, "t", "b")[0], R_OK)
        c.publish("t", b"2")
        self.assertEqual(c.ask(SUBSCRIBE, "t", "b")[0], R_OK)
        c = self.again()
        c.publish("t", b"3")
        self.assertEqual(c.ask(SUBSCRIBE, "t", "late")[0], R_OK)
        c = self.again()
        c.publish("t", b"4")
        self.assertEqual(c.take_all("a"), [record(b"1"), record(b"2"), record(b"3"), record(b"4")])
        self.assertEqual(c.take_all("b"), [record(b"1"), record(b"3"), record(b"4")])
        self.assertEqual(c.take_all("late"), [record(b"4")])

    def test_deleted_is_deleted_and_the_rest_is_there(self):
        def prepare(c):
            c.make("q")
            c.put("q", *(b"%d" % i for i in range(1000)))
            delivery = c.get("q")
            stream = delivery[5][0][0]
            odd = [n for i in range(1, 1000, 2) for n in (stream, i, 1)]
            self.assertEqual(c.ask(ACK, delivery[2], delivery[3], odd)[0], R_OK_RANGE)

        def verify(c, _):
            self.assertEqual(c.info("q")[VISIBLE], 500)
            got = []
            while len(got) < 500:  # what has to be read back first comes when it has come
                got += records(c.get("q", wait_ms=5000))
            self.assertEqual(sorted(got), sorted(record(b"%d" % i) for i in range(0, 1000, 2)))

        self.both(prepare, verify)

    def test_purged_is_purged(self):
        def prepare(c):
            c.make("q")
            c.put("q", b"a", b"b", b"c")
            c.get("q", 1)
            self.assertEqual(c.ask(PURGE, "q")[0], R_OK)
            c.put("q", b"d")

        def verify(c, _):
            self.assertEqual(c.info("q")[VISIBLE], 1)
            self.assertEqual(records(c.get("q", visibility_ms=0)), [record(b"d")])

        self.both(prepare, verify)

    def test_held_messages_are_ready_again(self):
        c = self.start()
        c.make("q")
        c.put("q", b"a", b"b")
        c.get("q", 1, visibility_ms=3600000)
        c = self.again()
        self.assertEqual(c.info("q")[VISIBLE:DELAYED + 1], [2, 0, 0])
        self.assertEqual(sorted(records(c.get("q"))), [record(b"a"), record(b"b")])

    def test_deliveries_count_on(self):
        """After a nack, and after a timeout: both are over, so both are written down."""
        c = self.start()
        c.make("nacked", "timed")
        for queue in ("nacked", "timed"):
            c.put(queue, b"x")
        for _ in range(2):
            d = c.get("nacked")
            self.assertEqual(c.ask(NACK, d[2], d[3], settle_ranges(d), 0)[2], 1)
        first = c.get("timed", visibility_ms=50)
        self.assertTrue(wait_until(lambda: c.info("timed")[VISIBLE] == 1))
        c.put("nacked", b"what is answered after the timeout has it before it in the log")
        c = self.again()
        nacked, timed = c.get("nacked", 1), c.get("timed", 1)
        self.assertEqual(nacked[5][0][4], 3)
        self.assertEqual(timed[5][0][4], 2)
        self.assertNotEqual(timed[5][0][5], 0)  # first_receive_ms
        self.assertEqual(records(first), records(timed))

    def test_delays_go_on(self):
        def prepare(c):
            c.make("q")
            c.put("q", b"later", b"soon", b"now")
            d = c.get("q")
            for seq, delay_ms in ((0, 3600000), (1, 3000)):
                self.assertEqual(c.ask(NACK, d[2], d[3], [d[5][0][0], seq, 1], delay_ms)[2], 1)
            self.assertEqual(c.ask(NACK, d[2], d[3], [d[5][0][0], 2, 1], 0)[2], 1)
            return time.monotonic()

        for clean in (True, False):
            with self.subTest(clean=clean):
                self.new_directory()
                since = prepare(self.start())
                c = self.again(clean)
                self.assertEqual(records(c.get("q")), [record(b"now")])
                self.assertEqual(c.info("q")[DELAYED], 2)
                self.assertEqual(records(c.get("q", wait_ms=20000)), [record(b"soon")])
                self.assertGreater(time.monotonic() - since, 2.9)
                self.assertLess(time.monotonic() - since, 15)
                self.assertEqual(c.info("q")[DELAYED], 1)
                self.end()

    def test_late_ack_reaches_the_same_queue_and_no_other(self):
        c = self.start()
        c.make("q", "other")
        c.put("q", b"a", b"b")
        c.put("other", b"x")
        d = c.get("q", 1)
        other = c.get("other")
        self.assertEqual(c.ask(QUEUE_DELETE, "other")[0], R_OK)
        c = self.again()
        c.make("other")
        c.put("other", b"y")
        c.delete(d)  # a delete is by number, whoever holds it
        self.assertEqual(c.ask(ACK, other[2], other[3], settle_ranges(other))[:3:2], [R_ERROR, 15])
        c = self.again()
        self.assertEqual(c.take_all("q"), [record(b"b")])
        self.assertEqual(c.take_all("other"), [record(b"y")])

    def test_epoch_is_another_one_in_each_run(self):
        epochs = [self.start().greeting[3]] + [self.again(clean).greeting[3] for clean in (False, True, False)]
        self.assertEqual(len(set(epochs)), 4)
        self.assertEqual(epochs, sorted(epochs))

    def test_counts_go_on(self):
        def prepare(c):
            c.make("q")
            c.put("q", *(b"%d" % i for i in range(10)))
            c.delete(c.get("q", 4))

        def verify(c, _):
            self.assertEqual(c.info("q")[VISIBLE:DELAYED + 1], [6, 0, 0])

        self.both(prepare, verify)

    def test_nothing_is_created_by_using_it(self):
        c = self.start()
        self.assertIs(c.greeting[-1], False)
        self.assertEqual(c.ask(SEND, "typo", 0, [record(b"x")])[:3:2], [R_ERROR, 15])
        c = self.again(True, "--auto-create", "on")
        c.put("wanted", b"x")
        c = self.again()
        self.assertEqual(c.take_all("wanted"), [record(b"x")])

    def test_many_runs(self):
        """Segments of runs that left nothing do not pile up."""
        c = self.start()
        c.make("q")
        for i in range(30):
            c.put("q", b"%d" % i)
            c = self.again(i % 3 == 0)
        self.assertEqual(c.take_all("q"), [record(b"%d" % i) for i in range(30)])


class Modes(Durable):
    def test_mode_is_told(self):
        for flags, storage in (((), "fsync group"), (("--fsync", "async"), "fsync async"),
                               (("--fsync", "none"), "fsync none")):
            c = self.start(*flags)
            self.assertEqual(c.greeting[5], storage)
            self.assertTrue(wait_until(lambda: "ready in" in self.broker.log_text()))
            self.assertIn(self.data, self.broker.log_text())
            self.assertIn(storage, self.broker.log_text())
            self.assertGreater(c.stats()["disk_bytes"], 0)
            self.end(True)

    def test_only_group_does_not_warn(self):
        self.start()
        self.assertNotIn("POWER CUT", self.end(True))
        self.start("--fsync", "async:50ms")
        self.assertIn("POWER CUT", self.end(True))

    def test_wrong_modes(self):
        for mode in ("sometimes", "async:", "async:x", ""):
            code, _, text = broker.run("--dir", self.data, "--fsync", mode)
            self.assertEqual(code, 2, text)


class Directories(Durable):
    """What is in the way is said, with exit code 1, and left alone."""

    def names(self):
        return sorted(os.listdir(self.data))

    def test_second_broker(self):
        c = self.start()
        text = self.refused()
        self.assertIn(self.data, text)
        self.assertRegex(text, "another|in use|has it")
        c.make("q")  # the first one is not disturbed

    def test_second_broker_is_found_by_check(self):
        self.start()
        code, text = self.check()
        self.assertIn(code, (0, 1), text)

    def test_below_a_file(self):
        with open(self.path("file"), "w"):
            pass
        code, _, text = broker.run("--port", "0", "--dir", self.path("file/data"))
        self.assertEqual(code, 1, text)
        self.assertIn(self.path("file/data"), text)

    def test_where_nobody_may_write(self):
        code, _, text = broker.run("--port", "0", "--dir", "/proc/fanq-test")
        self.assertEqual(code, 1, text)
        self.assertIn("/proc/fanq-test", text)

    def test_without_permission(self):
        os.chmod(self.data, 0o500)
        code, _, text = broker.run("--port", "0", "--dir", self.data, before=broker.bound_by_permissions)
        os.chmod(self.data, 0o700)
        self.assertEqual(code, 1, text)
        self.assertIn(self.data, text)
        self.assertIn("Permission denied", text)

    def run_as_nobody(self, *flags):
        def become():
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)

        if os.getuid() != 0:
            self.skipTest("only root can become another user")
        try:
            return broker.run(*flags, before=become)
        except PermissionError:
            self.skipTest("the fanqd under test is where others may not go")

    def test_of_another_user(self):
        """Ours alone; one that others may look into; and one that they may write to, with our files in it."""
        self.start().make("q")
        self.end()
        before = self.names()
        for mode, what in ((0o700, ""), (0o755, "identity"), (0o777, "identity")):
            with self.subTest(mode=oct(mode)):
                os.chmod(self.data, mode)
                code, out, text = self.run_as_nobody("--port", "0", "--dir", self.data)
                self.assertEqual((code, out), (1, ""), text)
                for part in self.data, what, "Permission denied":
                    self.assertIn(part, text)
                code, out, text = self.run_as_nobody("--check", self.data)
                self.assertEqual(code, 2, out + text)
                self.assertIn("Permission denied", out + text)
        self.assertEqual(self.names(), before)
        self.assertEqual(self.start().info("q")[0], R_QUEUE)

    def test_empty_one_of_another_user(self):
        os.chmod(self.data, 0o755)
        code, _, text = self.run_as_nobody("--port", "0", "--dir", self.data)
        self.assertEqual(code, 1, text)
        for part in self.data, "cannot write to it", "Permission denied":
            self.assertIn(part, text)
        self.assertEqual(self.names(), [])

    def test_symbolic_link(self):
        """The broker, a second one, a check and a restart find the same directory by either name."""
        beside = tempfile.TemporaryDirectory(prefix="fanq-test-")
        self.addCleanup(beside.cleanup)
        link = os.path.join(beside.name, "link")
        os.symlink(self.data, link)
        with Broker("--dir", link) as b, DurableClient(b.port) as c:
            c.make("q")
            c.put("q", b"by the link")
            for path in link, self.data, link + "/":
                code, _, text = broker.run("--port", "0", "--dir", path)
                self.assertEqual(code, 1)
                self.assertIn("in use by another broker", text)
            self.assertTrue(os.path.exists(self.path("identity")))
        for path in link, link + "/", self.data:
            self.assertEqual(broker.run("--check", path)[0], 0)
        c = self.start()
        self.assertEqual(c.take_all("q"), [record(b"by the link")])
        c.put("q", b"by its own name")
        self.end()
        with Broker("--dir", link) as b, DurableClient(b.port) as c:
            self.assertEqual(c.take_all("q"), [record(b"by its own name")])

    def test_symbolic_link_that_leads_nowhere(self):
        link = self.path("link")
        os.symlink(self.path("gone"), link)
        code, _, text = broker.run("--port", "0", "--dir", link)
        self.assertEqual(code, 1, text)
        self.assertIn(link, text)
        self.assertIn("No such file", text)

    def test_made_with_its_parents(self):
        deep = self.path("a/b/c")
        with Broker("--dir", deep) as b, DurableClient(b.port) as c:
            c.make("q")
        self.assertTrue(os.path.exists(os.path.join(deep, "identity")))
        self.assertEqual(os.stat(deep).st_mode & 0o777, 0o700)
        self.assertTrue(all(os.stat(os.path.join(deep, n)).st_mode & 0o077 == 0 for n in os.listdir(deep)))

    def test_files_of_others(self):
        with open(self.path("thesis.txt"), "w") as file:
            file.write("years of work")
        text = self.refused()
        self.assertIn("thesis.txt", text)
        self.assertEqual(self.names(), ["thesis.txt"])

    def make(self):
        self.start().make("q")
        self.end()

    def write_identity(self, change):
        with open(self.path("identity"), "rb") as file:
            data = bytearray(file.read())
        change(data)
        with open(self.path("identity"), "wb") as file:
            file.write(data)

    def test_damaged_identity(self):
        self.make()
        with open(self.path("identity"), "rb") as file:
            good = file.read()
        names = self.names()
        for at in range(0, len(good), 5):
            with self.subTest(byte=at):
                with open(self.path("identity"), "wb") as file:
                    file.write(good[:at] + bytes([good[at] ^ 0x10]) + good[at + 1:])
                self.assertIn("identity", self.refused())
        for length in (0, 1, len(good) - 1):
            with open(self.path("identity"), "wb") as file:
                file.write(good[:length])
            self.assertIn("identity", self.refused())
        code, text = self.check()
        self.assertEqual(code, 2, text)  # there is nothing that it could check
        self.assertIn("identity", text)
        self.assertEqual(self.names(), names)
        with open(self.path("identity"), "wb") as file:
            file.write(good)
        self.assertEqual(self.start().info("q")[0], R_QUEUE)

    def test_damaged_epoch(self):
        """A start refuses it, and a check says so; none at all is well, as in a copy."""
        self.make()
        self.assertEqual(self.check()[0], 0)
        length = os.stat(self.path("epoch")).st_size
        for damage in (lambda: self.flip("epoch", 9), lambda: os.truncate(self.path("epoch"), length - 1),
                       lambda: os.truncate(self.path("epoch"), 0)):
            damage()
            text = self.refused()
            code, check_text = self.check()
            self.assertEqual(code, 1, check_text)
            for told in text, check_text:
                self.assertIn("its file 'epoch' is damaged; remove it", told)
            self.assertIn("damaged, but nothing is lost", check_text)
        os.unlink(self.path("epoch"))
        code, text = self.check()
        self.assertEqual(code, 0, text)
        self.assertIn("fine", text)
        self.start()

    def test_missing_identity(self):
        """A log without it is not an empty directory to be taken."""
        self.make()
        os.unlink(self.path("identity"))
        names = self.names()
        self.refused()
        self.assertEqual(self.names(), names)


class Damage(Durable):
    """What was answered and is not there any more is told, and nothing is served before someone accepts it."""

    def fill(self):
        """Ten commits, each with messages of its own; the broker is killed, so that all of them are replayed."""
        c = self.start()
        c.make("q", "r")
        self.bodies = [b"<message %d of the test of damage>" % i for i in range(10)]
        for body in self.bodies:
            c.put("q", body)
        c.put("r", b"untouched")
        c.close()
        self.end()

    def kept(self, lost):
        c = self.start("--accept-loss")
        self.assertEqual(sorted(c.take_all("q")), [record(b) for i, b in enumerate(self.bodies) if i not in lost])
        self.assertEqual(c.take_all("r"), [record(b"untouched")])
        c.put("q", b"and it goes on")
        self.assertTrue(broker.wait_until(lambda: c.stats()["checkpoints"] > 0))
        c = self.again()
        self.assertEqual(c.take_all("q"), [record(b"and it goes on")])

    def test_whole_log_is_well(self):
        self.fill()
        code, text = self.check()
        self.assertEqual(code, 0, text)
        self.assertEqual(len(self.start().take_all("q")), 10)

    def test_check_changes_nothing(self):
        self.fill()

        def everything():
            return {n: (os.stat(self.path(n)).st_mtime_ns, os.stat(self.path(n)).st_size) for n in os.listdir(self.data)}

        before = everything()
        self.check()
        self.assertEqual(everything(), before)

    def test_flipped_bit_in_a_message(self):
        self.fill()
        name, at = self.find(self.bodies[4])
        offset = next(o for o, length, _ in self.commits(name) if o <= at < o + length)
        self.flip(name, at + 3)
        for text in (self.refused(), self.check()[1]):
            self.assertIn(name, text)
            self.assertIn("offset %d" % offset, text)
            self.assertIn("messages 4 to 4", text)
        self.assertEqual(self.check()[0], 1)
        self.assertIn("--accept-loss", self.refused())
        self.kept({4})

    def test_flipped_bit_in_a_header(self):
        self.fill()
        name, at = self.find(self.bodies[4])
        offset = next(o for o, length, _ in self.commits(name) if o <= at < o + length)
        self.flip(name, offset + 16)
        text = self.refused()
        self.assertIn(name, text)
        self.assertIn(str(offset), text)
        self.assertEqual(self.check()[0], 1)
        self.kept({4})

    def test_torn_end_is_no_damage(self):
        """The last commit, of which nothing proves that it was on the disk."""
        self.fill()
        name = [n for n in self.segments() if self.commits(n)][-1]
        offset, length, _ = self.commits(name)[-1]
        with open(self.path(name), "r+b") as file:
            file.truncate(offset + length // 2)
        code, text = self.check()
        self.assertEqual(code, 0, text)
        c = self.start()
        self.assertNotIn("damage", self.broker.log_text())
        self.assertGreaterEqual(len(c.take_all("q")), 9)

    def test_end_that_goes_while_it_rests(self):
        """A broker that was stopped in order has left a checkpoint at the end of the log: nothing of it may be missing."""
        self.start().make("q")
        bodies = [b"<last words %d>" % i for i in range(3)]
        c = self.again(True)
        for body in bodies:
            c.put("q", body)
        self.end(clean=True)
        name, at = self.find(bodies[2])
        offset, length, _ = next(x for x in self.commits(name) if x[0] <= at < x[0] + x[1])
        with open(self.path(name), "rb") as file:
            whole = file.read()
        for end in offset, offset + length // 2, at:
            with open(self.path(name), "r+b") as file:
                file.truncate(end)
            self.assertIn(name, self.refused())
            self.assertEqual(self.check()[0], 1)
            with open(self.path(name), "wb") as file:
                file.write(whole)
        self.flip(name, at + 3)
        self.assertIn(name, self.refused())
        self.flip(name, at + 3)
        self.assertEqual(self.start().take_all("q"), [record(b) for b in bodies])

    def test_zeros_behind_the_end(self):
        self.fill()
        name = [n for n in self.segments() if self.commits(n)][-1]
        offset, length, _ = self.commits(name)[-1]
        with open(self.path(name), "r+b") as file:
            file.seek(offset + 40)
            file.write(bytes(length))
        c = self.start()
        self.assertGreaterEqual(len(c.take_all("q")), 9)

    def test_lost_segment(self):
        self.fill()
        c = self.start()  # the second run, in a segment of its own
        c.put("q", b"second run")
        self.end()
        name, _ = self.find(self.bodies[0])
        os.unlink(self.path(name))
        if os.path.exists(self.path(name + ".index")):
            os.unlink(self.path(name + ".index"))
        text = self.refused()
        self.assertIn(name, text)
        code, text = self.check()
        self.assertEqual(code, 1)
        self.assertIn(name, text)

    def test_emptied_segment(self):
        self.fill()
        self.start().put("q", b"second run")
        self.end()
        name, _ = self.find(self.bodies[0])
        with open(self.path(name), "r+b") as file:
            size = os.stat(file.name).st_size
            file.truncate(0)
            file.truncate(size)
        self.assertIn(name, self.refused())
        self.assertEqual(self.check()[0], 1)

    def test_one_damaged_checkpoint_is_no_loss(self):
        self.fill()
        for _ in range(3):
            self.start()
            self.end(True)
        for name in ("checkpoint-a", "checkpoint-b"):
            if os.path.exists(self.path(name)):
                shutil.copy(self.path(name), self.path("saved"))
                self.flip(name, 70)  # what is behind a checkpoint, to the end of its file, means nothing
                os.rename(self.path("saved"), self.path("../saved-" + os.path.basename(self.data)))
                c = self.start()
                self.assertEqual(c.info("q")[VISIBLE], 10)
                self.end()
                os.unlink(self.path("../saved-" + os.path.basename(self.data)))

    def test_missing_index_is_no_loss(self):
        self.fill()
        for _ in range(3):
            self.start()
            self.end(True)
        for name in os.listdir(self.data):
            if name.endswith(".index"):
                os.unlink(self.path(name))
        self.assertEqual(len(self.start().take_all("q")), 10)


if __name__ == "__main__":
    broker.main()

"""Bodies: what was sent is what is delivered, byte for byte, however it was cut into packets; and only CRLF "." CRLF
ends a message (RFC 5321 section 4.1.1.4), whatever else looks like it."""
import hashlib
import random
import re
import threading
import unittest

from harness import SluiceTest, configuration

HEAD = b"Subject: body\r\nMessage-Id: <fixed@client.test>\r\nDate: Sat, 21 Nov 2026 00:00:00 +0000\r\nFrom: s@client.test\r\n"
TRACE = re.compile(rb"\A(?:(?:Return-path|Envelope-to|Delivery-date|Received):[^\n]*\n(?:[ \t][^\n]*\n)*)+", re.I)


def untraced(message):
    """A delivered message without the header lines that delivery puts in front."""
    return TRACE.sub(b"", message, count=1)


def stuffed(text):
    """As DATA wants it: every leading dot doubled, CRLF "." CRLF behind."""
    return re.sub(rb"(\A|\r\n)\.", rb"\1..", text) + b".\r\n"


def unix(text):
    return text.replace(b"\r\n", b"\n")


class BodyTest(SluiceTest):
    def setUp(self):
        self.server = self.shared()
        self.client = self.server.client()
        self.addCleanup(self.client.close)
        self.client.ehlo()

    def delivered(self, id_reply):
        """The message of that reply, once it has come."""
        mid = re.search(r"id=(\S+)", id_reply.text).group(1)
        self.server.wait_log(re.escape(mid) + " Completed")
        for message in self.server.maildir():
            if mid.encode() in message:
                return untraced(message)
        self.fail(f"{mid} is not in the maildir")

    def by_data(self, text, pieces):
        self.client.envelope()
        self.client.expect("DATA", 354)
        for piece in pieces(stuffed(text)):
            self.client.send(piece)
        return self.client.wait(250)

    def by_chunks(self, text, sizes):
        self.client.envelope()
        at = 0
        for size in sizes:
            self.client.send(b"BDAT %d\r\n" % size + text[at:at + size])
            self.client.wait(250)
            at += size
        self.client.send(b"BDAT %d LAST\r\n" % (len(text) - at) + text[at:])
        return self.client.wait(250, "id=")


DOTS = HEAD + b"\r\n.\r\n..\r\n...\r\n.a\r\n..a\r\n\r\n.\r\n\r\na.\r\n. \r\n.\t.\r\n\r\n\r\nlast.\r\n"


class Dots(BodyTest):
    def same(self, text, reply):
        self.assertEqual(unix(text), self.delivered(reply))

    def test_one_piece(self):
        self.same(DOTS, self.by_data(DOTS, lambda wire: [wire]))

    def test_byte_by_byte(self):
        self.same(DOTS, self.by_data(DOTS, lambda wire: [wire[i:i + 1] for i in range(len(wire))]))

    def test_every_split_in_two(self):
        """Each place where a packet may end, one message each, over a few connections."""
        text = b"Subject: x\r\n\r\n..\r\n.\r\n.x\r\n"
        wire = stuffed(text)
        replies = []
        for split in range(1, len(wire)):
            self.client.envelope()
            self.client.expect("DATA", 354)
            self.client.send(wire[:split])
            # The reply to a probe would show that the first part has been read; TCP_NODELAY is the next best.
            self.client.send(wire[split:])
            replies.append(self.client.wait(250))
        for reply in replies:
            message = self.delivered(reply)
            self.assertTrue(message.endswith(unix(b"Subject: x\r\n\r\n..\r\n.\r\n.x\r\n")), message)

    def test_odd_pieces(self):
        for size in (2, 3, 5, 7, 11):
            self.same(DOTS, self.by_data(DOTS, lambda wire: [wire[i:i + size] for i in range(0, len(wire), size)]))

    def test_line_ends_at_buffer_edges(self):
        """CRLF, and CRLF "." CRLF, around every multiple of what a receive buffer may hold."""
        for edge in (512, 1024, 2048, 4096, 8192, 16384):
            for offset in range(-4, 3):
                body = HEAD + b"\r\n"
                fill = edge + offset - len(body)
                line = b"x" * 70 + b"\r\n"
                body += line * (fill // len(line))
                body += b"y" * (edge + offset - len(body)) + b"\r\n.z\r\n"
                self.same(body, self.by_data(body, lambda wire: [wire]))

    def test_dots_in_chunks_are_dots(self):
        self.same(DOTS, self.by_chunks(DOTS, []))
        self.same(DOTS, self.by_chunks(DOTS, [1] * (len(DOTS) - 1)))


class Chunks(BodyTest):
    def test_sizes(self):
        rng = random.Random(7)
        text = HEAD + b"\r\n" + b"".join(b"%d " % i + b"z" * rng.randrange(120) + b"\r\n" for i in range(400))
        for _ in range(5):
            sizes = []
            while sum(sizes) < len(text) - 3000:
                sizes.append(rng.randrange(0, 3000))
            self.assertEqual(unix(text), self.delivered(self.by_chunks(text, sizes)))

    def test_empty_last_chunk(self):
        text = HEAD + b"\r\nbody\r\n"
        self.assertEqual(unix(text), self.delivered(self.by_chunks(text, [len(text)])))

    def test_unfinished_last_line(self):
        text = HEAD + b"\r\nno line end"
        self.assertEqual(unix(text) + b"\n", self.delivered(self.by_chunks(text, [])))

    def test_nothing_at_all(self):
        self.client.envelope()
        self.client.expect("BDAT 0 LAST", 250, "id=")

    def test_cr_at_the_end_of_a_chunk(self):
        text = HEAD + b"\r\nab\r\ncd\r\n"
        at = text.index(b"ab\r") + 3
        self.assertEqual(unix(text), self.delivered(self.by_chunks(text, [at])))

    def test_many_chunks(self):
        self.client.envelope()
        text = HEAD + b"\r\n" + b"0123456789abcd\r\n" * 3000
        chunks = [text[i:i + 16] for i in range(0, len(text), 16)]
        wire = b"".join(b"BDAT %d\r\n" % len(chunk) + chunk for chunk in chunks) + b"BDAT 0 LAST\r\n"
        # Written while the replies are read, or each side would wait for the other.
        writer = threading.Thread(target=self.client.sock.sendall, args=(wire,))
        writer.start()
        for _ in chunks:
            self.client.wait(250, "chunk")
        self.assertEqual(unix(text), self.delivered(self.client.wait(250, "id=")))
        writer.join()


class LineEnds(BodyTest):
    """smtp_bare_newline = reject, the default."""

    def refused(self, body):
        self.client.envelope()
        self.client.expect("DATA", 354)
        self.client.send(body + b"\r\n.\r\n")
        reply = self.client.reply()
        self.assertEqual(550, reply.code, (body, reply))
        self.assertEqual("5.6.0", reply.enhanced)
        self.client.expect("RCPT TO:<alice@test>", 503)  # nothing is left of it

    def test_bare(self):
        for body in (b"a\nb", b"a\rb", b"\n", b"\r", b"a\r\r\nb", b"a\n\r\nb", b"a\n\nb", b"a\r\rb"):
            with self.subTest(body):
                self.refused(HEAD + b"\r\n" + body)

    def test_bare_in_header(self):
        for head in (b"Subject: a\nBcc: x", b"Subject: a\rBcc: x", b"A: b\n\nbody", b"A: b\r\r\n"):
            with self.subTest(head):
                self.refused(head + b"\r\n\r\nbody")

    def test_bare_in_chunks(self):
        for body in (b"a\nb\r\n", b"a\rb\r\n", b"a\r"):
            text = HEAD + b"\r\n" + body
            self.client.envelope()
            self.client.send(b"BDAT %d LAST\r\n" % len(text) + text)
            self.client.wait(550, "bare")


SMUGGLE = (b"\n.\n", b"\n.\r\n", b"\r.\r", b"\r.\r\n", b"\r\n.\n", b"\r\n.\r", b"\r\r\n.\r\r\n", b"\r\n.\r\r\n", b"\n\n.\r\n",
           b"\r\n\0.\r\n", b"\r\n.\0\r\n", b"\r\n.\r\0\n", b"\0\r\n.\n\r\n", b"\n.\n\r\n", b"\r\r.\r\n", b"\r\n. \r\n", b"\r\n .\r\n",
           b"\r\n.\x0b\r\n", b"\r\n.\x0c\n", b"\xe2\x80\xa8.\xe2\x80\xa8", b"\x85.\x85", b"\r\n.\r\r", b"\n\r\n.\n")
SECOND = b"MAIL FROM:<evil@client.test>\r\nRCPT TO:<bob@test>\r\nDATA\r\nSubject: smuggled\r\n\r\nevil\r\n"


class Smuggling(BodyTest):
    def attempt(self, sequence):
        """The number of replies to one message with another hidden behind something that is no end."""
        with self.server.client() as client:
            client.ehlo()
            client.envelope()
            client.expect("DATA", 354)
            client.send(HEAD + b"\r\nfirst" + sequence + SECOND + b"\r\n.\r\n")
            reply = client.reply()
            self.assertIn(reply.code, (250, 550), reply)
            client.expect("NOOP", 250)  # in step: no replies of a second transaction in between
            client.quit()
            return reply

    def test_corpus(self):
        for sequence in SMUGGLE:
            with self.subTest(sequence):
                self.attempt(sequence)
        self.assertEqual([], self.server.maildir("bob"))
        self.assertNotIn("evil@client.test", re.sub(r"input=.*", "", self.server.log()))


class SmugglingReplaced(Smuggling):
    """The same with smtp_bare_newline = space: accepted, and harmless to the next server."""

    config = configuration("smtp_bare_newline = space\n")

    def test_corpus(self):
        for sequence in SMUGGLE:
            with self.subTest(sequence):
                reply = self.attempt(sequence)
                self.assertEqual(250, reply.code, reply)
        self.assertEqual([], self.server.maildir("bob"))

    def test_replaced(self):
        for body, expected in ((b"a\nb", b"a b"), (b"a\rb", b"a b"), (b"a\r\r\nb", b"a \nb"), (b"a\n.\nb", b"a . b"),
                               (b"a\r\n\nb", b"a\n b")):
            with self.subTest(body):
                reply = self.by_data(HEAD + b"\r\n" + body + b"\r\n", lambda wire: [wire[:-3] + b".\r\n"])
                self.assertEqual(unix(HEAD) + b"\n" + expected + b"\n", self.delivered(reply))


class Headers(BodyTest):
    def test_none(self):
        """A body alone: what looks like no header is none."""
        self.client.envelope()
        reply = self.client.data(b"no header here\r\nsecond line\r\n")
        message = self.delivered(reply)
        self.assertTrue(message.endswith(b"\nno header here\nsecond line\n"), message)

    def test_empty(self):
        self.client.envelope()
        reply = self.client.data(b"")
        self.delivered(reply)

    def test_only_a_header(self):
        self.client.envelope()
        reply = self.client.data(HEAD)
        self.assertTrue(self.delivered(reply).startswith(unix(HEAD)))

    def test_endless_line(self):
        text = HEAD + b"\r\n" + b"x" * 3_000_000 + b"\r\n"
        self.assertEqual(hashlib.md5(unix(text)).digest(),
                         hashlib.md5(self.delivered(self.by_data(text, lambda w: [w]))).digest())

    def test_endless_header(self):
        self.client.envelope()
        self.client.expect("DATA", 354)
        self.client.send(b"Subject: x\r\n" + b"".join(b"X-%d: %s\r\n" % (i, b"y" * 60) for i in range(30000)) + b"\r\nbody\r\n.\r\n")
        self.client.wait(552, "header")
        self.client.message(HEAD + b"\r\nafter\r\n")

    def test_endless_header_line(self):
        self.client.envelope()
        self.client.expect("DATA", 354)
        self.client.send(b"Subject: " + b"y" * 2_000_000 + b"\r\n\r\nbody\r\n.\r\n")
        self.client.wait(552, "header")
        self.client.message(HEAD + b"\r\nafter\r\n")

    def test_folded_and_odd(self):
        for text in (b"Subject: a\r\n b\r\n\tc\r\n \r\n\r\nx\r\n", b"X:\r\n\r\n\r\n", b"A : b\r\n\r\nx\r\n",
                     b"Subject: \xff\xfe\r\n\r\n\x80\x81\r\n", b"X-Long: " + b"a " * 500 + b"\r\n\r\n"):
            with self.subTest(text):
                self.client.envelope()
                message = self.delivered(self.client.data(text))
                self.assertIn(unix(text).rstrip(b"\n"), message)

    def test_too_many_hops(self):
        self.client.envelope()
        self.client.data(b"Received: by x\r\n" * 31 + b"\r\nx\r\n", 550, "mail loop")

    def test_bytes(self):
        """NULs, all other bytes, no interpretation."""
        body = bytes(b for b in range(256) if b not in (10, 13)) * 20 + b"\r\n"
        text = HEAD + b"\r\n" + body + b"\0\r\n\0\0\r\n"
        self.assertEqual(unix(text), self.delivered(self.by_data(text, lambda w: [w])))


class Large(BodyTest):
    config = configuration("message_size_limit = 60M\n")

    def large(self, size):
        rng = random.Random(size)
        block = b"".join(rng.choice((b"", b".", b"..")) + rng.randbytes(rng.randrange(20, 120)).hex().encode() + b"\r\n"
                         for _ in range(4000))
        return HEAD + b"\r\n" + block * (size // len(block)) + b"end\r\n"

    def test_spilled_by_data(self):
        text = self.large(50_000_000)
        reply = self.by_data(text, lambda w: [w])
        self.assertEqual(hashlib.md5(unix(text)).digest(), hashlib.md5(self.delivered(reply)).digest())

    def test_spilled_by_chunks(self):
        text = self.large(12_000_000)
        reply = self.by_chunks(text, [4_000_000, 1, 0, 4_000_000])
        self.assertEqual(hashlib.md5(unix(text)).digest(), hashlib.md5(self.delivered(reply)).digest())

    def test_others_are_served_meanwhile(self):
        self.client.envelope()
        self.client.expect("DATA", 354)
        text = stuffed(self.large(8_000_000))
        self.client.send(text[:6_000_000])
        with self.server.client() as other:
            other.ehlo()
            other.message(HEAD + b"\r\nbetween\r\n")
            other.quit()
        self.client.send(text[6_000_000:])
        self.client.wait(250)


class TooLarge(BodyTest):
    config = configuration("message_size_limit = 3M\n")

    def test_announced(self):
        self.client.expect("MAIL FROM:<s@client.test> SIZE=3145729", 552, "5.3.4")
        self.client.expect("MAIL FROM:<s@client.test> SIZE=3145728", 250)

    def test_data(self):
        self.client.envelope()
        self.client.expect("DATA", 354)
        self.client.send(HEAD + b"\r\n" + b"x" * 98 + b"\r\n" + (b"y" * 98 + b"\r\n") * 60000 + b".\r\n")
        self.client.wait(552, "5.3.4")
        self.client.message(HEAD + b"\r\nafter\r\n")

    def test_chunks(self):
        self.client.envelope()
        self.client.send(b"BDAT 2000000\r\n" + b"x" * 2000000)
        self.client.wait(250)
        self.client.send(b"BDAT 2000000\r\n" + b"x" * 2000000)
        self.client.wait(552, "5.3.4")
        self.client.expect("NOOP", 503, "only RSET")
        self.client.expect("RSET", 250)
        self.client.message(HEAD + b"\r\nafter\r\n")

    def test_nothing_is_left_on_the_spool(self):
        self.client.envelope()
        self.client.expect("DATA", 354)
        self.client.send(HEAD + b"\r\n" + (b"y" * 98 + b"\r\n") * 60000 + b".\r\n")
        self.client.wait(552)
        self.assertEqual(0, self.server.queue_count())


if __name__ == "__main__":
    unittest.main()

/** What the server codec refuses of a request head and with which status (RFC 9112 2 to 6, RFC 9110 5 to 10): each at the level of octets. */
import t from "tap";
import { REFUSALS } from "../../../../src/wire/refusal.ts";
import { FIELD_FAULTS } from "../../../support/http1/faults-fields.ts";
import {
  REQUEST_FAULTS,
  type RequestFault,
} from "../../../support/http1/faults-requests.ts";
import { answer, serverSide } from "../../../support/http1/harness.ts";

const HOST = "Host: orders.shop\r\n";
const get = (lines: string): string => `GET / HTTP/1.1\r\n${lines}\r\n`;
const withHost = (lines: string): string => get(HOST + lines);

const REFUSED: readonly RequestFault[] = [
  ...Object.entries(FIELD_FAULTS).map(([what, lines]): RequestFault => ({
    what,
    octets: withHost(`${lines}\r\n`),
    kind: "grammar",
  })),
  ...REQUEST_FAULTS,
];

for (const { what, octets, kind } of REFUSED)
  void t.test(`refused: ${what}`, async (t) => {
    const side = await serverSide(t);
    side.peer.send(octets);
    const refusal = await side.peer.all();
    const { status, code } = REFUSALS[kind];
    t.ok(refusal.startsWith(`HTTP/1.1 ${status} `), refusal.slice(0, 80));
    t.match(refusal, "\r\nconnection: close\r\n");
    t.match(refusal, `\r\nx-wherry-reason: ${code}\r\n`);
    const [head = "", body = ""] = refusal.split("\r\n\r\n");
    t.match(head, `\r\ncontent-length: ${body.length}`, "one whole response");
    t.equal(side.streams.length, 0, "nothing of it reaches the proxy");
    t.strictSame(
      side.refusals.map((refusal) => refusal.code),
      [code],
    );
    t.ok(
      body.includes(side.refusals[0]?.detail ?? "?"),
      "the body names the fault",
    );
  });

void t.test(
  "what is of another protocol ends without an answer, and is told of",
  async (t) => {
    // The first as a failed preface of HTTP/2 may look (RFC 9113 3.4).
    for (const octets of [
      "INVALID CONNECTION PREFACE\r\n\r\n",
      "EHLO mail SMTP\r\n\r\n",
    ]) {
      const side = await serverSide(t);
      side.peer.send(octets + withHost(""));
      t.equal(await side.peer.all(), "", octets);
      t.equal(side.streams.length, 0, "nor is what follows looked at");
      t.strictSame(
        side.refusals.map(({ code }) => code),
        ["BAD_REQUEST"],
      );
    }
  },
);

void t.test("a refused head is refused however it is cut", async (t) => {
  const bytes = withHost("A : b\r\n");
  for (const cut of [1, 2, 15, 16, 17, 18, bytes.length - 2]) {
    const side = await serverSide(t);
    side.peer.send(bytes.slice(0, cut));
    await new Promise((resolve) => setImmediate(resolve));
    side.peer.send(bytes.slice(cut));
    t.match(await side.peer.all(), /^HTTP\/1\.1 400 /);
  }
});

void t.test(
  "what is remembered of a head takes nothing from the strictness of the next",
  async (t) => {
    // The values vary, so that the names alone are remembered.
    const good = ["chunked", "Chunked", "CHUNKED"]
      .map((coding, index) =>
        withHost(`Transfer-Encoding: ${coding}\r\nX-A: ${index}\r\n`),
      )
      .join("0\r\n\r\n");
    for (const lines of [
      "Transfer-Encoding: chunked\t\r\nX-A: 2\r\n",
      "Transfer-Encoding: chunked \t\r\nX-A: 2\r\n",
      "Transfer-Encoding: \x0bchunked\r\nX-A: 2\r\n",
      "Transfer-Encoding: chunked\r\nX-A: 2\0\r\n",
      "Transfer-Encoding: chunked\r\nX-A : 2\r\n",
      "Transfer-Encoding: chunked\r\nX-A: 2\r\n 3\r\n",
    ]) {
      const side = await serverSide(t, {
        onRequest: (stream) => answer(stream, 204),
      });
      side.peer.send(`${good}0\r\n\r\n`);
      await side.request(2);
      side.peer.send(withHost(lines));
      t.match(await side.peer.all(), /HTTP\/1\.1 400 /, JSON.stringify(lines));
      t.equal(side.streams.length, 3);
    }
  },
);

void t.test("what follows a refused head is not looked at", async (t) => {
  const side = await serverSide(t);
  side.peer.send(get("") + withHost(""));
  await side.peer.all();
  t.equal(side.streams.length, 0);
  t.equal(side.peer.received.split("HTTP/1.1 4").length, 2, "one answer");
});

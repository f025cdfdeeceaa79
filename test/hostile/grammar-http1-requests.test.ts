/** The grammar of HTTP/1 requests at the listeners of a whole mesh, judged at a backend that keeps every octet (law 7; RFC 9112; decisions 009 and 012). */
import t, { type Test } from "tap";
import { REASONS } from "../../src/mesh/reasons.ts";
import type { Code } from "../../src/mesh/reasons.ts";
import { REFUSALS, type RefusalKind } from "../../src/wire/refusal.ts";
import { resource, until } from "../support/meshes/pair.ts";
import { CHUNK_FAULTS, FIELD_FAULTS } from "../support/http1/faults-fields.ts";
import {
  REQUEST_FAULTS,
  TAKEN_BY_LINK,
} from "../support/http1/faults-requests.ts";
import {
  listenersOf,
  Peer,
  say,
  withBackend,
} from "../support/hostile/grammar-http1-listeners.ts";

const HOST = "Host: orders.shop\r\n";
const GOOD = `GET /good HTTP/1.1\r\n${HOST}Connection: close\r\n\r\n`;
const CHUNKED_AT_BACKEND = "transfer-encoding: chunked\r\n";
const GOOD_LINE = "GET /good HTTP/1.1";

/** What the application is told of where a stranger's request comes from (`proxy/exchange/forwarded.ts`). */
const SOURCE = "x-forwarded-for: 127.0.0.1\r\nx-forwarded-proto: http\r\n";

/** A request head as the application gets it through a listener. */
function arrived(
  listener: string,
  line: string,
  fields = "",
  framing = "",
): string {
  return `${line}\r\nhost: orders.shop\r\n${fields}${listener === "published" ? SOURCE : ""}${framing}\r\n`;
}

/** One whole answer of the stated status, with its reason and the end of the connection, and nothing behind it. */
function refusedAs(
  t: Test,
  answer: string,
  status: number,
  code: Code,
  what: string,
): void {
  const [head = "", body = ""] = answer.split("\r\n\r\n");
  const ok =
    head.startsWith(`HTTP/1.1 ${status} `) &&
    head.includes("\r\nconnection: close") &&
    head.includes(`\r\nx-wherry-reason: ${code}`) &&
    head.includes(`\r\ncontent-length: ${body.length}\r\n`) &&
    body.startsWith(REASONS[code].text) &&
    answer.length === head.length + 4 + body.length;
  t.ok(ok, `${what}: ${JSON.stringify(answer.slice(0, 400))}`);
}

void t.test(
  "a request that breaks the grammar: the stated status, the end of the connection, and no octet at the backend",
  { timeout: 120_000 },
  async (t) => {
    const rows: readonly (readonly [string, string, RefusalKind])[] = [
      // A TLS record is told before HTTP is looked for.
      ...REQUEST_FAULTS.filter(({ octets }) => !octets.startsWith("\x16")).map(
        ({ what, octets, kind }) => [what, octets, kind] as const,
      ),
      // What follows the head would be a request to whoever reads its framing in another way.
      ...Object.entries(FIELD_FAULTS).map(
        ([what, lines]) =>
          [
            what,
            `POST / HTTP/1.1\r\n${HOST}${lines}\r\n\r\n0\r\n\r\n${GOOD}`,
            "grammar",
          ] as const,
      ),
    ];
    await withBackend(async (pair, backend) => {
      for (const listener of listenersOf(pair)) {
        for (const [what, octets, kind] of rows) {
          if (listener.name === "link" && TAKEN_BY_LINK.has(what)) continue;
          // What is let through is a failure at once: nobody would end the connection.
          const passed = (): boolean => backend.octets !== "";
          const answer = await say(listener, octets, passed);
          const { status, code } = REFUSALS[kind];
          refusedAs(t, answer, status, code, `${listener.name}: ${what}`);
          t.equal(
            backend.octets,
            "",
            `${listener.name}: ${what}: at the backend`,
          );
          backend.reset();
        }
        // What was still on its way would be here before it.
        if (listener.name === "link") continue;
        t.match(await say(listener, GOOD), /^HTTP\/1\.1 200 /);
        t.equal(backend.octets, arrived(listener.name, GOOD_LINE));
        backend.reset();
      }
    });
  },
);

/** Faults of a chunked body that are a 431. */
const TOO_MUCH: ReadonlySet<string> = new Set([
  "trailers over their limit",
  "too many trailers",
]);

void t.test(
  "a fault within a chunked body: what was read before it has reached the backend, nothing else does, and the backend's connection is cut",
  { timeout: 120_000 },
  async (t) => {
    const head = `POST / HTTP/1.1\r\n${HOST}Transfer-Encoding: chunked\r\n\r\n`;
    await withBackend(async (pair, backend) => {
      for (const listener of listenersOf(pair)) {
        if (listener.name === "link") continue;
        for (const [what, body] of Object.entries(CHUNK_FAULTS)) {
          const name = `${listener.name}: ${what}`;
          const before = `${arrived(listener.name, "POST / HTTP/1.1", "", CHUNKED_AT_BACKEND)}2\r\nhi\r\n`;
          backend.answer = () => undefined;
          const peer = new Peer(await listener.open());
          peer.send(`${head}2\r\nhi\r\n`);
          await until(() => backend.octets === before);
          peer.send(`${body}${GOOD}`);
          const { status, code } =
            REFUSALS[TOO_MUCH.has(what) ? "head" : "grammar"];
          refusedAs(t, await peer.all(), status, code, name);
          await until(() => backend.connections.every(({ ended }) => ended));
          t.equal(backend.octets, before, `${name}: at the backend`);
          backend.reset();
        }
        t.match(await say(listener, GOOD), /^HTTP\/1\.1 200 /);
        t.equal(backend.octets, arrived(listener.name, GOOD_LINE));
        backend.reset();
      }
    });
  },
);

interface Passed {
  readonly what: string;
  readonly sent: string;
  /** What the application gets, all of it. */
  readonly arrives: string;
}

const get = (lines: string, line = "GET / HTTP/1.1"): string =>
  `${line}\r\n${HOST}${lines}\r\n`;
const post = (lines: string): string => get(lines, "POST / HTTP/1.1");
const gets = (fields = "", line = "GET / HTTP/1.1", framing = ""): string =>
  arrived("outbound", line, fields, framing);
const posts = (framing: string): string => gets("", "POST / HTTP/1.1", framing);

/** What is not refused, and what of it is not passed on as it came: all that changes on the way is in this table. */
const PASSED: readonly Passed[] = [
  {
    what: "white space around a value is no part of it (RFC 9112 5), names come in lower case",
    sent: get("X-A: \t two  words\t \r\nAccept:*/*\r\nx-empty:\r\n"),
    arrives: gets("x-a: two  words\r\naccept: */*\r\nx-empty: \r\n"),
  },
  {
    what: "one empty line before the request line (RFC 9112 2.2)",
    sent: `\r\n${get("")}`,
    arrives: gets(),
  },
  {
    what: "octets above ASCII in a value",
    sent: get("X-A: \xe4\xff\r\n"),
    arrives: gets("x-a: \xe4\xff\r\n"),
  },
  {
    what: "the path is normalised once (law 6)",
    sent: get("", "GET /a/../b/./c?d=/../e HTTP/1.1"),
    arrives: gets("", "GET /b/c?d=/../e HTTP/1.1"),
  },
  {
    what: "absolute form becomes origin form (RFC 9112 3.2.2), the host canonical (law 14)",
    sent: get("", "GET HTTP://Orders.Shop:80/x?y HTTP/1.1"),
    arrives: gets("", "GET /x?y HTTP/1.1").replace(
      "orders.shop",
      "orders.shop:80",
    ),
  },
  {
    what: "asterisk form of OPTIONS",
    sent: get("", "OPTIONS * HTTP/1.1"),
    arrives: gets("", "OPTIONS * HTTP/1.1"),
  },
  {
    what: "HTTP/1.0 becomes HTTP/1.1, without the expectation that it does not have",
    sent: get("Expect: 100-continue\r\n", "GET / HTTP/1.0"),
    arrives: gets(),
  },
  {
    what: "what belongs to the connection ends with it (RFC 9110 7.6.1)",
    sent: get(
      "Connection: keep-alive, X-Mine\r\nX-Mine: 1\r\nKeep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\nX-Kept: 2\r\n",
    ),
    arrives: gets("x-kept: 2\r\n"),
  },
  {
    what: "an Upgrade is not asked for, and the request is an ordinary one (RFC 9110 7.8)",
    sent: get(
      "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n",
    ),
    arrives: gets(),
  },
  {
    what: "TE says that trailers are welcome, nothing else (RFC 9110 10.1.4)",
    sent: get("TE: gzip, trailers\r\nConnection: TE\r\n"),
    arrives: gets("te: trailers\r\nconnection: te\r\n"),
  },
  {
    what: "cookies in two lines become one (RFC 9113 8.2.3)",
    sent: get("Cookie: a=1\r\nCookie: b=2\r\n"),
    arrives: gets("cookie: a=1; b=2\r\n"),
  },
  {
    what: "identities that a caller claims are taken away (law 5)",
    sent: get("X-Forwarded-Client-Cert: x\r\nX-Wherry-Reason: DENIED\r\n"),
    arrives: gets(),
  },
  {
    what: "a length with leading zeros is the same number (RFC 9110 8.6)",
    sent: `${post("Content-Length: 007\r\n")}end\r\n\r\n`,
    arrives: `${posts("content-length: 7\r\n")}end\r\n\r\n`,
  },
  {
    what: "a body of GET keeps its framing (RFC 9110 9.3.1)",
    sent: `${get("Content-Length: 4\r\n")}\r\n\r\n`,
    arrives: `${gets("", "GET / HTTP/1.1", "content-length: 4\r\n")}\r\n\r\n`,
  },
  {
    what: "POST without a body says so (RFC 9110 8.6)",
    sent: post(""),
    arrives: posts("content-length: 0\r\n"),
  },
  {
    what: "chunks: sizes without zeros, extensions left out, trailers kept (RFC 9112 7.1)",
    sent: `${post("Transfer-Encoding: Chunked\r\n")}0003;a="b\\"";c\r\nabc\r\n000;d\r\nX-T: 1\r\n\r\n`,
    arrives: `${posts("transfer-encoding: chunked\r\n")}3\r\nabc\r\n0\r\nx-t: 1\r\n\r\n`,
  },
  {
    what: "what looks like a request in a body is a body",
    sent: `${post("Content-Length: 26\r\n")}GET /smuggled HTTP/1.1\r\n\r\n`,
    arrives: `${posts("content-length: 26\r\n")}GET /smuggled HTTP/1.1\r\n\r\n`,
  },
];

void t.test(
  "a request within the grammar: what of it is changed on the way",
  async (t) => {
    await withBackend(async (pair, backend) => {
      const [outbound] = listenersOf(pair);
      if (outbound === undefined) throw new Error("no listener");
      for (const { what, sent, arrives } of PASSED) {
        const peer = new Peer(await outbound.open());
        peer.send(sent);
        await until(() => peer.received.endsWith("ok") || peer.ended);
        t.equal(backend.octets, arrives, what);
        peer.socket.destroy();
        backend.reset();
      }
    });
  },
);

void t.test(
  "what was sent ahead behind an Upgrade that is not granted is never a request",
  async (t) => {
    const upgrade = get("Connection: Upgrade\r\nUpgrade: h2c\r\n");
    const smuggled = get("", "GET /admin HTTP/1.1");
    await withBackend(
      async (pair, backend) => {
        for (const listener of listenersOf(pair)) {
          if (listener.name === "link") continue;
          const answer = await say(listener, `${upgrade}${smuggled}`);
          t.match(
            answer,
            /^HTTP\/1\.1 200 [^]*\r\nconnection: close\r\n[^]*ok$/,
            listener.name,
          );
          t.equal(answer.split("HTTP/1.1 ").length, 2, "one answer");
          t.equal(
            backend.octets,
            arrived(listener.name, "GET / HTTP/1.1"),
            `${listener.name}: at the backend`,
          );
          backend.reset();
          // Sent when it is known that this is HTTP/1.1 still, it is a request like any other, and judged as such.
          const peer = new Peer(await listener.open());
          peer.send(upgrade);
          await until(() => peer.received.endsWith("ok"));
          t.notMatch(peer.received, /connection: close/);
          peer.send(smuggled);
          await until(() => /HTTP\/1\.1 403 /.test(peer.received));
          t.equal(
            backend.octets,
            arrived(listener.name, "GET / HTTP/1.1"),
            `${listener.name}: DENIED`,
          );
          peer.socket.destroy();
          backend.reset();
        }
      },
      {
        resources: [
          resource("AuthorizationPolicy", "admin", {
            selector: { matchLabels: { app: "orders" } },
            action: "DENY",
            rules: [{ to: [{ operation: { paths: ["/admin"] } }] }],
          }),
        ],
      },
    );
  },
);

void t.test(
  "pipelined requests are requests of their own, in order; the faulty one ends the connection",
  async (t) => {
    await withBackend(async (pair, backend) => {
      for (const listener of listenersOf(pair)) {
        if (listener.name === "link") continue;
        const answer = await say(
          listener,
          get("", "GET /1 HTTP/1.1") +
            get("", "GET /2 HTTP/1.1") +
            get("A : b\r\n", "GET /3 HTTP/1.1") +
            get("", "GET /4 HTTP/1.1"),
        );
        t.same(
          [...answer.matchAll(/HTTP\/1\.1 (\d+)/g)].map(([, status]) => status),
          ["200", "200", "400"],
          listener.name,
        );
        t.equal(
          backend.octets,
          arrived(listener.name, "GET /1 HTTP/1.1") +
            arrived(listener.name, "GET /2 HTTP/1.1"),
        );
        backend.reset();
      }
    });
  },
);

/** The guide's page on security says what the code does: each bound of its table is the code's constant, and each test that it names is there. */
import { existsSync, readFileSync } from "node:fs";
import { maxHeaderSize } from "node:http";
import { join } from "node:path";
import t from "tap";
import { STRANGER_LIMITS as API } from "../../src/control-plane/api/server.ts";
import {
  STRANGER_LIMITS as PUSH,
  WAITING_LIMITS as WAITING,
} from "../../src/control-plane/push/connection.ts";
import type { StrangerLimits } from "../../src/control-plane/strangers.ts";
import {
  DEMO_CONNECTIONS,
  DEMO_HEAD_TIMEOUT,
  DEMO_IDLE_TIMEOUT,
  DEMO_TAKE_TIMEOUT,
} from "../../src/demo/control.ts";
import {
  PAGE_CONNECTIONS,
  PAGE_HEAD_TIMEOUT,
  PAGE_IDLE_TIMEOUT,
  PAGE_TAKE_TIMEOUT,
} from "../../src/sidecar/admin/server.ts";
import { DEFAULT_LIMITS as SIDECAR } from "../../src/proxy/downstream/limits.ts";
import { DEFAULT_LIMITS as HTTP1 } from "../../src/wire/http1/limits.ts";
import { resolveLimits as http2 } from "../../src/wire/http2/limits.ts";
import {
  HANDSHAKE_TIMEOUT,
  HANDSHAKES_FROM_SOURCE,
  MAX_HANDSHAKES,
} from "../../src/wire/tls/tls.ts";
import { tableAfter } from "../support/repository/pages.ts";

const ROOT = join(import.meta.dirname, "..", "..");
const GUIDE = read("config/guide/security.md");
const HTTP2 = http2();

function read(path: string): string {
  return readFileSync(join(ROOT, path), "utf8");
}

const count = (number: number): string => number.toLocaleString("en-US");
const bytes = (number: number): string =>
  number % 1_048_576 === 0
    ? `${count(number / 1_048_576)} MiB`
    : `${count(number / 1024)} KiB`;
const time = (ms: number): string =>
  ms >= 120_000 ? `${count(ms / 60_000)} min` : `${count(ms / 1000)} s`;

/** A constant of a file that nobody else needs, by its name. */
function constant(file: string, name: string): number {
  const pattern = new RegExp(
    `(?<!\\w)${name}(?:: number)?(?: =|:) ([\\d_* ]+)`,
  );
  const [, text] = pattern.exec(read(file)) ?? [];
  if (text === undefined) throw new Error(`${file} has no number ${name}`);
  return text
    .replaceAll("_", "")
    .split("*")
    .reduce((product, factor) => product * Number(factor), 1);
}

const PUSH_LISTENER = "src/control-plane/push/listener.ts";
const API_SERVER = "src/control-plane/api/server.ts";
const DEMO = "src/demo/control.ts";

/** On a connection of the own application the streams to many endpoints meet: one that stands still does not stop the others. */
const OWN_MESSAGES = `${bytes(HTTP1.headBytes)} of a head, ${bytes(HTTP1.pipelinedBytes)} sent ahead; HTTP/2: ${bytes(HTTP2.headerBlockBytes)} of a field block; ${bytes(SIDECAR.bufferedBytes)} in all`;
const MESSAGES = `${bytes(HTTP1.headBytes)} of a head, ${bytes(HTTP1.pipelinedBytes)} sent ahead; HTTP/2: ${bytes(HTTP2.headerBlockBytes)} of a field block, ${bytes(HTTP2.heldBytes)} of bodies; ${bytes(SIDECAR.bufferedBytes)} in all`;
const idle = (ms: number): string =>
  `${time(HTTP1.headTimeout)} for a head, ${time(ms)} idle; HTTP/2: ${time(HTTP2.idleTimeout)} idle`;
const OWN_IDLE = idle(SIDECAR.idleLocal);
const IDLE = idle(HTTP1.idleTimeout);
const PACE = `${SIDECAR.bodyRate} bytes a second of a body, ${time(SIDECAR.takeTimeout)} to take a response`;
const ON_LISTENER = `${count(SIDECAR.connectionsPerListener)} on the listener`;
const FROM_SOURCE = `${count(SIDECAR.connectionsPerAddress)} a source, ${ON_LISTENER}`;
const STREAMS = count(HTTP2.concurrentStreams);
const STREAMS_OF_SOURCE = `${STREAMS}; ${count(SIDECAR.streamsPerAddress)} of a source`;

const strangers = (limits: StrangerLimits): string =>
  `${count(limits.perSource)} a source, ${count(limits.together)} in all`;

const PAGES = [
  count(PAGE_CONNECTIONS),
  `${bytes(maxHeaderSize)} of a head; no body is kept`,
  "1",
  `${time(PAGE_HEAD_TIMEOUT)} for a head, ${time(PAGE_TAKE_TIMEOUT)} from it to the end of the response, ${time(PAGE_IDLE_TIMEOUT)} idle`,
];

/** By listener: connections, bytes, streams and time. */
const ROWS: Readonly<Record<string, readonly string[]>> = {
  "15001, calls out": [ON_LISTENER, OWN_MESSAGES, STREAMS, OWN_IDLE],
  "`--upstream` ports": [ON_LISTENER, OWN_MESSAGES, STREAMS, OWN_IDLE],
  "15006, captured": [
    FROM_SOURCE,
    MESSAGES,
    STREAMS_OF_SOURCE,
    `${IDLE}; ${PACE}`,
  ],
  "`--publish` ports": [
    FROM_SOURCE,
    MESSAGES,
    STREAMS_OF_SOURCE,
    `${IDLE}; ${PACE}`,
  ],
  "15008, the link": [
    `${count(HANDSHAKES_FROM_SOURCE)} a source, ${count(MAX_HANDSHAKES)} in all`,
    "none of a request",
    "0",
    `${time(HANDSHAKE_TIMEOUT)} for the handshake`,
  ],
  "15000, admin": PAGES,
  "15020, metrics and probes": PAGES,
  "15012, enrolment and push": [
    `${strangers(WAITING)} before the handshake; ${strangers(PUSH)} from it on`,
    `${bytes(WAITING.bytes)} before the handshake; ${bytes(PUSH.message)} a stream, ${bytes(PUSH.bytes)} of a connection`,
    count(PUSH.streams),
    `${time(WAITING.time)} before the handshake, ${time(constant(PUSH_LISTENER, "HANDSHAKE_TIMEOUT"))} for it, ${time(PUSH.time)} from its start`,
  ],
  "15080, API": [
    strangers(API),
    `${bytes(maxHeaderSize)} of a head, ${bytes(API.bytes)} of a connection; no body before the token`,
    "1",
    `${time(constant(API_SERVER, "headersTimeout"))} for a head, ${time(API.time)} in all; one request a connection`,
  ],
  "15090, `wherry dev`": [
    count(DEMO_CONNECTIONS),
    `${bytes(maxHeaderSize)} of a head, ${bytes(constant(DEMO, "EXPORT_AT_MOST"))} of a request`,
    "1",
    `${time(DEMO_HEAD_TIMEOUT)} for a head, ${time(DEMO_TAKE_TIMEOUT)} from it to the end of the response, ${time(DEMO_IDLE_TIMEOUT)} idle`,
  ],
};

const TABLE = tableAfter(GUIDE, "## Before a peer has proved its identity\n");

void t.test("bounds are those of the code", (t) => {
  t.strictSame(
    TABLE.map(([listener, , ...bounds]) => [listener, ...bounds.slice(0, 4)]),
    Object.entries(ROWS).map(([listener, bounds]) => [listener, ...bounds]),
  );
  t.end();
});

void t.test("each row names tests that are there", (t) => {
  for (const [listener = "", , , , , , tests = ""] of TABLE) {
    const named = [...tests.matchAll(/`([^`]+)`/g)].map(
      ([, path = ""]) => path,
    );
    t.ok(named.length > 0, `${listener} names a test`);
    for (const path of named)
      t.ok(existsSync(join(ROOT, "test", path)), `${listener}: test/${path}`);
  }
  t.end();
});

/** The grammar of HTTP/1 responses: what an application says against it is a 502 and the end of its connection, and no other caller ever sees an octet of it (law 7). */
import t, { type Test } from "tap";
import { until } from "../support/meshes/pair.ts";
import type {
  BackendConnection,
  RecordingBackend,
} from "../support/peers/recording-backend.ts";
import { CHUNK_FAULTS, FIELD_FAULTS } from "../support/http1/faults-fields.ts";
import { RESPONSE_FAULTS } from "../support/http1/faults-responses.ts";
import {
  listenersOf,
  Peer,
  say,
  withBackend,
  type ListenerUnderTest,
} from "../support/hostile/grammar-http1-listeners.ts";

const HOST = "Host: orders.shop\r\n";
const OK = "HTTP/1.1 200 OK\r\n";
/** Not to be repeated, so that the backend is asked once. */
const CALL = `POST / HTTP/1.1\r\n${HOST}Content-Length: 0\r\nConnection: close\r\n\r\n`;
const EVIL = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nX-Evil: 1\r\n\r\nevil";

/** The listeners with an answer's way through both sidecars, and through one. */
const LISTENERS = ["outbound", "published"];

/** What the backend says instead of an answer, once, as soon as it has the request. */
function once(backend: RecordingBackend, octets: string): void {
  const { answer } = backend;
  let said = false;
  backend.answer = (connection: BackendConnection) => {
    if (said) return answer(connection);
    if (!connection.octets.endsWith("\r\n\r\n")) return undefined;
    said = true;
    return octets;
  };
}

/** The connection that spoke against the grammar is ended, and the next caller gets its own answer, on another. */
async function isolated(
  t: Test,
  backend: RecordingBackend,
  listener: ListenerUnderTest,
  what: string,
): Promise<void> {
  const [spoke] = backend.connections;
  const next = await say(listener, CALL);
  t.ok(spoke?.ended, `${what}: ended before the next call had its answer`);
  t.match(next, /^HTTP\/1\.1 200 [^]*\r\n\r\nok$/, `${what}: the next caller`);
  t.notMatch(next, /evil/i);
  t.equal(backend.connections.length, 2, `${what}: on another connection`);
  backend.reset();
}

void t.test(
  "a head that breaks the grammar is a 502, and ends the connection to the application",
  { timeout: 120_000 },
  async (t) => {
    const rows: readonly (readonly [string, string])[] = [
      ...Object.entries(RESPONSE_FAULTS),
      ...Object.entries(FIELD_FAULTS).map(
        ([what, lines]) =>
          [what, `${OK}${lines}\r\n\r\n0\r\n\r\n${EVIL}`] as const,
      ),
    ];
    await withBackend(async (pair, backend) => {
      for (const listener of listenersOf(pair)) {
        if (!LISTENERS.includes(listener.name)) continue;
        for (const [what, octets] of rows) {
          once(backend, octets);
          const answer = await say(listener, CALL);
          const name = `${listener.name}: ${what}`;
          // Interim responses before the fault were in order, and are passed on.
          const final = answer.replace(
            /^(?:HTTP\/1\.1 103 [^]*?\r\n\r\n)+/,
            "",
          );
          t.match(
            final,
            /^HTTP\/1\.1 502 [^]*(?:UPSTREAM_PROTOCOL|breaks the HTTP grammar)/,
            name,
          );
          t.notMatch(final, /evil/i);
          await isolated(t, backend, listener, name);
        }
      }
    });
  },
);

void t.test(
  "a fault within a chunked answer cuts it off for the caller",
  { timeout: 120_000 },
  async (t) => {
    await withBackend(async (pair, backend) => {
      for (const listener of listenersOf(pair)) {
        if (!LISTENERS.includes(listener.name)) continue;
        for (const [what, body] of Object.entries(CHUNK_FAULTS)) {
          const name = `${listener.name}: ${what}`;
          once(
            backend,
            `${OK}Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n${body}${EVIL}`,
          );
          const answer = await say(listener, CALL);
          const head = /^HTTP\/1\.1 200 [^]*?\r\n\r\n/.exec(answer)?.[0];
          t.ok(
            head === undefined || !/\r\n0\r\n|evil/i.test(answer),
            `${name}: ${JSON.stringify(answer)}`,
          );
          await isolated(t, backend, listener, name);
        }
      }
    });
  },
);

interface OutOfTurn {
  readonly what: string;
  readonly method?: string;
  /** What the application says at once, as the answer and behind it. */
  readonly says: string;
  /** The body that the caller gets. */
  readonly body: string;
  readonly status?: number;
}

const OUT_OF_TURN: readonly OutOfTurn[] = [
  {
    what: "a second answer behind the first",
    says: `${OK}Content-Length: 2\r\n\r\nhi${EVIL}`,
    body: "hi",
  },
  {
    what: "a body longer than announced",
    says: `${OK}Content-Length: 2\r\n\r\nhi!`,
    body: "hi",
  },
  {
    what: "octets behind the last chunk",
    says: `${OK}Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n${EVIL}`,
    body: "2\r\nhi\r\n0\r\n\r\n",
  },
  {
    what: "an empty line behind the answer",
    says: `${OK}Content-Length: 2\r\n\r\nhi\r\n`,
    body: "hi",
  },
  {
    what: "a body behind the answer to HEAD",
    method: "HEAD",
    says: `${OK}Content-Length: ${EVIL.length}\r\n\r\n${EVIL}`,
    body: "",
  },
  {
    what: "a chunked body behind the answer to HEAD",
    method: "HEAD",
    says: `${OK}Transfer-Encoding: chunked\r\n\r\n4\r\nevil\r\n0\r\n\r\n`,
    body: "",
  },
  {
    what: "a body behind 204",
    says: `HTTP/1.1 204 No Content\r\n\r\n${EVIL}`,
    status: 204,
    body: "",
  },
  {
    what: "a body behind 304, whose length is a GET's",
    says: `HTTP/1.1 304 Not Modified\r\nContent-Length: ${EVIL.length}\r\n\r\n${EVIL}`,
    status: 304,
    body: "",
  },
  {
    what: "a body behind a length of 0",
    says: `${OK}Content-Length: 0\r\n\r\n${EVIL}`,
    body: "",
  },
];

void t.test(
  "octets behind an answer are nobody's",
  { timeout: 60_000 },
  async (t) => {
    await withBackend(async (pair, backend) => {
      for (const listener of listenersOf(pair)) {
        if (!LISTENERS.includes(listener.name)) continue;
        for (const { what, method, says, body, status } of OUT_OF_TURN) {
          const name = `${listener.name}: ${what}`;
          once(backend, says);
          const answer = await say(
            listener,
            `${method ?? "GET"} / HTTP/1.1\r\n${HOST}Connection: close\r\n\r\n`,
          );
          t.ok(answer.startsWith(`HTTP/1.1 ${status ?? 200} `), name);
          t.notMatch(answer, /evil/i);
          t.equal(answer.slice(answer.indexOf("\r\n\r\n") + 4), body, name);
          await isolated(t, backend, listener, name);
        }
      }
    });
  },
);

void t.test(
  "an idle connection on which the application speaks is ended, and the next caller does not hear it",
  async (t) => {
    await withBackend(async (pair, backend) => {
      for (const listener of listenersOf(pair)) {
        if (!LISTENERS.includes(listener.name)) continue;
        for (const octets of [EVIL, "\r\n", "H", "HTTP/1.1 408 Late\r\n\r\n"]) {
          t.match(await say(listener, CALL), /ok$/);
          backend.connections[0]?.socket.write(octets);
          await isolated(t, backend, listener, JSON.stringify(octets));
        }
      }
    });
  },
);

void t.test(
  "an answer before the request's end: the caller has it, and what is left of the request is nobody's",
  async (t) => {
    await withBackend(async (pair, backend) => {
      for (const listener of listenersOf(pair)) {
        if (!LISTENERS.includes(listener.name)) continue;
        backend.answer = ({ octets }) =>
          octets.endsWith("\r\n\r\nbegin")
            ? "HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nbig"
            : undefined;
        const peer = new Peer(await listener.open());
        const smuggled = `GET /smuggled HTTP/1.1\r\n${HOST}\r\n`;
        peer.send(
          `POST / HTTP/1.1\r\n${HOST}Content-Length: ${5 + smuggled.length}\r\n\r\nbegin`,
        );
        await until(() => peer.received.endsWith("big"));
        t.match(peer.received, /^HTTP\/1\.1 413 /);
        const before = backend.octets;
        await until(() => backend.connections[0]?.ended === true);
        peer.send(smuggled);
        peer.send(CALL);
        backend.answer = ({ octets }) =>
          octets.endsWith("\r\n\r\n")
            ? `${OK}Content-Length: 2\r\n\r\nok`
            : undefined;
        t.match(await peer.all(), /big[^]*ok$/, "the connection goes on");
        t.notMatch(backend.octets, /smuggled/);
        t.ok(backend.octets.startsWith(before));
        backend.reset();
      }
    });
  },
);

void t.test(
  "an answer that its connection's end cuts off is cut off for the caller, and one that it ends is whole",
  async (t) => {
    const rows: readonly (readonly [
      what: string,
      says: string,
      whole: RegExp,
    ])[] = [
      [
        "a length that is not reached",
        `${OK}Content-Length: 9\r\n\r\npart`,
        /^$/,
      ],
      [
        "no last chunk",
        `${OK}Transfer-Encoding: chunked\r\n\r\n4\r\npart\r\n`,
        /^$/,
      ],
      [
        "no length at all",
        `${OK}\r\nall of it`,
        /^HTTP\/1\.1 200 [^]*\r\n9\r\nall of it\r\n0\r\n\r\n$/,
      ],
      [
        "HTTP/1.0",
        "HTTP/1.0 200 OK\r\n\r\nall of it",
        /^HTTP\/1\.1 200 [^]*\r\n9\r\nall of it\r\n0\r\n\r\n$/,
      ],
    ];
    await withBackend(async (pair, backend) => {
      for (const listener of listenersOf(pair)) {
        if (!LISTENERS.includes(listener.name)) continue;
        for (const [what, says, whole] of rows) {
          backend.answer = ({ socket, octets }) => {
            if (octets.endsWith("\r\n\r\n")) socket.end(says);
            return undefined;
          };
          const answer = await say(listener, CALL);
          if (whole.source === "^$")
            t.notMatch(answer, /\r\n0\r\n\r\n$/, `${listener.name}: ${what}`);
          else t.match(answer, whole, `${listener.name}: ${what}`);
          backend.reset();
        }
      }
    });
  },
);

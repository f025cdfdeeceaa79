/** Which servers outside the mesh are believed: RFC 5280, RFC 9525 for names, and what a policy asks for besides. */
import { createServer, type Socket } from "node:net";
import { once } from "node:events";
import t from "tap";
import { systemClock } from "../../../src/core/clock.ts";
import { Oid } from "../../../src/identity/extensions.ts";
import type { ClientTls } from "../../../src/resources/traffic-policy/client-tls.ts";
import {
  connectOutside,
  type OutsideOptions,
} from "../../../src/wire/tls/connect-outside.ts";
import { listening } from "../../support/meshes/pair.ts";
import {
  outsideAuthority,
  outsideServer,
  type LeafOptions,
} from "../../support/peers/outside.ts";

import { dialled, verdict } from "../../support/peers/outside-verdict.ts";

const authority = outsideAuthority();
const stranger = outsideAuthority();
const SIMPLE: ClientTls = { mode: "SIMPLE", caBundle: authority.bundle };
const NAME = "api.example.test";

const DAY = 86_400_000;

void t.test("a server is believed by its certificate alone", async (t) => {
  const rows: [
    string,
    LeafOptions & { of?: typeof authority },
    ClientTls,
    RegExp,
  ][] = [
    ["of the name", {}, SIMPLE, /^$/],
    ["of several names", { dns: ["a.test", NAME] }, SIMPLE, /^$/],
    ["a wildcard for one label", { dns: ["*.example.test"] }, SIMPLE, /^$/],
    ["a wildcard for two", { dns: ["*.test"] }, SIMPLE, /^WRONG_IDENTITY /],
    [
      "a wildcard within a label",
      { dns: ["a*.example.test"] },
      SIMPLE,
      /^WRONG_IDENTITY /,
    ],
    [
      "another name",
      { dns: ["other.example.test"] },
      SIMPLE,
      /^WRONG_IDENTITY .*not for api\.example\.test/,
    ],
    [
      "the name as the subject's alone",
      { dns: [], commonName: NAME },
      SIMPLE,
      /^WRONG_IDENTITY /,
    ],
    ["no name", { dns: [] }, SIMPLE, /^WRONG_IDENTITY /],
    ["ended", { lasts: -DAY / 24 }, SIMPLE, /^TLS_FAILED .*expired/],
    [
      "for clients alone",
      { purposes: [Oid.CLIENT_AUTH] },
      SIMPLE,
      /^TLS_FAILED .*purpose/,
    ],
    [
      "of an unknown authority",
      { of: stranger },
      SIMPLE,
      /^TLS_FAILED .*certificate/,
    ],
    [
      "where the machine's roots count",
      {},
      { mode: "SIMPLE" },
      /^TLS_FAILED .*certificate/,
    ],
    [
      "the server name of the policy",
      { dns: ["b.test"] },
      { ...SIMPLE, sni: "b.test" },
      /^$/,
    ],
    [
      "not the server name of the policy",
      {},
      { ...SIMPLE, sni: "b.test" },
      /^WRONG_IDENTITY /,
    ],
    [
      "one of the names asked for",
      { dns: ["b.test"] },
      { ...SIMPLE, subjectAltNames: ["a.test", "b.test"] },
      /^$/,
    ],
    [
      "none of the names asked for",
      {},
      { ...SIMPLE, subjectAltNames: ["a.test"] },
      /^WRONG_IDENTITY .*not for a\.test/,
    ],
    [
      "a URI asked for",
      { dns: [], uris: ["spiffe://far/a"] },
      { ...SIMPLE, subjectAltNames: ["spiffe://far/a"] },
      /^$/,
    ],
    [
      "another URI",
      { uris: ["spiffe://far/ab"] },
      { ...SIMPLE, subjectAltNames: ["spiffe://far/a"] },
      /^WRONG_IDENTITY /,
    ],
    [
      "an address asked for",
      { ips: ["10.0.0.1"] },
      { ...SIMPLE, subjectAltNames: ["10.0.0.1"] },
      /^$/,
    ],
    [
      "an address as a DNS name",
      { dns: ["10.0.0.1"] },
      { ...SIMPLE, subjectAltNames: ["10.0.0.1"] },
      /^WRONG_IDENTITY /,
    ],
  ];
  for (const [title, { of = authority, ...leaf }, tls, expected] of rows) {
    const { port } = await outsideServer(t, "http/1.1", of.leaf(leaf));
    t.match(await verdict(t, port, tls), expected, title);
  }
});

void t.test(
  "what the server speaks is TLS, of a version that holds",
  async (t) => {
    const leaf = authority.leaf();
    const rows: [
      string,
      Parameters<typeof outsideServer>[2],
      Partial<OutsideOptions>,
      RegExp,
    ][] = [
      ["TLS 1.3", { minVersion: "TLSv1.3" }, {}, /^$/],
      ["TLS 1.2", { maxVersion: "TLSv1.2" }, {}, /^$/],
      [
        "TLS 1.1",
        {
          minVersion: "TLSv1.1",
          maxVersion: "TLSv1.1",
          ciphers: "DEFAULT@SECLEVEL=0",
        },
        {},
        /^TLS_FAILED /,
      ],
      ["no choice of a protocol", { ALPNProtocols: [] }, {}, /^$/],
      [
        "HTTP/2 where it is asked for",
        { ALPNProtocols: ["h2"] },
        { protocol: "h2" },
        /^$/,
      ],
      [
        "HTTP/1.1 where HTTP/2 is asked for",
        { ALPNProtocols: ["http/1.1"] },
        { protocol: "h2" },
        /^TLS_FAILED /,
      ],
      [
        "nothing where HTTP/2 is asked for",
        {},
        { protocol: "h2" },
        /^TLS_FAILED .*does not speak h2/,
      ],
      ["bytes", {}, { protocol: undefined }, /^$/],
    ];
    for (const [title, options, over, expected] of rows) {
      const { port } = await outsideServer(t, "bytes", { ...leaf, ...options });
      t.match(await verdict(t, port, SIMPLE, over), expected, title);
    }
  },
);

void t.test("what is not TLS gets nothing but a ClientHello", async (t) => {
  for (const [title, speak] of [
    ["plaintext", (socket: Socket) => socket.write("HTTP/1.1 200 OK\r\n\r\n")],
    ["an end", (socket: Socket) => socket.end()],
    ["a reset", (socket: Socket) => socket.resetAndDestroy()],
  ] as const) {
    const received: Buffer[] = [];
    const server = createServer((socket) => {
      socket.on("error", () => undefined);
      socket.on("data", (chunk: Buffer) => {
        received.push(chunk);
        speak(socket);
      });
    });
    const port = await listening(server);
    t.match(await verdict(t, port, SIMPLE), /^TLS_FAILED /, title);
    t.equal(received[0]?.[0], 0x16, "a handshake record");
    server.close();
  }
});

void t.test("a handshake that comes to no end is given up", async (t) => {
  const open: Socket[] = [];
  const server = createServer((socket) => open.push(socket));
  const port = await listening(server);
  t.match(
    await verdict(t, port, SIMPLE, { timeoutMs: 50 }),
    /^TLS_FAILED .*handshake not done within 50 ms/,
  );
  const abort = new AbortController();
  const waits = verdict(t, port, SIMPLE, { signal: abort.signal }).catch(
    String,
  );
  abort.abort(
    Object.assign(new Error("given up"), { code: "GIVEN", unprocessed: true }),
  );
  t.match(await waits, /GIVEN given up/);
  for (const socket of open) socket.destroy();
  server.close();
});

void t.test(
  "a session is resumed with the server that it is from, and judged again",
  async (t) => {
    for (const maxVersion of ["TLSv1.2", "TLSv1.3"] as const) {
      const server = await outsideServer(t, "bytes", {
        ...authority.leaf(),
        maxVersion,
      });
      const options = (): Promise<Omit<OutsideOptions, "tls">> =>
        dialled(server.port).then((socket) => ({
          socket,
          where: "outside",
          serverName: NAME,
          protocol: undefined,
          sessions,
          timeoutMs: 5000,
          clock: systemClock,
          signal: new AbortController().signal,
        }));
      const sessions: OutsideOptions["sessions"] = {};
      const first = await connectOutside({ ...(await options()), tls: SIMPLE });
      // Tickets of TLS 1.3 come with, or before, the first byte.
      first.socket.write("x");
      await once(first.socket, "data");
      const again = await connectOutside({ ...(await options()), tls: SIMPLE });
      t.ok(again.socket.isSessionReused(), maxVersion);
      const kept = sessions.last;
      t.ok(kept);
      t.match(
        await verdict(
          t,
          server.port,
          { ...SIMPLE, subjectAltNames: ["a.test"] },
          { sessions },
        ),
        /^WRONG_IDENTITY /,
        "a name that it does not have",
      );
      const later = {
        ...systemClock,
        wall: () => systemClock.wall() + 2 * DAY,
      };
      t.match(
        await verdict(t, server.port, SIMPLE, {
          sessions: { ...(kept === undefined ? {} : { last: kept }) },
          clock: later,
        }),
        /^TLS_FAILED .*expired/,
        "a certificate that has ended meanwhile",
      );
      t.equal(sessions.last, undefined, "nothing is resumed after a failure");
      first.socket.destroy();
      again.socket.destroy();
    }
  },
);

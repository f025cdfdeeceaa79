/** connection.sni: the host that TLS of the connection to the callee names. */
import { once } from "node:events";
import { connect as connectTcp, type Socket } from "node:net";
import { duplexPair } from "node:stream";
import { connect } from "node:tls";
import t from "tap";
import type { Resource } from "../../src/resources/envelope.ts";
import { makeField } from "../../src/wire/fields.ts";
import { overLink } from "../support/peers/over-link.ts";
import {
  resource,
  until,
  withPair,
  type Pair,
} from "../support/meshes/pair.ts";
import { fakeClock } from "../support/clocks/fake-clock.ts";

function policy(action: string, condition: object): Resource {
  return resource("AuthorizationPolicy", "by-name", {
    selector: { matchLabels: { app: "orders" } },
    action,
    rules: [{ when: [{ key: "connection.sni", ...condition }] }],
  });
}

const NAME = "orders.example";
const values = { values: ["*.example"] };
const notValues = { notValues: ["*.example"] };

/** The policy, and whether calls pass whose TLS names that host, another one, and none. */
const TABLE: readonly (readonly [
  action: string,
  condition: object,
  named: boolean,
  other: boolean,
  nameless: boolean,
])[] = [
  ["ALLOW", values, true, false, false],
  ["ALLOW", notValues, false, true, true],
  ["DENY", values, false, true, true],
  ["DENY", notValues, true, false, false],
];

void t.test(
  "over the link: peers may name one, our own callers do not",
  async (t) => {
    await withPair({}, async (pair) => {
      const fields = [makeField("x-wherry-destination", "orders.shop:80")];
      const byLink = async (serverName?: string): Promise<boolean> =>
        (await overLink(pair, "web", { fields }, serverName)).status === 200;
      for (const [action, condition, ...expected] of TABLE) {
        pair.apply([policy(action, condition)]);
        t.strictSame(
          [await byLink(NAME), await byLink("orders.other"), await byLink()],
          expected,
          `${action} ${JSON.stringify(condition)}`,
        );
        t.equal(
          (await pair.call()).status === 200,
          expected[2],
          "our own caller",
        );
      }
    });
  },
);

void t.test(
  "in plaintext: the name in the application's own TLS, on a port declared tls",
  async (t) => {
    let reached = 0;
    const rawApp = () => (socket: Socket) => {
      socket.on("error", () => undefined);
      socket.on("data", () => {
        reached += 1;
        socket.destroy();
      });
    };
    const mesh = { mtls: { mode: "PERMISSIVE" } };
    for (const appProtocol of ["tls", "tcp"] as const)
      await withPair(
        { appProtocol, rawApp, mesh, calleePublish: true },
        async (pair) => {
          for (const [action, condition, named, other, nameless] of TABLE) {
            pair.apply([policy(action, condition)]);
            const passes = async (call: Promise<void>): Promise<boolean> => {
              const before = reached;
              await call;
              return reached > before;
            };
            const label = `${appProtocol} ${action} ${JSON.stringify(condition)}`;
            const isRead = appProtocol === "tls";
            t.strictSame(
              [
                await passes(hello(pair, NAME)),
                await passes(hello(pair, "orders.other")),
                await passes(hello(pair, undefined)),
                await passes(bytes(pair)),
              ],
              isRead
                ? [named, other, nameless, nameless]
                : [nameless, nameless, nameless, nameless],
              label,
            );
          }
        },
      );
  },
);

function published(pair: Pair): number {
  return pair.callee.ports.published.values().next().value ?? 0;
}

/** A handshake that nobody answers: it is over once its connection is. */
async function hello(
  pair: Pair,
  servername: string | undefined,
): Promise<void> {
  const socket = connect({
    host: "127.0.0.1",
    port: published(pair),
    rejectUnauthorized: false,
    ...(servername === undefined ? {} : { servername }),
  });
  socket.on("error", () => undefined);
  await new Promise((resolve) => socket.once("close", resolve));
}

async function bytes(pair: Pair): Promise<void> {
  const socket = connectTcp(published(pair), "127.0.0.1");
  socket.on("error", () => undefined);
  socket.resume();
  // A first byte that neither TLS nor HTTP begins with: nothing more is waited for.
  socket.write("\0not a handshake");
  await new Promise((resolve) => socket.once("close", resolve));
}

/** The hello of a client that names the host, in a record for each of `sizes` and one for the rest. */
async function helloOf(
  servername: string,
  sizes: readonly number[],
): Promise<Buffer> {
  const [ours, theirs] = duplexPair();
  const tls = connect({ socket: theirs, servername });
  tls.on("error", () => undefined);
  const [record] = (await once(ours, "data")) as [Buffer];
  tls.destroy();
  const parts: Buffer[] = [];
  let rest = record.subarray(5);
  for (const size of [...sizes, rest.length]) {
    const part = rest.subarray(0, size);
    rest = rest.subarray(part.length);
    const head = Buffer.from(record.subarray(0, 5));
    head.writeUInt16BE(part.length, 3);
    if (part.length > 0) parts.push(head, part);
  }
  return Buffer.concat(parts);
}

void t.test("a denied name is not hidden by how it is sent", async (t) => {
  const clock = fakeClock({ wall: Date.now() });
  let reached = 0;
  const rawApp = () => (socket: Socket) => {
    socket.on("error", () => undefined);
    socket.on("data", () => {
      reached += 1;
      socket.destroy();
    });
  };
  const denied = await helloOf(NAME, []);
  const spread = await helloOf(NAME, [60]);
  const version = Buffer.from(denied);
  version[1] = 4;
  const alert = Buffer.from([21, 3, 1, 0, 2, 1, 90]);
  const fine = await helloOf("orders.other", [60]);
  const rows: readonly (readonly [string, Buffer, boolean])[] = [
    ["at once", denied, false],
    ["in two records", spread, false],
    ["of no known version", version, false],
    ["behind an alert", Buffer.concat([alert, denied]), false],
    ["another name in two records", fine, true],
    ["nothing at all", Buffer.alloc(0), false],
    ["a beginning", denied.subarray(0, 4), false],
    ["half a hello", denied.subarray(0, 100), false],
    ["a record of two", spread.subarray(0, 65), false],
  ];
  const mesh = { mtls: { mode: "PERMISSIVE" } };
  const options = { rawApp, mesh, clock, calleePublish: true } as const;
  await withPair({ ...options, appProtocol: "tls" }, async (pair) => {
    pair.apply([policy("DENY", values)]);
    for (const [what, bytes, passes] of rows) {
      const before = reached;
      const timers = clock.pending;
      const socket = connectTcp(published(pair), "127.0.0.1");
      const closed = new Promise((resolve) => socket.once("close", resolve));
      socket.on("error", () => undefined);
      socket.resume();
      socket.write(bytes);
      if (!passes) {
        await Promise.race([closed, until(() => clock.pending > timers)]);
        clock.advance(5000);
        socket.write(denied.subarray(bytes.length));
      }
      await closed;
      t.equal(reached > before, passes, what);
    }
  });
});

/** connection.sni: the host that TLS of the connection to the callee names. */
import { connect as connectTcp, type Socket } from "node:net";
import { connect } from "node:tls";
import t from "tap";
import type { Resource } from "../../src/resources/envelope.ts";
import { makeField } from "../../src/wire/fields.ts";
import { overLink } from "../support/peers/over-link.ts";
import { resource, withPair, type Pair } from "../support/meshes/pair.ts";

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

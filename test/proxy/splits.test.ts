/** Sticky splits: where the called Service's TrafficPolicy asks for a consistent hash, callers keep to their share, and a share that grows keeps them (trap 9). */
import type { Socket } from "node:net";
import t from "tap";
import { hashText } from "../../src/policy/balance/ring.ts";
import type { Sidecar } from "../../src/sidecar/sidecar.ts";
import { placeInSplit } from "../../src/proxy/filters/stickiness.ts";
import type { ClustersView } from "../../src/sidecar/workers/views.ts";
import type { Resource } from "../../src/resources/envelope.ts";
import {
  resource,
  send,
  withPair,
  type Answer,
  type Pair,
} from "../support/meshes/pair.ts";

/** v1 and v2 are the same instances; the backend's filter says which share a request was. */
function split(
  v1: number,
  v2: number,
  consistentHash: object,
  backends?: object,
): Resource[] {
  const service = (name: string): Resource =>
    resource("Service", name, {
      ports: [{ name: "http", port: 80 }],
      selector: { app: "orders" },
    });
  const policy = (name: string, hash: object): Resource =>
    resource("TrafficPolicy", name, {
      targetRefs: [{ kind: "Service", name }],
      loadBalancer: { consistentHash: hash },
    });
  const share = (name: string, weight: number): object => ({
    name,
    port: 80,
    weight,
    filters: [
      {
        type: "ResponseHeaderModifier",
        responseHeaderModifier: { set: [{ name: "x-share", value: name }] },
      },
    ],
  });
  return [
    service("v1"),
    service("v2"),
    policy("orders", consistentHash),
    ...(backends === undefined
      ? []
      : [policy("v1", backends), policy("v2", backends)]),
    resource("HTTPRoute", "orders", {
      parentRefs: [
        { group: "mesh.wherry.dev", kind: "Service", name: "orders" },
      ],
      rules: [{ backendRefs: [share("v1", v1), share("v2", v2)] }],
    }),
  ];
}

function shareOf({ headers }: Answer): string {
  const share = headers["x-share"];
  return typeof share === "string" ? share : "";
}

const USERS = Array.from({ length: 60 }, (_, index) => `user-${index}`);

async function shares(pair: Pair): Promise<Map<string, string>> {
  const found = new Map<string, string>();
  for (const user of USERS)
    found.set(user, shareOf(await pair.call({ headers: { "x-user": user } })));
  return found;
}

void t.test(
  "a caller keeps to its share, and one that grows keeps whom it has",
  async (t) => {
    const by = { httpHeaderName: "x-user" };
    await withPair({ resources: split(80, 20, by) }, async (pair) => {
      const before = await shares(pair);
      t.strictSame(await shares(pair), before, "each time the same");
      const canary = [...before].filter(([, share]) => share === "v2");
      t.ok(
        canary.length > 3 && canary.length < 25,
        `${canary.length} of 60 at 20 %`,
      );
      pair.apply(split(50, 50, by));
      const after = await shares(pair);
      for (const [user] of canary) t.equal(after.get(user), "v2", user);
      const grown = [...after.values()].filter(
        (share) => share === "v2",
      ).length;
      t.ok(grown > canary.length && grown < 45, `${grown} of 60 at 50 %`);
    });
  },
);

void t.test(
  "weights that change open and close no connection, neither on the link nor at the application",
  async (t) => {
    // Those that carried a request: the sidecar's probe connects by itself.
    const sockets = new Set<Socket>();
    let closed = 0;
    const by = { httpHeaderName: "x-user" };
    await withPair(
      {
        app: () => (request, response) => {
          const { socket } = request;
          if (!sockets.has(socket)) socket.on("close", () => (closed += 1));
          sockets.add(socket);
          response.end("ok");
        },
        resources: split(50, 50, by),
      },
      async (pair) => {
        const connections = async (): Promise<readonly string[]> => {
          const of = async ({ ports }: Sidecar): Promise<string[]> => {
            const { text } = await send(ports.admin ?? 0, {
              path: "/clusters",
              host: "127.0.0.1",
            });
            const { pools } = JSON.parse(text) as ClustersView;
            return pools.map(
              ({ place, connections, dialling }) =>
                `${place}: ${connections} open, ${dialling} on the way`,
            );
          };
          return [...(await of(pair.caller)), ...(await of(pair.callee))];
        };
        const seen = new Set<string>();
        for (let call = 0; call < 40; call += 1)
          seen.add(shareOf(await pair.call()));
        t.equal(seen.size, 2, "both shares have been called");
        const before = await connections();
        t.match(before, [/^link .*: 1 open, 0 on the way$/]);
        t.equal(sockets.size, 1);
        for (let weight = 0; weight <= 100; weight += 10) {
          pair.apply(split(100 - weight, weight, by));
          for (let call = 0; call < 10; call += 1)
            t.equal((await pair.call()).status, 200);
        }
        t.strictSame(await connections(), before);
        t.equal(sockets.size, 1, "the application has seen one connection");
        t.equal(closed, 0);
      },
    );
  },
);

void t.test("without the header the weights are drawn each time", async (t) => {
  const by = { httpHeaderName: "x-user" };
  await withPair({ resources: split(50, 50, by) }, async (pair) => {
    const seen = new Set<string>();
    for (let call = 0; call < 40; call += 1)
      seen.add(shareOf(await pair.call()));
    t.equal(seen.size, 2);
  });
});

void t.test(
  "a caller without the cookie gets one, for the split and for its backend's endpoints alike",
  async (t) => {
    const by = { httpCookie: { name: "session", ttl: "1h" } };
    for (const backends of [undefined, by])
      await withPair(
        { resources: split(50, 50, by, backends) },
        async (pair) => {
          for (let round = 0; round < 6; round += 1) {
            const first = await pair.call();
            const given = first.headers["set-cookie"] ?? [];
            t.equal(given.length, 1);
            const cookie = given[0]?.split(";")[0] ?? "";
            t.match(cookie, /^session=[0-9a-f]{32}$/);
            const again = await pair.call({ headers: { cookie } });
            t.equal(shareOf(again), shareOf(first), cookie);
            t.notOk("set-cookie" in again.headers);
          }
        },
      );
  },
);

void t.test(
  "the two of different traits do not disturb each other",
  async (t) => {
    const resources = split(
      50,
      50,
      { httpHeaderName: "x-user" },
      { httpCookie: { name: "session", ttl: "1h" } },
    );
    await withPair({ resources }, async (pair) => {
      const headers = { "x-user": "ann" };
      const first = await pair.call({ headers });
      t.equal(first.headers["set-cookie"]?.length, 1, "of the backend");
      t.equal(shareOf(await pair.call({ headers })), shareOf(first));
    });
  },
);

void t.test(
  "the place in a split is even, and says nothing of the place on a ring",
  (t) => {
    const tenths = new Array<number>(10).fill(0);
    let above = 0;
    for (let index = 0; index < 20_000; index += 1) {
      const hash = hashText(`user-${index}`);
      const place = placeInSplit({ hash, edits: undefined });
      tenths[Math.floor(place * 10)] =
        (tenths[Math.floor(place * 10)] ?? 0) + 1;
      // Those of the first tenth stand anywhere on the ring.
      if (place < 0.1 && hash > 2 ** 31) above += 1;
    }
    for (const count of tenths) t.ok(Math.abs(count - 2000) < 200, `${count}`);
    t.ok(Math.abs(above - 1000) < 120, `${above} of about 2,000`);
    t.end();
  },
);

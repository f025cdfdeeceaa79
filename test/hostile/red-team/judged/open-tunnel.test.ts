/** A connection that was opened before a DENY goes on behind it: tunnels, event streams, and gRPC calls that never end. */
import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";
import t from "tap";
import { systemClock } from "../../../../src/core/clock.ts";
import type { Resource } from "../../../../src/resources/envelope.ts";
import { PREFACE } from "../../../../src/wire/http2/frames/frames.ts";
import { connectLink } from "../../../../src/wire/tls/connect.ts";
import {
  listening,
  resource,
  until,
  withPair,
  type Pair,
} from "../../../support/meshes/pair.ts";
import { snapshotWith } from "../../../support/meshes/snapshot-with.ts";
import { Peer } from "../../../support/hostile/grammar-http1-listeners.ts";
import {
  data,
  headers,
  RawPeer,
  settings,
  SETTINGS_ACK,
  type Pairs,
} from "../../../support/http2/raw-peer.ts";

const forOrders = { selector: { matchLabels: { app: "orders" } } };
const open = resource("PeerAuthentication", "open", {
  ...forOrders,
  mtls: { mode: "PERMISSIVE" },
});
const strict = resource("PeerAuthentication", "open", {
  ...forOrders,
  mtls: { mode: "STRICT" },
});
const denyAll = resource("AuthorizationPolicy", "no", {
  ...forOrders,
  action: "DENY",
  rules: [{}],
});
const allowOther = resource("AuthorizationPolicy", "others", {
  ...forOrders,
  rules: [
    { from: [{ source: { principals: ["cluster.local/ns/shop/sa/other"] } }] },
  ],
});
const allowWeb = resource("AuthorizationPolicy", "others", {
  ...forOrders,
  rules: [
    { from: [{ source: { principals: ["cluster.local/ns/shop/sa/web"] } }] },
  ],
});

const allowAnyone = resource("AuthorizationPolicy", "anyone", {
  ...forOrders,
  rules: [{}],
});

/** Repeats what comes. */
const echo = (): ((socket: Socket) => void) => (socket) => {
  socket.on("error", () => undefined);
  socket.pipe(socket);
};

interface Change {
  readonly what: string;
  readonly before: readonly Resource[];
  readonly after: readonly Resource[];
  readonly reason: string;
}

const CHANGES: readonly Change[] = [
  {
    what: "a DENY",
    before: [open],
    after: [open, denyAll],
    reason: "DENIED",
  },
  {
    what: "an ALLOW that leaves the caller out",
    before: [open],
    after: [open, allowOther],
    reason: "NOT_ALLOWED",
  },
];

async function echoes(peer: Peer, word: string): Promise<void> {
  peer.send(word);
  await until(() => peer.received.endsWith(word));
}

/** Opens a tunnel through both sidecars. */
async function tunnelled(pair: Pair): Promise<Peer> {
  const socket = connect(pair.caller.ports.outbound ?? 0, "127.0.0.1");
  await once(socket, "connect");
  const peer = new Peer(socket);
  peer.send("CONNECT orders.shop:80 HTTP/1.1\r\nHost: orders.shop:80\r\n\r\n");
  await until(() => peer.received.includes("\r\n\r\n"));
  return peer;
}

/** A stranger's bytes at a published port. */
async function published(pair: Pair): Promise<Peer> {
  const [port = 0] = pair.callee.ports.published.values();
  const socket = connect(port, "127.0.0.1");
  await once(socket, "connect");
  return new Peer(socket);
}

const LISTENERS = {
  "over the link": tunnelled,
  "at a published port": published,
};

for (const { what, before, after, reason } of CHANGES)
  for (const [where, enter] of Object.entries(LISTENERS))
    void t.test(`${where}: ${what} ends an open tunnel`, async (t) => {
      await withPair(
        {
          appProtocol: "tcp",
          rawApp: echo,
          calleePublish: true,
          resources: before,
        },
        async (pair) => {
          const peer = await enter(pair);
          await echoes(peer, "before");
          pair.apply([...before, allowWeb, allowAnyone]);
          await echoes(peer, "another change of policy leaves it alone");
          pair.apply(after);
          await until(() => peer.ended);
          await until(() =>
            pair.log.some(
              (line) =>
                line.direction === "inbound" &&
                line.method === "CONNECT" &&
                line.reason === reason,
            ),
          );
          t.ok(
            (await pair.metric(
              pair.callee,
              "wherry_requests_total",
              'direction="inbound"',
              `reason="${reason}"`,
            )) >= 1,
            "a metric tells of it",
          );
          peer.socket.destroy();
        },
      );
    });

void t.test("STRICT ends the tunnel of a stranger", async (t) => {
  await withPair(
    {
      appProtocol: "tcp",
      rawApp: echo,
      calleePublish: true,
      resources: [open],
    },
    async (pair) => {
      const stranger = await published(pair);
      const peer = await tunnelled(pair);
      await echoes(stranger, "before");
      await echoes(peer, "before");
      pair.apply([strict]);
      await until(() => stranger.ended);
      await echoes(peer, "a peer has an identity, and goes on");
      pair.apply([strict, allowWeb]);
      await echoes(peer, "and is allowed");
      t.notOk(peer.ended);
      pair.apply([]);
      await echoes(peer, "still");
      peer.socket.destroy();
    },
  );
});

void t.test(
  "REGISTRY_ONLY ends a tunnel to the outside, and none within the mesh",
  async (t) => {
    const outside = createServer(echo());
    const port = await listening(outside);
    await withPair({ appProtocol: "tcp", rawApp: echo }, async (pair) => {
      const inside = await tunnelled(pair);
      const peer = new Peer(
        connect(pair.caller.ports.outbound ?? 0, "127.0.0.1"),
      );
      peer.send(
        `CONNECT 127.0.0.1:${port} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\n\r\n`,
      );
      await until(() => peer.received.includes("\r\n\r\n"));
      await echoes(peer, "before");
      const { snapshot } = pair.callerAgent;
      const before = snapshot.value;
      if (before === undefined) throw new Error("no snapshot");
      const mesh: typeof before.mesh = {
        ...before.mesh,
        outboundTrafficPolicy: "REGISTRY_ONLY",
      };
      snapshot.set(snapshotWith(before, { mesh }));
      await until(() => peer.ended);
      t.match(
        pair.log.find(({ destination }) => destination === "outside"),
        { reason: "UNKNOWN_DESTINATION" },
      );
      await echoes(inside, "the mesh is not affected");
      inside.socket.destroy();
    });
    outside.close();
  },
);

for (const type of [
  "text/event-stream",
  "application/x-ndjson",
  "application/json;stream=watch",
  "multipart/x-mixed-replace; boundary=frame",
])
  void t.test(`a DENY ends a stream of events, ${type}`, async (t) => {
    await withPair(
      {
        app: () => (_request, response) => {
          response.setHeader("content-type", type);
          response.write("one\n\n");
        },
      },
      async (pair) => {
        const peer = new Peer(
          connect(pair.caller.ports.outbound ?? 0, "127.0.0.1"),
        );
        peer.send("GET /events HTTP/1.1\r\nHost: orders.shop\r\n\r\n");
        await until(() => peer.received.includes("one"));
        pair.apply([denyAll]);
        await until(() => peer.ended);
        t.match(
          pair.log.find(({ direction }) => direction === "inbound"),
          { reason: "DENIED", policy: "shop/no", status: 200 },
        );
      },
    );
  });

/** A call of gRPC whose messages are still to come, and an application that takes them; `responds`: it says at once that it does. */
async function withCall(
  responds: boolean,
  more: Pairs,
  use: (
    pair: Pair,
    peer: RawPeer,
    taken: () => readonly Buffer[],
  ) => Promise<void>,
): Promise<void> {
  const taken: Buffer[] = [];
  await withPair(
    {
      appProtocol: "grpc",
      rawApp: () => (socket) => {
        const peer = new RawPeer(socket, true);
        peer.send(settings(), SETTINGS_ACK);
        socket.on("data", () => {
          for (const { type, id, payload } of peer.frames.splice(0))
            if (type === 0) taken.push(payload);
            else if (type === 1 && responds)
              peer.send(
                headers(
                  id,
                  [
                    [":status", "200"],
                    ["content-type", "application/grpc"],
                  ],
                  false,
                ),
              );
        });
      },
    },
    async (pair) => {
      const { socket } = await connectLink({
        address: "127.0.0.1",
        port: pair.callee.ports.link ?? 0,
        expected: pair.authority.id("orders"),
        credentials: pair.authority.credentials("web"),
        timeoutMs: 5000,
        clock: systemClock,
        signal: new AbortController().signal,
      });
      const peer = new RawPeer(socket, false);
      peer.send(
        PREFACE,
        settings(),
        SETTINGS_ACK,
        headers(
          1,
          [
            [":method", "POST"],
            [":scheme", "http"],
            [":authority", "orders.shop"],
            [":path", "/orders.Orders/Watch"],
            ["content-type", "application/grpc"],
            ["te", "trailers"],
            ["x-wherry-destination", "orders.shop:80"],
            ...more,
          ],
          false,
        ),
      );
      await use(pair, peer, () => taken);
      t.match(
        pair.log.find(({ direction }) => direction === "inbound"),
        { reason: "DENIED", policy: "shop/no" },
      );
      peer.socket.destroy();
    },
  );
}

for (const [what, ...more] of [
  ["without a deadline"],
  ["with a deadline in years", ["grpc-timeout", "99999999H"]],
  ["with one that its sidecar says", ["x-wherry-deadline", "9999999999"]],
] as const)
  void t.test(`a DENY ends a gRPC call ${what}`, async (t) => {
    await withCall(true, more, async (pair, peer) => {
      await peer.next(1, 1);
      pair.apply([denyAll]);
      t.equal(await peer.resetCode(1), 8, "CANCEL");
    });
  });

void t.test(
  "a DENY ends one that sends on, and has no response yet",
  async (t) => {
    await withCall(false, [], async (pair, peer, taken) => {
      peer.send(data(1, Buffer.from("one"), false));
      await until(() => Buffer.concat(taken()).includes("one"));
      pair.apply([denyAll]);
      await peer.next(1, 1);
      peer.send(data(1, Buffer.from("two"), false));
      await until(() => pair.log.length > 0);
      t.notMatch(Buffer.concat(taken()).toString(), /two/);
    });
  },
);

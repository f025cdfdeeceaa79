/** What a sidecar does to the connections of a revoked peer, in both directions: new calls, calls in flight, WebSockets, tunnels. */
import { connect } from "node:net";
import t from "tap";
import type { Resource } from "../../src/resources/envelope.ts";
import {
  resource,
  until,
  withPair,
  type Pair,
} from "../support/meshes/pair.ts";
import {
  closeOf,
  frame,
  handshake,
  RawClient,
  WebSocketApplication,
} from "../support/peers/websocket.ts";

function revocation(spec: Readonly<Record<string, unknown>>): Resource {
  return resource("Revocation", "stolen", spec);
}

/** Revoked is one side of a call: the other one acts. */
const SIDES = ["web", "orders"] as const;

void t.test(
  "law 5: a new call is refused, and one in flight is cut",
  async (t) => {
    for (const account of SIDES) {
      let reached = 0;
      await withPair(
        { app: () => () => void (reached += 1) },
        async (pair: Pair) => {
          const inFlight = pair.call({ method: "POST" });
          await until(() => reached === 1);
          pair.apply([revocation({ identity: pair.authority.id(account) })]);
          const refused = await pair.call();
          t.equal(refused.status, 503, `${account}: a new call`);
          t.equal(reached, 1, "nothing reaches the application");
          const cut = await inFlight;
          t.not(cut.status, 200);
          t.equal(
            cut.reason?.split(";")[0],
            account === "web" ? "UPSTREAM_RESET" : "REVOKED",
            "the one in flight",
          );
          if (account === "web")
            t.ok(
              (await pair.metric(
                pair.callee,
                "wherry_refusals_total",
                'reason="revoked"',
              )) > 1,
              "the connection, and the next handshake",
            );
        },
      );
    }
  },
);

void t.test("undone, calls go through again", async (t) => {
  await withPair({}, async (pair) => {
    t.equal((await pair.call()).status, 200);
    pair.apply([revocation({ identity: pair.authority.id("web") })]);
    t.equal((await pair.call()).status, 503);
    pair.apply([]);
    t.equal((await pair.call()).status, 200);
  });
});

void t.test("another identity does not feel it", async (t) => {
  await withPair({}, async (pair) => {
    t.equal((await pair.call()).status, 200);
    const before = pair.caller.inFlight.outbound;
    pair.apply([revocation({ identity: pair.authority.id("other") })]);
    t.equal((await pair.call()).status, 200);
    t.equal(pair.caller.inFlight.outbound, before);
    t.equal(
      await pair.metric(pair.callee, "wherry_refusals_total"),
      0,
      "no connection ended",
    );
  });
});

void t.test("a WebSocket gets a Close with 1008", async (t) => {
  for (const account of SIDES) {
    const app = new WebSocketApplication();
    const caller = { upstream: [{ port: 0, to: "orders.shop" }] };
    await withPair({ rawApp: () => app.accept, caller }, async (pair) => {
      const port = pair.caller.ports.upstreams.get("orders.shop") ?? 0;
      const client = await RawClient.open(port, handshake({}));
      await until(() => client.head !== "");
      client.socket.write(frame(0x81, Buffer.from("hello"), true));
      await until(() => client.frames.length === 1);
      pair.apply([revocation({ identity: pair.authority.id(account) })]);
      await until(() => client.frames.length === 2);
      t.equal(closeOf(client.frames.at(-1) ?? never()).code, 1008, account);
    });
  }
});

void t.test("a tunnel ends, over the link and in plaintext", async (t) => {
  for (const plaintext of [false, true]) {
    let open = 0;
    const caller = { upstream: [{ port: 0, to: "orders.shop" }] };
    await withPair(
      {
        appProtocol: "tcp",
        plaintext,
        caller,
        rawApp: () => (socket) => {
          open += 1;
          socket.on("error", () => undefined);
          socket.on("close", () => (open -= 1));
          socket.pipe(socket);
        },
      },
      async (pair) => {
        const port = pair.caller.ports.upstreams.get("orders.shop") ?? 0;
        const socket = connect({ port, host: "127.0.0.1" });
        socket.on("error", () => undefined);
        socket.write("hello");
        await new Promise((resolve) => socket.once("data", resolve));
        pair.apply([revocation({ instance: "shop/orders-1" })]);
        // Over the link the certificate of this test names no instance, so the identity is what is revoked.
        if (!plaintext)
          pair.apply([revocation({ identity: pair.authority.id("orders") })]);
        await new Promise((resolve) => socket.once("close", resolve));
        await until(() => open === 0);
        t.pass(plaintext ? "in plaintext" : "over the link");
      },
    );
  }
});

function never(): never {
  throw new Error("there is none");
}

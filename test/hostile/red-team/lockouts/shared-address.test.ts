/** A caller with bad connections behind an address that others share: they are back once its penalty is over, and behind a declared proxy there is none. */
import { connect, type Socket } from "node:net";
import { once } from "node:events";
import t from "tap";
import { TURNED_AWAY } from "../../../../src/proxy/downstream/sources.ts";
import { fakeClock } from "../../../support/clocks/fake-clock.ts";
import {
  resource,
  send,
  withPair,
  type Pair,
} from "../../../support/meshes/pair.ts";

/** As many as took the address away. */
const BAD_CONNECTIONS = 71;

const OPEN = resource("PeerAuthentication", "open", {
  selector: { matchLabels: { app: "orders" } },
  mtls: { mode: "PERMISSIVE" },
});

/** HTTP/2 that begins with a frame which cannot be there. */
const BAD = Buffer.concat([
  Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "latin1"),
  Buffer.from([0, 0, 0, 0, 0, 0, 0, 0, 0]),
]);

const published = (pair: Pair): number =>
  [...pair.callee.ports.published.values()][0] ?? 0;

async function attack(pair: Pair): Promise<void> {
  for (let count = 0; count < BAD_CONNECTIONS; count += 1) {
    const socket: Socket = connect(published(pair), "127.0.0.1");
    socket.on("error", () => undefined);
    socket.on("data", () => undefined);
    socket.write(BAD);
    if (!socket.closed) await once(socket, "close");
  }
}

/** The status of a neighbour's call; 0 where its connection was closed. */
async function neighbour(pair: Pair): Promise<number> {
  try {
    const { status } = await send(published(pair), { host: "orders.shop" });
    return status;
  } catch {
    return 0;
  }
}

void t.test(
  "the address is turned away, and no longer than that",
  async (t) => {
    const clock = fakeClock();
    const options = { clock, calleePublish: true, resources: [OPEN] };
    await withPair(options, async (pair) => {
      t.equal(await neighbour(pair), 200);
      await attack(pair);
      t.equal(await neighbour(pair), 0);
      clock.advance(TURNED_AWAY.first);
      for (let count = 0; count < 20; count += 1)
        t.equal(await neighbour(pair), 200);
    });
  },
);

void t.test("a declared proxy's address never is", async (t) => {
  const callee = { trustedProxies: ["127.0.0.0/8"] };
  await withPair(
    { calleePublish: true, resources: [OPEN], callee },
    async (pair) => {
      await attack(pair);
      t.equal(await neighbour(pair), 200);
    },
  );
});

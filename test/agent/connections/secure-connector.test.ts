/** A client that is closed leaves nothing behind: no dial between two tries, and no handshake that nobody waits for. */
import { once } from "node:events";
import { createServer, Socket, type AddressInfo } from "node:net";
import t from "tap";
import { openClient, openStream } from "../../../src/agent/connection.ts";
import {
  endWithClient,
  type SecureConnector,
} from "../../../src/agent/connections/secure-connector.ts";
import { systemClock } from "../../../src/core/clock.ts";
import { DISCOVERY } from "../../../src/push/services.ts";
import { fakeAuthority } from "../../support/certificates/certificate-authority.ts";

interface Scripted {
  readonly connector: SecureConnector;
  readonly calls: string[];
  readonly handshake: PromiseWithResolvers<unknown>;
}

function scripted(): Scripted {
  const calls: string[] = [];
  const handshake = Promise.withResolvers<unknown>();
  const connector = {
    waitForReady() {
      calls.push("waitForReady");
      return Promise.resolve();
    },
    async connect(socket: Socket) {
      calls.push("connect");
      await handshake.promise;
      return { socket, secure: true };
    },
    destroy: () => calls.push("destroy"),
  } as unknown as SecureConnector;
  endWithClient(connector);
  return { connector, calls, handshake };
}

void t.test("it does all as before until it is destroyed", async (t) => {
  const { connector, calls, handshake } = scripted();
  const raw = new Socket();
  await connector.waitForReady();
  const connecting = connector.connect(raw);
  handshake.resolve(undefined);
  t.equal((await connecting).socket, raw);
  connector.destroy();
  t.notOk(raw.destroyed, "a connection that is made ends by its client");
  t.same(calls, ["waitForReady", "connect", "destroy"]);
});

void t.test("it dials no more once it is destroyed", async (t) => {
  const { connector, calls } = scripted();
  connector.destroy();
  await t.rejects(connector.waitForReady(), {
    message: "the client is closed",
  });
  await t.rejects(connector.connect(new Socket()), {
    message: "the client is closed",
  });
  t.same(calls, ["destroy"]);
});

void t.test("a failed handshake is forgotten", async (t) => {
  const { connector, handshake } = scripted();
  const raw = new Socket();
  const connecting = connector.connect(raw);
  handshake.reject(new Error("no"));
  await t.rejects(connecting, { message: "no" });
  connector.destroy();
  t.notOk(raw.destroyed);
});

void t.test(
  "a client that is closed in its handshake breaks it off",
  { timeout: 20_000 },
  async (t) => {
    const server = createServer();
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    t.teardown(() => server.close());
    const { port } = server.address() as AddressInfo;
    const credentials = fakeAuthority().credentials("web");
    const client = openClient({
      address: `127.0.0.1:${port}`,
      trustBundle: credentials.trustBundle,
      credentials,
      clock: systemClock,
      maxMessageBytes: -1,
    });
    const stream = openStream(client, DISCOVERY.DeltaAggregatedResources);
    stream.on("error", () => undefined);
    const [accepted] = (await once(server, "connection")) as [Socket];
    // Of its handshake; it is never answered.
    await once(accepted, "readable");
    stream.cancel();
    client.close();
    accepted.on("error", () => undefined).resume();
    await once(accepted, "close");
    t.pass("it does not wait for the server");
  },
);

/** The clients of providers: one for each of the config in force, found without writing the provider out, and none that stays open for nothing. */
import t from "tap";
import { watchSource } from "../../../src/core/watch.ts";
import type { Snapshot } from "../../../src/policy/snapshot.ts";
import type {
  Answer,
  Asked,
  Asking,
} from "../../../src/proxy/checks/providers/answer.ts";
import { ProviderClients } from "../../../src/proxy/checks/providers/clients.ts";
import {
  providersOf,
  type Provider,
} from "../../../src/resources/mesh/providers.ts";
import { grpcScript, httpScript } from "../../support/checks/providers.ts";
import { scriptedStream } from "../../support/checks/scripted-stream.ts";
import { until } from "../../support/meshes/pair.ts";

function providerOf(server: object): Provider {
  const [provider] = providersOf([{ name: "opa", ...server }]);
  if (provider === undefined) throw new Error("there is no provider");
  return provider;
}

/** A config whose only port asks these. */
function configOf(...providers: readonly Provider[]): Snapshot {
  const names = providers.map(({ name }) => name);
  return {
    mesh: { authorization: { providers } },
    inbound: { ports: [{ custom: { providers: names } }] },
  } as unknown as Snapshot;
}

function ask(
  clients: ProviderClients,
  provider: Provider,
  done: (answer: Answer) => void,
): Asking {
  const asked = {
    ...{ stream: scriptedStream({}, {}, true), read: { target: "/" } },
    ...{ self: "", port: 1, wall: 0, body: undefined, partial: false },
  };
  return clients.of(provider).ask(asked as unknown as Asked, done);
}

const answerOf = (
  clients: ProviderClients,
  provider: Provider,
): Promise<Answer> => new Promise((resolve) => ask(clients, provider, resolve));

void t.test("a provider is written out once", (t) => {
  let written = 0;
  const provider = {
    ...providerOf({ http: { address: "127.0.0.1:1" } }),
    toJSON: () => {
      written += 1;
      return "opa";
    },
  };
  const snapshot = watchSource<Snapshot | undefined>(configOf(provider));
  const clients = new ProviderClients(snapshot);
  const client = clients.of(provider);
  t.equal(clients.of(provider), client);
  snapshot.set(configOf(provider));
  t.equal(clients.of(provider), client, "the next config has it too");
  t.equal(clients.of({ ...provider }), client, "and so has an older one");
  t.equal(written, 2);
  clients.close();
  t.end();
});

void t.test(
  "a request of an earlier config is answered, and leaves nothing open",
  async (t) => {
    let open = 0;
    let isHeld = false;
    const http = await httpScript((request, response) => {
      open += 1;
      request.socket.once("close", () => (open -= 1));
      if (!isHeld) response.end();
    });
    const grpc = await grpcScript(() => ({ status: { code: 0 } }));
    const old = providerOf({ http: { address: http.address } });
    const oldGrpc = providerOf({ grpc: { address: grpc.address } });
    const snapshot = watchSource<Snapshot | undefined>(configOf(old));
    const clients = new ProviderClients(snapshot);
    try {
      t.equal((await answerOf(clients, old)).kind, "allowed");
      t.equal(open, 1, "what is in force is kept open");
      snapshot.set(configOf());
      await until(() => open === 0);
      t.equal((await answerOf(clients, old)).kind, "allowed");
      t.equal((await answerOf(clients, oldGrpc)).kind, "allowed");
      await until(() => open === 0);
      isHeld = true;
      const asking = ask(clients, old, () => t.fail("it is called off"));
      await until(() => open === 1);
      asking.cancel();
      await until(() => open === 0);
      t.equal(http.asked.length, 3);
    } finally {
      clients.close();
      grpc.close();
      await http.close();
    }
  },
);

/** The clients of providers: one for each of the config in force, found without writing the provider out, and none that stays open for nothing. */
import t from "tap";
import { watchSource } from "../../../../src/core/watch.ts";
import type { Snapshot } from "../../../../src/policy/snapshot.ts";
import type {
  Answer,
  Asked,
  Asking,
} from "../../../../src/proxy/checks/providers/answer.ts";
import { ProviderClients } from "../../../../src/proxy/checks/providers/clients.ts";
import {
  providersOf,
  type Provider,
} from "../../../../src/resources/mesh/providers.ts";
import { fakeClock } from "../../../support/clocks/fake-clock.ts";
import { silentWay } from "../../../support/faults/silent-way.ts";
import { grpcScript, httpScript } from "../../../support/checks/providers.ts";
import { scriptedStream } from "../../../support/checks/scripted-stream.ts";
import { until } from "../../../support/meshes/pair.ts";

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
  const clients = new ProviderClients(snapshot, fakeClock());
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
    const clients = new ProviderClients(snapshot, fakeClock());
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

void t.test(
  "gRPC: another connection is tried where two questions have no response",
  async (t) => {
    let isHeld = false;
    const grpc = await grpcScript(() =>
      isHeld ? undefined : { status: { code: 0 } },
    );
    const way = await silentWay(grpc.address);
    const provider = providerOf({ grpc: { address: way.address } });
    const clock = fakeClock();
    const snapshot = watchSource<Snapshot | undefined>(configOf(provider));
    const clients = new ProviderClients(snapshot, clock);
    const unheard = async (): Promise<Asking> => {
      const before = grpc.asked.length;
      const asking = ask(clients, provider, () => t.fail("it is called off"));
      await until(() => grpc.asked.length > before);
      return asking;
    };
    try {
      t.equal((await answerOf(clients, provider)).kind, "allowed");
      isHeld = true;
      const first = await unheard();
      const second = await unheard();
      first.cancel();
      const third = await unheard();
      t.equal(way.made, 1, "one alone says nothing");
      second.cancel();
      const fourth = await unheard();
      t.equal(way.made, 2);
      t.equal(way.open, 2, "the third may still be answered");
      third.cancel();
      await until(() => way.open === 1);
      // Nothing was heard on the new one: it has its time.
      fourth.cancel();
      for (let time = 0; time < 5; time += 1) (await unheard()).cancel();
      t.equal(way.made, 2);
      clock.advance(10_000);
      (await unheard()).cancel();
      t.equal(way.made, 3);
      await until(() => way.open === 1);
      isHeld = false;
      t.equal((await answerOf(clients, provider)).kind, "allowed");
      t.equal(way.made, 3);
    } finally {
      clients.close();
      await until(() => way.open === 0);
      way.close();
      grpc.close();
    }
  },
);

void t.test(
  "gRPC: a question that others overtook says nothing of the connection",
  async (t) => {
    let isHeld = true;
    const grpc = await grpcScript(() =>
      isHeld ? undefined : { status: { code: 0 } },
    );
    const way = await silentWay(grpc.address);
    const provider = providerOf({ grpc: { address: way.address } });
    const snapshot = watchSource<Snapshot | undefined>(configOf(provider));
    const clients = new ProviderClients(snapshot, fakeClock());
    try {
      const held = [0, 1, 2].map(() =>
        ask(clients, provider, () => t.fail("it is called off")),
      );
      await until(() => grpc.asked.length === 3);
      isHeld = false;
      t.equal((await answerOf(clients, provider)).kind, "allowed");
      for (const asking of held) asking.cancel();
      t.equal((await answerOf(clients, provider)).kind, "allowed");
      t.equal(way.made, 1);
    } finally {
      clients.close();
      way.close();
      grpc.close();
    }
  },
);

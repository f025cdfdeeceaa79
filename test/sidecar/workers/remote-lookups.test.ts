import t from "tap";
import type { NotKnown, Want } from "../../../src/agent/interest/lookups.ts";
import {
  RESOLVE_WITHIN,
  MOST_QUESTIONS,
  MOST_WAITING,
} from "../../../src/agent/interest/questions.ts";
import type { Destination } from "../../../src/policy/snapshot.ts";
import type { FromThread } from "../../../src/sidecar/workers/protocol.ts";
import { RemoteLookups } from "../../../src/sidecar/workers/remote-lookups.ts";
import {
  startAsking,
  type AskingSidecar,
} from "../../support/control-plane/asking-sidecar.ts";
import { fakeClock, type FakeClock } from "../../support/clocks/fake-clock.ts";
import { startApplication } from "../../support/control-plane/asking-sidecar.ts";
import { send, until } from "../../support/meshes/pair.ts";

const MINUTE = 60_000;

function destination(name: string): Destination {
  return {
    key: `${name}.shop:80`,
    service: { name, namespace: "shop" },
  } as Destination;
}

interface Remote {
  readonly clock: FakeClock;
  readonly lookups: RemoteLookups;
  readonly posted: FromThread[];
  readonly look: (want: Partial<Want>) => {
    result: "waits" | "known" | NotKnown["kind"];
  };
}

function remote(inUse: readonly string[] = []): Remote {
  const clock = fakeClock();
  const posted: FromThread[] = [];
  const lookups = new RemoteLookups({
    clock,
    post: (message) => void posted.push(message),
    inUse: () => inUse,
  });
  return {
    clock,
    lookups,
    posted,
    look(want) {
      const outcome: { result: "waits" | "known" | NotKnown["kind"] } = {
        result: "waits",
      };
      lookups.look(
        { service: undefined, questions: [], ...want },
        (failure) => (outcome.result = failure?.kind ?? "known"),
      );
      return outcome;
    },
  };
}

void t.test("a Service is asked for once, and used from then on", (t) => {
  const { lookups, posted, look } = remote();
  const orders = destination("orders");
  t.notOk(lookups.holds(orders));
  const outcome = look({ service: "shop/orders" });
  t.same(posted, [
    {
      kind: "look",
      number: 1,
      want: { service: "shop/orders", questions: [] },
    },
  ]);
  lookups.looked(1, { kind: "granted" });
  t.same(outcome, { result: "known" });
  t.ok(lookups.holds(orders));
  lookups.swapped();
  t.ok(lookups.holds(orders), "whatever snapshot");
  lookups.forget({ services: ["shop/orders"], questions: [] });
  t.notOk(lookups.holds(orders));
  t.end();
});

void t.test("an answer is remembered until it is forgotten", (t) => {
  const { lookups, look } = remote();
  const questions = ["Host//none.shop"];
  const outcome = look({ questions });
  lookups.looked(1, { kind: "known" });
  t.same(outcome, { result: "known" });
  t.ok(lookups.knows("Host//none.shop"));
  lookups.forget({ services: [], questions });
  t.notOk(lookups.knows("Host//none.shop"));
  t.end();
});

void t.test("a failure is told, and nothing is remembered", (t) => {
  const { lookups, look } = remote();
  const outcome = look({
    service: "shop/orders",
    questions: ["Host//orders.shop"],
  });
  const failure = { kind: "gone", detail: "" } as const;
  lookups.looked(1, { kind: "failed", failure });
  t.same(outcome, { result: "gone" });
  t.notOk(lookups.knows("Host//orders.shop"));
  t.notOk(lookups.holds(destination("orders")));
  t.end();
});

void t.test("nobody waits for a main thread that is busy", (t) => {
  const { clock, lookups, look } = remote();
  const outcome = look({ questions: ["Host//a"] });
  clock.advance(RESOLVE_WITHIN);
  t.same(outcome, { result: "late" });
  lookups.looked(1, { kind: "known" });
  t.same(outcome, { result: "late" });
  const waiting = Array.from({ length: MOST_WAITING }, () =>
    look({ questions: ["Host//a"] }),
  );
  t.same(look({ questions: ["Host//a"] }), { result: "busy" });
  t.ok(waiting.every(({ result }) => result === "waits"));
  t.end();
});

void t.test("what was of use is told once a minute", (t) => {
  const { clock, lookups, posted, look } = remote(["shop/long"]);
  look({ service: "shop/orders" });
  lookups.looked(1, { kind: "granted" });
  look({ questions: ["Host//none"] });
  lookups.looked(2, { kind: "known" });
  const used = (): unknown[] =>
    posted.splice(0).filter(({ kind }) => kind === "used");
  clock.advance(MINUTE);
  t.same(used(), [
    {
      kind: "used",
      used: {
        services: ["shop/orders", "shop/long"],
        questions: ["Host//none"],
      },
    },
  ]);
  clock.advance(MINUTE);
  t.same(used(), [
    { kind: "used", used: { services: ["shop/long"], questions: [] } },
  ]);
  t.ok(lookups.holds(destination("orders")));
  t.ok(lookups.knows("Host//none"));
  clock.advance(MINUTE);
  t.match(used(), [
    {
      used: {
        services: ["shop/orders", "shop/long"],
        questions: ["Host//none"],
      },
    },
  ]);
  t.end();
});

void t.test("a scan does not fill the memory of a thread", (t) => {
  const { lookups, look } = remote();
  for (let number = 1; number <= MOST_QUESTIONS + 1; number += 1) {
    look({ questions: [`Host//a${number}`] });
    lookups.looked(number, { kind: "known" });
  }
  t.notOk(lookups.knows("Host//a1"));
  t.ok(lookups.knows(`Host//a${MOST_QUESTIONS + 1}`));
  t.end();
});

/** Calls on connections of their own until every worker has served one: the kernel spreads them. */
async function atAllWorkers(
  { sidecar }: AskingSidecar,
  workers: number,
  call: () => Promise<void>,
): Promise<void> {
  const served = async (): Promise<number> => {
    const { text } = await send(sidecar.ports.admin ?? 0, {
      path: "/workers",
      host: "127.0.0.1",
    });
    const views = JSON.parse(text) as { requests: { outbound: number } }[];
    return views.filter(({ requests }) => requests.outbound > 0).length;
  };
  while ((await served()) < workers) await call();
}

void t.test("every worker asks by way of the main thread", async (t) => {
  const mesh = await startAsking(t, {
    services: ["orders", "web"],
    sidecar: { concurrency: 3, accessLog: "none" },
  });
  const port = await startApplication(t, "outside");
  await atAllWorkers(mesh, 3, async () => {
    t.match(await mesh.call("orders.shop"), { status: 200, text: "orders /" });
    t.match(await mesh.call("web.shop"), { status: 200, text: "web /" });
    t.match(await mesh.call(`127.0.0.1:${port}`), {
      status: 200,
      text: "outside /",
    });
  });
  t.same(mesh.plane.said.flatMap(({ subscribe }) => subscribe).toSorted(), [
    "Host//127.0.0.1",
    "Host//orders.shop",
    "Host//web.shop",
    "Service/shop/orders",
    "Service/shop/web",
    "self",
  ]);
  await mesh.plane.close();
  await until(() => !mesh.agent.state.value.connected);
  for (let time = 0; time < 12; time += 1) {
    t.match(await mesh.call("orders.shop"), { status: 200 });
    t.match(await mesh.call("stock.shop"), { reason: "NO_CONFIG" });
  }
});

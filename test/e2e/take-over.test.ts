/** Sidecars that are replaced in place under calls, with WebSockets and streams open; and newer processes that fail, or may not. */
import t from "tap";
import { EXIT } from "../../src/core/errors.ts";
import { eventually } from "../support/peers/call.ts";
import { Dialogues, startDialogueServers } from "../support/peers/dialogues.ts";
import { startCalls } from "../support/peers/steady-calls.ts";
import { replaceDemo } from "../support/processes/demo-take-over.ts";
import { startShop } from "../support/processes/shop-processes.ts";
import type { SidecarProcess } from "../support/processes/sidecar-process.ts";

const HAND_OVERS = Number(process.env["HAND_OVERS"] ?? 3);
const STREAMS = Number(process.env["STREAMS"] ?? 3);
const CALLERS = 1;
const WITHIN = 60_000;
/** What the older process says once its sockets are handed over. */
const HANDED = "a newer process is taking over";

const servers = await startDialogueServers();
const shop = await startShop({
  // Longer than anything here takes on a slow machine: nothing may be cut off.
  more: ["--drain-timeout", "300s"],
  // No other sidecar may say that they are its own: it would have them once the lease of this one runs out.
  own: { orders: servers.options },
});
t.teardown(async () => {
  await shop.close();
  servers.close();
});
for (const service of servers.services)
  await shop.put("namespaces/shop/services", service);

void t.test(
  `${HAND_OVERS} times a sidecar is replaced under calls: none fails`,
  { timeout: 600_000 },
  async (t) => {
    const { outbound } = shop.sidecar("web");
    const calls = startCalls(outbound, "orders.shop", CALLERS);
    const dialogues = new Dialogues(STREAMS);
    for (let round = 0; round < HAND_OVERS; round += 1) {
      const account = round % 2 === 0 ? "orders" : "web";
      const older = shop.sidecar(account);
      await dialogues.open(outbound);
      const before = calls.made;
      const newer = await shop.takeOver(account);
      t.same(portsOf(newer), portsOf(older), "the same ports");
      t.same(
        await dialogues.closes(),
        Array(STREAMS).fill("1001"),
        "going away",
      );
      const { ends, withGoaway } = await dialogues.ends();
      t.same(ends, Array(STREAMS).fill("0"), "in order");
      if (account === "web") t.equal(withGoaway, STREAMS, "GOAWAY");
      t.match(await older.process.untilEnded(), { code: EXIT.done });
      t.equal(await newer.ready("/readyz?application"), 200);
      t.ok(calls.made > before, `${calls.made - before} calls meanwhile`);
    }
    await calls.stop();
    t.same([...calls.failures], [], `${calls.made} calls`);
    t.same([...(await shop.connected())].sort(), ["orders-1", "web-1"]);
  },
);

if (process.env["WHERRY_LONG"] === "1")
  void t.test(
    "every sidecar of the demo is replaced under calls",
    { timeout: 900_000 },
    (t) => replaceDemo(t, 20),
  );

void t.test("a newer process that cannot start changes nothing", async (t) => {
  const older = shop.sidecar("orders");
  const taken = new URL(shop.plane.api).port;
  await t.rejects(
    shop.takeOver("orders", ["--metrics-port", taken]),
    /it ended with 1: [^]*the metrics pages cannot listen/,
  );
  await eventually(
    "the older one has heard of it",
    WITHIN,
    () => Promise.resolve(older.process.log),
    (log) => log.includes("this one goes on"),
  );
  t.equal((await shop.call()).status, 200);
  t.equal(await older.ready("/readyz?application"), 200);
  t.equal(older.process.ended, undefined);
});

/** When the newer process is killed, by what the older one says; from the second on, directory and place in the mesh are the newer one's. */
const KILLS = [
  { when: HANDED, goesOn: true },
  { when: "shutting down", goesOn: false },
] as const;

for (const { when, goesOn } of KILLS)
  void t.test(
    `a newer process that is killed when the older one says "${when}"`,
    async (t) => {
      const older = shop.sidecar("orders");
      const before = older.process.log.length;
      const said = (words: string): Promise<string> =>
        eventually(
          words,
          WITHIN,
          () => Promise.resolve(older.process.log.slice(before)),
          (log) => log.includes(words),
        );
      const taking = shop.takeOver("orders").catch(() => undefined);
      const log = await said(when);
      process.kill(newerIn(log), "SIGKILL");
      await taking;
      if (goesOn) {
        await said("this one goes on");
        t.equal((await shop.call()).status, 200);
        t.equal(older.process.ended, undefined);
        return;
      }
      // As a supervisor starts it again, with the options that it has always had.
      const next = await shop.takeOver("orders", [
        ...["--outbound-port", String(older.outbound)],
        ...["--link-port", String(older.link)],
      ]);
      t.equal(next.link, older.link, "the port is free");
      await eventually(
        "the next process serves",
        WITHIN,
        () => shop.call(),
        ({ status }) => status === 200,
      );
      t.match(await older.process.untilEnded(), { code: EXIT.done });
    },
  );

/** The process that takes over, as the older one names it. */
function newerIn(log: string): number {
  const line = log.split("\n").find((each) => each.includes(HANDED)) ?? "";
  const pids = [...line.matchAll(/"pid":([0-9]+)/g)].map(([, pid]) => pid);
  return Number(pids.at(-1));
}

void t.test("an older process that hangs from the start", async (t) => {
  const older = shop.sidecar("orders");
  older.process.signal("SIGSTOP");
  await t.rejects(
    shop.takeOver("orders"),
    /it ended with 1: [^]*does not respond: end it with "kill -9 [0-9]+"/,
    "the newer one ends, and says what to do",
  );
  older.process.signal("SIGCONT");
  await eventually(
    "the older one goes on",
    WITHIN,
    () => shop.call(),
    ({ status }) => status === 200,
  );
  t.equal(await older.ready("/readyz?application"), 200);
});

void t.test("an older process that hangs half way", async (t) => {
  const { outbound } = shop.sidecar("web");
  const [older, newer] = await halfWay(
    (process) => process.signal("SIGSTOP"),
    ({ log, ended }) => ended === undefined && log.includes(NO_RESPONSE),
  );
  const calls = startCalls(outbound, "orders.shop", CALLERS);
  await eventually(
    "calls are served while the older one hangs",
    WITHIN,
    () => Promise.resolve(calls.made),
    (made) => made >= 20,
  );
  older.process.signal("SIGKILL");
  t.match(await older.process.untilEnded(), { signal: "SIGKILL" });
  await eventually(
    "the newer one has its place in the mesh",
    WITHIN,
    // Asked so often, the API may say that it is too often.
    () => shop.connected().catch((): readonly string[] => []),
    (names) => names.includes("orders-1"),
  );
  await calls.stop();
  t.same([...calls.failures], [], `${calls.made} calls`);
  t.equal(await newer.ready("/readyz?application"), 200);
});

const NO_RESPONSE = "the older process does not respond";
/** It hung before it had handed all over: the newer one has ended. */
const TOO_SOON = "does not respond: end it with";

/**
 * A take-over of orders in which something is done to the older process once the newer one has its sockets. On a machine that is
 * busy, it may have let go by then, or have handed nothing over: another one is tried.
 */
async function halfWay(
  strike: (older: SidecarProcess["process"]) => void,
  isMet: (newer: SidecarProcess["process"]) => boolean,
): Promise<readonly [older: SidecarProcess, newer: SidecarProcess]> {
  for (;;) {
    const older = shop.sidecar("orders");
    const before = older.process.log.length;
    const taking = shop.takeOver("orders");
    await eventually(
      "the sockets are handed over",
      WITHIN,
      () => Promise.resolve(older.process.log.slice(before)),
      (log) => log.includes(HANDED),
    );
    strike(older.process);
    const newer = await taking.catch((thrown: unknown) => {
      if (!String(thrown).includes(TOO_SOON)) throw thrown;
      return undefined;
    });
    if (newer === undefined) {
      older.process.signal("SIGCONT");
      continue;
    }
    const isHalfWay = await eventually(
      "the newer one knows how it stands",
      WITHIN,
      () => Promise.resolve(isMet(newer.process) || undefined),
      (is) => is ?? older.process.log.includes("draining"),
    );
    if (isHalfWay === true) return [older, newer];
    older.process.signal("SIGCONT");
    await older.process.untilEnded();
  }
}

function portsOf({
  outbound,
  link,
  admin,
  metrics,
}: SidecarProcess): readonly number[] {
  return [outbound, link, admin, metrics];
}

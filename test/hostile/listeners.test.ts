/** The listeners of a running sidecar among hostile peers: the process lives, holds nothing for them, and serves the next good caller. */
import { connect, type Socket } from "node:net";
import t from "tap";
import { collectGarbage } from "../../src/runtime/v8.ts";
import { seededRandom } from "../support/clocks/fake-clock.ts";
import {
  resource,
  send,
  until,
  withPair,
  type Pair,
} from "../support/meshes/pair.ts";
import { keptLog } from "../support/laws/harness.ts";
import {
  HTTP1_ATTACKS,
  HTTP2_ATTACKS,
  HTTP2_FLOODS,
  TLS_ATTACKS,
  type Attack,
  type Random,
} from "../support/hostile/attacks.ts";

/** Attackers at a time. */
const CROWD = 16;
const ROUNDS = 3;
/** Octets that the heap may have grown by: far less than what was sent. */
const GROWTH = 24 * 1024 * 1024;

/** How an attacker leaves. */
const ENDINGS: readonly ((socket: Socket) => void)[] = [
  (socket) => void socket.end(),
  (socket) => void socket.resetAndDestroy(),
  (socket) => void socket.destroy(),
];

/** One attack. Resolves when the connection is gone, for which the attacker sees after some turns of the event loop. */
function attack(
  { run }: Attack,
  port: number,
  random: Random,
  reads: boolean,
): Promise<void> {
  return new Promise((resolve) => {
    // From an address of its own: who attacks so often is turned away, and good callers are somebody else.
    const socket = connect({
      port,
      host: "127.0.0.1",
      localAddress: "127.0.0.2",
      allowHalfOpen: true,
    });
    socket.on("error", () => undefined);
    socket.on("close", () => resolve());
    if (reads) socket.resume();
    const leave = ENDINGS[Math.floor(random() * ENDINGS.length)];
    // Before it is connected, while it speaks, while it is answered, or after.
    let turns = Math.floor(random() * 200);
    const wait = (): void => {
      if (socket.destroyed) return;
      turns -= 1;
      if (turns > 0) setImmediate(wait);
      else {
        leave?.(socket);
        // Whoever only half closes goes for good a little later.
        setTimeout(() => socket.destroy(), 50);
      }
    };
    socket.on("connect", () => run(socket, random));
    wait();
  });
}

const GOOD = ["200", "200", "200", "200"];

interface ListenerUnderTest {
  readonly name: string;
  readonly port: number;
}

function listeners(pair: Pair): ListenerUnderTest[] {
  const { caller, callee } = pair;
  return [
    { name: "outbound", port: caller.ports.outbound ?? 0 },
    { name: "captured", port: callee.ports.inbound ?? 0 },
    { name: "link", port: callee.ports.link ?? 0 },
    {
      name: "published",
      port: callee.ports.published.values().next().value ?? 0,
    },
    { name: "admin", port: callee.ports.admin ?? 0 },
    { name: "metrics", port: callee.ports.metrics ?? 0 },
  ];
}

/** Open connections of strangers and requests under way, on both sides. */
async function load(pair: Pair): Promise<number> {
  let sum = 0;
  for (const sidecar of [pair.caller, pair.callee]) {
    const { text } = await send(sidecar.ports.metrics ?? 0, {
      path: "/metrics",
      host: "127.0.0.1",
    });
    for (const [, kind, count] of text.matchAll(
      /^wherry_(?:active_requests|connections)\{(?:direction|kind)="([a-z]+)"\} (-?\d+)$/gm,
    ))
      if (kind !== "upstream" && kind !== "link")
        sum += Math.abs(Number(count));
  }
  return sum;
}

/** What good callers get: statuses, and the reason where there is one. */
async function served(pair: Pair): Promise<string[]> {
  const published = listeners(pair).find(({ name }) => name === "published");
  const answers = [
    await pair.call(),
    await pair.call({ method: "POST", body: "good" }),
    await send(published?.port ?? 0),
    await send(pair.callee.ports.metrics ?? 0, {
      path: "/readyz",
      host: "127.0.0.1",
    }),
  ];
  return answers.map(({ status, reason }) =>
    `${status} ${reason ?? ""}`.trim(),
  );
}

void t.test(
  "attacks of every kind at every listener: nothing is left of them, and good callers are served",
  { timeout: 60_000 },
  async (t) => {
    const random = seededRandom(20_260_101);
    await withPair(
      {
        calleePublish: true,
        mesh: { defaults: { timeouts: { streamIdle: "1s" } } },
        resources: [
          resource("PeerAuthentication", "open", {
            selector: { matchLabels: { app: "orders" } },
            mtls: { mode: "PERMISSIVE" },
          }),
          resource("TrafficPolicy", "orders", {
            targetRefs: [{ kind: "Service", name: "orders" }],
            circuitBreaker: { volumeThreshold: 1_000_000 },
          }),
        ],
        caller: { accessLog: "none" },
        callee: { accessLog: "none" },
      },
      async (pair) => {
        t.same(await served(pair), GOOD, "before");
        collectGarbage({ type: "major" });
        const before = process.memoryUsage().heapUsed;
        const attacks = [...HTTP1_ATTACKS, ...TLS_ATTACKS, ...HTTP2_ATTACKS];
        const plan: (readonly [Attack, ListenerUnderTest])[] = [];
        for (let round = 0; round < ROUNDS; round += 1)
          for (const each of attacks)
            for (const listener of listeners(pair)) plan.push([each, listener]);
        // An order without a pattern, the same each time.
        for (let index = plan.length - 1; index > 0; index -= 1) {
          const other = Math.floor(random() * (index + 1));
          const [here, there] = [plan[index], plan[other]];
          if (here === undefined || there === undefined) continue;
          plan[index] = there;
          plan[other] = here;
        }
        let next = 0;
        await Promise.all(
          Array.from({ length: CROWD }, async () => {
            for (;;) {
              const chosen = plan[next];
              next += 1;
              if (chosen === undefined) return;
              await attack(chosen[0], chosen[1].port, random, random() < 0.5);
            }
          }),
        );
        // What is still under way goes with the idle time-out; the application's probe may have missed its turns meanwhile.
        while ((await load(pair)) > 0) await until(() => true);
        while (!pair.callee.readiness.workload) await until(() => true);
        // One round more for a machine that was too busy to connect within a second.
        const first = await served(pair);
        t.same(
          first.join() === GOOD.join() ? first : await served(pair),
          GOOD,
          `after ${plan.length} attacks`,
        );
        // What the harness keeps of each request is not the process's.
        pair.spans.length = 0;
        pair.log.length = 0;
        collectGarbage({ type: "major" });
        const growth = process.memoryUsage().heapUsed - before;
        t.ok(growth < GROWTH, `the heap has grown by ${growth} octets`);
      },
    );
  },
);

void t.test(
  "a flood in HTTP/2 ends its connection, and no other, and is told of",
  { timeout: 60_000 },
  async (t) => {
    const random = seededRandom(7);
    const { logger, lines } = keptLog();
    await withPair({ caller: { accessLog: "none", logger } }, async (pair) => {
      for (const { name, run } of HTTP2_FLOODS) {
        const socket = connect(pair.caller.ports.outbound ?? 0, "127.0.0.1");
        socket.on("error", () => undefined);
        socket.resume();
        const closed = new Promise<void>((resolve) =>
          socket.on("close", () => resolve()),
        );
        run(socket, random);
        const call = pair.call();
        await closed;
        t.equal((await call).status, 200, `${name}: beside it`);
        t.match(
          lines.at(-1),
          {
            msg: "request refused",
            listener: "outbound",
            reason: /^(OVERLOADED|BAD_REQUEST)$/,
            detail: /./,
          },
          `${name}: log`,
        );
      }
      const counted =
        (await pair.metric(
          pair.caller,
          "wherry_refusals_total",
          'listener="outbound",reason="OVERLOADED"',
        )) +
        (await pair.metric(
          pair.caller,
          "wherry_refusals_total",
          'listener="outbound",reason="BAD_REQUEST"',
        ));
      t.ok(counted >= HTTP2_FLOODS.length, "metric");
    });
  },
);

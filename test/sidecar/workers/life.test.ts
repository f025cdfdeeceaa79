/** The life of a sidecar with several workers: its ports are its own, nothing is lost at its end, and a lost worker is its end. */
import { readFileSync } from "node:fs";
import type { Worker } from "node:worker_threads";
import t from "tap";
import { systemClock, type Clock } from "../../../src/core/clock.ts";
import { UserError } from "../../../src/core/errors.ts";
import { startSidecar } from "../../../src/sidecar/sidecar.ts";
import type { SpanRecord } from "../../../src/telemetry/tracing.ts";
import { fakeAuthority } from "../../support/certificates/certificate-authority.ts";
import { HeldResponses } from "../../support/peers/held-responses.ts";
import { memoryAgent } from "../../support/meshes/pair.ts";
import { keptLog } from "../../support/laws/harness.ts";
import { withCrowd } from "../../support/meshes/workers.ts";

const HERE = { host: "127.0.0.1", metricsHost: "127.0.0.1" } as const;

void t.test(
  "a second process is kept off the ports, whichever of the two has several workers",
  async (t) => {
    const agent = memoryAgent(undefined, fakeAuthority().credentials("web"));
    const start = (
      concurrency: number,
      link: number,
    ): ReturnType<typeof startSidecar> =>
      startSidecar({
        ...HERE,
        concurrency,
        agent: () => Promise.resolve(agent),
        ports: { link },
        accessLog: "none",
      });
    for (const [first, second] of [
      [2, 2],
      [2, 1],
      [1, 2],
    ] as const) {
      const sidecar = await start(first, 0);
      const { link = 0 } = sidecar.ports;
      await t.rejects(
        start(second, link),
        new UserError(
          `the link cannot listen on 127.0.0.1:${link}: the port is in use (EADDRINUSE); stop what listens there, or choose another with --link-port`,
        ),
        `${first} beside ${second}`,
      );
      await sidecar.destroy();
      // Free again at once.
      await (await start(second, link)).destroy();
    }
  },
);

void t.test(
  "of several that start at one moment on one port, one gets it",
  async (t) => {
    const agent = memoryAgent(undefined, fakeAuthority().credentials("web"));
    const first = await startSidecar({
      ...HERE,
      agent: () => Promise.resolve(agent),
      ports: { link: 0 },
      accessLog: "none",
    });
    const { link = 0 } = first.ports;
    await first.destroy();
    const started = await Promise.allSettled(
      Array.from({ length: 4 }, () =>
        startSidecar({
          ...HERE,
          concurrency: 2,
          agent: () => Promise.resolve(agent),
          ports: { link },
          accessLog: "none",
        }),
      ),
    );
    const got = started.filter(({ status }) => status === "fulfilled");
    t.equal(got.length, 1);
    for (const each of started)
      if (each.status === "fulfilled") await each.value.destroy();
      else t.match(each.reason, /EADDRINUSE/);
  },
);

void t.test(
  "the lines of all workers are whole, and none is lost at the end; nor is a span, nor a count",
  async (t) => {
    const log = `${t.testdir({ log: "" })}/log`;
    const spans: SpanRecord[] = [];
    // Fewer bytes than a log keeps for a disk that is busy with something else: none is left out.
    const count = 1200;
    await withCrowd(
      {
        app: (_request, response) => response.end("ok"),
        caller: {
          accessLog: "all",
          accessLogFile: log,
          tracing: {
            sink: (span) => spans.push(span),
            samplingPercentage: 100,
          },
        },
      },
      async (crowd) => {
        const callers = Array.from({ length: 60 }, () => crowd.connection());
        const path = `/${"long".repeat(50)}`;
        for (let round = 0; round < count / 60; round += 1)
          await Promise.all(callers.map((each) => each.get(path)));
        for (const each of callers) each.close();
        await crowd.caller.shutDown();
        const counts = /^wherry_requests_total\{.*"outbound".* ([0-9]+)$/gm;
        const text = await crowd.caller.metrics();
        const counted = [...text.matchAll(counts)].reduce(
          (sum, [, each]) => sum + Number(each),
          0,
        );
        t.equal(counted, count, "what is sent at the end says all");
      },
    );
    const lines = readFileSync(log, "utf8").split("\n");
    t.equal(lines.pop(), "");
    for (const line of lines) {
      const { status } = JSON.parse(line) as { readonly status: number };
      if (status !== 200) t.fail(line);
    }
    t.equal(lines.length, count);
    t.equal(spans.length, count * 2, "a server's and a client's for each");
  },
);

/** Milliseconds between two looks at what is in flight (`shutdown.ts`), and how many of them a drain that waits must have taken. */
const LOOK = 20;
const LOOKS = 10;

void t.test(
  "a shutdown drains all workers: what is in flight in each is answered, and it waits for the last",
  async (t) => {
    const held = new HeldResponses();
    let looks = 0;
    const clock: Clock = {
      ...systemClock,
      after(ms, run) {
        if (ms === LOOK) looks += 1;
        held.changed();
        return systemClock.after(ms, run);
      },
    };
    await withCrowd(
      {
        app: (_request, response) => held.keep(() => response.end("late")),
        callee: { clock },
      },
      async (crowd) => {
        const calls = Array.from({ length: 40 }, () =>
          crowd.connection().get(),
        );
        await held.until(() => held.count === 40);
        let over = false;
        const down = crowd.callee.shutDown().then(() => (over = true));
        await held.until(() => looks >= LOOKS);
        t.notOk(over, "it waits");
        t.notOk(crowd.callee.readiness.proxy);
        held.release(39);
        looks = 0;
        await held.until(() => looks >= LOOKS);
        t.notOk(over, "for every one");
        held.release();
        for (const { status, text } of await Promise.all(calls)) {
          t.equal(status, 200);
          t.equal(text, "late");
        }
        await down;
        t.equal(await crowd.callee.over, undefined, "in order");
      },
    );
  },
);

void t.test(
  "connections of the application to any of the workers keep a sidecar that leaves, and are served",
  async (t) => {
    const { logger, lines } = keptLog(() => undefined);
    await withCrowd(
      {
        app: (_request, response) => response.end("ok"),
        caller: { logger },
      },
      async (crowd) => {
        const all = Array.from({ length: 20 }, () => crowd.connection());
        await Promise.all(all.map((each) => each.get()));
        const over = crowd.caller.shutDown({ outliveApplication: true });
        const said = (text: string): boolean =>
          lines.some(({ msg }) => msg === text);
        while (!said("calls of the application are served until it is gone"))
          await new Promise((resolve) => setImmediate(resolve));
        for (const each of all) {
          t.match(await each.get(), { status: 200, text: "ok" });
          each.close();
        }
        await over;
        t.ok(said("the application is gone"));
      },
    );
  },
);

void t.test(
  "a worker that is lost is told of, and the sidecar ends in order: what others carry is answered",
  async (t) => {
    const held = new HeldResponses();
    const { logger, lines } = keptLog(() => held.changed());
    const threads: Worker[] = [];
    const keep = (thread: Worker): void => void threads.push(thread);
    process.on("worker", keep);
    t.teardown(() => process.off("worker", keep));
    await withCrowd(
      {
        app: (request, response) => {
          if (request.url === "/held") held.keep(() => response.end("late"));
          else response.end("ok");
        },
        caller: { logger },
      },
      async (crowd) => {
        const calls = Array.from({ length: 40 }, () =>
          crowd
            .connection()
            .get("/held")
            .then(
              ({ text }) => text,
              () => "broken",
            ),
        );
        await held.until(() => held.count === 40);
        // The caller's was started last.
        await threads.at(-1)?.terminate();
        await held.until(() =>
          lines.some(({ msg }) => msg === "shutting down"),
        );
        held.release();
        const texts = await Promise.all(calls);
        t.ok(texts.includes("late"), "the first worker's are answered");
        const error = await crowd.caller.over;
        t.match(error?.message, /^worker 1/);
        t.ok(crowd.callerAgent.calls.includes("deregister"));
        t.match(
          lines.filter(({ level }) => level === 60),
          [{ msg: /a worker was lost/ }],
        );
      },
    );
  },
);

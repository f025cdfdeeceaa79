/** The life of a sidecar with several workers: its ports are its own, nothing is lost at its end, and a lost worker is its end. */
import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import type { Worker } from "node:worker_threads";
import t from "tap";
import { UserError } from "../../../src/core/errors.ts";
import { startSidecar } from "../../../src/sidecar/sidecar.ts";
import type { SpanRecord } from "../../../src/telemetry/tracing.ts";
import { fakeAuthority } from "../../support/certificate-authority.ts";
import { memoryAgent } from "../../support/pair.ts";
import { keptLog } from "../../support/laws/harness.ts";
import { withCrowd } from "../../support/workers.ts";

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
  "the lines of all workers are whole, and none is lost at the end; nor is a span",
  async (t) => {
    const log = `${t.testdir({ log: "" })}/log`;
    const spans: SpanRecord[] = [];
    const count = 3000;
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
      },
    );
    const lines = readFileSync(log, "utf8").split("\n");
    t.equal(lines.pop(), "");
    t.equal(lines.length, count);
    for (const line of lines)
      if ((JSON.parse(line) as { status: number }).status !== 200) t.fail(line);
    t.equal(spans.length, count * 2, "a server's and a client's for each");
  },
);

void t.test(
  "a shutdown drains all workers: what is under way in each is answered, and it waits for the last",
  async (t) => {
    const held: (() => void)[] = [];
    await withCrowd(
      { app: (_request, response) => held.push(() => response.end("late")) },
      async (crowd) => {
        const calls = Array.from({ length: 40 }, () =>
          crowd.connection().get(),
        );
        while (held.length < 40) await sleep(5);
        let over = false;
        const down = crowd.callee.shutDown().then(() => (over = true));
        await sleep(300);
        t.notOk(over, "it waits");
        t.notOk(crowd.callee.readiness.proxy);
        for (const answer of held.splice(0, 39)) answer();
        await sleep(300);
        t.notOk(over, "for every one");
        for (const answer of held.splice(0)) answer();
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
  "a worker that is lost is told of, and the sidecar ends in order: what others carry is answered",
  async (t) => {
    const { logger, lines } = keptLog();
    const held: (() => void)[] = [];
    const threads: Worker[] = [];
    const keep = (thread: Worker): void => void threads.push(thread);
    process.on("worker", keep);
    t.teardown(() => process.off("worker", keep));
    await withCrowd(
      {
        app: (request, response) => {
          if (request.url === "/held") held.push(() => response.end("late"));
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
        while (held.length < 40) await sleep(5);
        // The caller's was started last.
        await threads.at(-1)?.terminate();
        await sleep(100);
        for (const answer of held.splice(0)) answer();
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

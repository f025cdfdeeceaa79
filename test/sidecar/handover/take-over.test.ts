/** What a newer process has done before the older one lets go, and what becomes of both where that fails. */
import t from "tap";
import { watchSource } from "../../../src/core/watch.ts";
import { silentLogger } from "../../../src/core/log.ts";
import { takeOver } from "../../../src/sidecar/handover/take-over.ts";
import { fakeClock } from "../../support/clocks/fake-clock.ts";

interface Row {
  readonly what: string;
  readonly starts: "done" | "fails" | "never";
  readonly order: readonly string[];
  readonly fails?: RegExp;
}

const ROWS: readonly Row[] = [
  {
    what: "what is large is loaded before it listens",
    starts: "done",
    order: ["start", "begin", "drain"],
  },
  {
    what: "what cannot be loaded leaves the older one serving",
    starts: "fails",
    order: ["start", "abandon", "destroy"],
    fails: /cannot be loaded/,
  },
  {
    what: "what is never loaded does so, too",
    starts: "never",
    order: ["start", "abandon", "destroy"],
    fails: /not ready within 60 s .*: exporters/,
  },
];

for (const { what, starts, order, fails } of ROWS)
  void t.test(what, async (t) => {
    const clock = fakeClock();
    const done: string[] = [];
    const does = (name: string) => (): Promise<void> => {
      done.push(name);
      return Promise.resolve();
    };
    const taking = takeOver(
      {
        readiness: {
          checks: () => [],
          proxy: true,
          workload: true,
          subscribe: () => () => undefined,
        },
        whenReady: Promise.resolve(),
        begin: does("begin"),
        destroy: does("destroy"),
      },
      {
        pid: 1,
        sockets: [],
        turn: watchSource(false),
        drain: does("drain"),
        abandon: () => void does("abandon")(),
        refused: new Promise(() => undefined),
      },
      {
        telemetry: {
          async start() {
            await does("start")();
            if (starts === "fails") throw new Error("cannot be loaded");
            if (starts === "never") await new Promise(() => undefined);
          },
        },
        clock,
        logger: silentLogger,
        stop: new AbortController().signal,
      },
    );
    if (starts === "never") {
      await new Promise((resolve) => setImmediate(resolve));
      clock.advance(60_000);
    }
    if (fails === undefined) await taking;
    else await t.rejects(taking, { message: fails });
    t.same(done, order);
  });

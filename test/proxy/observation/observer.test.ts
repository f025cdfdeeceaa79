/** What a worker tells of findings: bounded, whatever a caller sends. */
import t from "tap";
import { Observer } from "../../../src/proxy/observation/observer.ts";
import { makeMeters } from "../../../src/telemetry/meters.ts";
import { makeMetrics } from "../../../src/telemetry/metrics.ts";

void t.test(
  "a long path is counted with the others that find no room, and cut in the log",
  (t) => {
    const logged: unknown[] = [];
    const observer = new Observer({
      lines: {
        warn: (_message, _effect, { path }) => logged.push(path),
        catchUp: () => undefined,
      },
      meters: makeMeters(makeMetrics({ maxSeries: 10 })),
    });
    const long = (index: number): string => `/${index}${"x".repeat(15_000)}`;
    const paths = ["/a", `/${"y".repeat(255)}`, long(1), long(2)];
    for (const path of paths)
      observer.judged(
        {
          shadow: {
            judge: () => [{ policy: "shop/p", effect: "matched" }],
            open: () => [],
          },
        },
        {
          ...{ peer: undefined, port: 80 },
          connection: { remoteAddress: "10.0.0.2", localAddress: undefined },
          request: {
            ...{ method: "GET", host: "orders", path },
            header: () => undefined,
            lines: () => undefined,
          },
        },
        { kind: "allow" },
        { shadow: undefined },
      );
    const { calls } = observer.drain();
    t.strictSame(
      calls
        .filter(({ policy }) => policy !== "")
        .map(({ path, count }) => [path, count]),
      [
        [paths[0], 1],
        [paths[1], 1],
        ["", 2],
      ],
    );
    t.strictSame(
      logged,
      paths.map((path) => path.slice(0, 256)),
    );
    t.end();
  },
);

/** A defect on the way of a request is an INTERNAL for it: answered once, reported once, and in flight no more. */
import t from "tap";
import { MeshError } from "../../../src/mesh/errors.ts";
import { attend, guarded } from "../../../src/proxy/exchange/refuse.ts";
import {
  RequestRecord,
  type TelemetrySinks,
} from "../../../src/proxy/exchange/request-record.ts";
import { makeMeters } from "../../../src/telemetry/meters.ts";
import { makeMetrics } from "../../../src/telemetry/metrics.ts";
import { UNSAID } from "../../../src/telemetry/request-rules.ts";
import { makeTracing } from "../../../src/telemetry/tracing.ts";
import { scriptedStream } from "../../support/checks/scripted-stream.ts";
import { fakeClock } from "../../support/clocks/fake-clock.ts";

const DENIED = new MeshError("DENIED", "no");

void t.test("where the defect is", (t) => {
  const rows: readonly (readonly [
    what: string,
    serve: (begin: () => RequestRecord) => void,
    status: number,
    reason: string,
  ])[] = [
    ["before its record", () => undefined, 500, "INTERNAL"],
    ["behind its record", (begin) => void begin(), 500, "INTERNAL"],
    [
      "behind its refusal",
      (begin) => begin().refuse(DENIED, true),
      403,
      "DENIED",
    ],
  ];
  for (const [what, serve, status, reason] of rows) {
    const clock = fakeClock();
    const meters = makeMeters(makeMetrics({ maxSeries: 1000 }));
    const reported: string[] = [];
    let active = 0;
    const sinks: TelemetrySinks = {
      clock,
      meters: {
        ...meters,
        active: {
          ...meters.active,
          inbound: { add: (by: number) => void (active += by) },
        },
      } as unknown as TelemetrySinks["meters"],
      tracing: makeTracing({
        ...{ clock, samplingPercentage: () => 0, forms: () => 0 },
        sink: () => undefined,
      }),
      log: {
        wants: () => true,
        write: (line) => reported.push(`${line.status} ${line.reason}`),
        close: () => undefined,
      },
      rules: () => UNSAID,
    };
    const stream = scriptedStream({}, {}, true);
    guarded(sinks, "inbound", stream, () => {
      if (what === "before its record") throw new Error("a defect");
      const record = new RequestRecord(sinks, "inbound", stream, "orders");
      attend(record, true, () => {
        serve(() => record);
        throw new Error("a defect");
      });
    });
    t.same(reported, [`${status} ${reason}`], `${what}: reported once`);
    t.equal(active, 0, `${what}: in flight no more`);
    t.equal(
      stream.heard.filter((each) => each.startsWith(`respond ${status}`))
        .length,
      1,
      `${what}: answered once`,
    );
  }
  t.end();
});

/** What a sidecar tells of unconfirmed endpoints: the newest of each, together, while a control plane listens. */
import { status, type Client, type ServiceError } from "@grpc/grpc-js";
import t from "tap";
import { FRESH_FOR, LOOK_AGAIN } from "../../src/agent/agent.ts";
import { Reports } from "../../src/agent/reports.ts";
import { silentLogger } from "../../src/core/log.ts";
import type { ReportRequest } from "../../src/push/messages.ts";
import { MOST_REPORTED } from "../../src/push/names.ts";
import { fakeClock, type FakeClock } from "../support/clocks/fake-clock.ts";

interface Told {
  readonly clock: FakeClock;
  readonly reports: Reports;
  readonly told: ReportRequest[];
  /** What the next reports end with. */
  fail: Partial<ServiceError> | undefined;
  readonly client: Client;
}

function start(): Told {
  const clock = fakeClock();
  const told: ReportRequest[] = [];
  const made: Told = {
    clock,
    told,
    reports: new Reports({ clock, logger: silentLogger }),
    fail: undefined,
    // The one method of a client that a call uses.
    client: {
      makeUnaryRequest(...args: readonly unknown[]) {
        const [, , , request, , callback] = args as [
          ...[string, unknown, unknown, ReportRequest, unknown],
          (error: unknown, response?: object) => void,
        ];
        told.push(request);
        const { fail } = made;
        queueMicrotask(() =>
          fail === undefined ? callback(null, {}) : callback(fail),
        );
        return { cancel: () => undefined };
      },
    } as unknown as Client,
  };
  return made;
}

/** Lets what is under way end. */
async function settled(): Promise<void> {
  for (let turn = 0; turn < 10; turn += 1) await Promise.resolve();
}

const seen = (workload: string, reached: boolean, age = 0) => ({
  ...{ workload, reached, age },
});

void t.test("nothing is told where nothing is seen", (t) => {
  const { reports, clock, client, told } = start();
  reports.connected(client, new AbortController().signal);
  let looks = 0;
  const stop = reports.watch(() => {
    looks += 1;
    return [];
  });
  clock.advance(10 * LOOK_AGAIN);
  t.same([looks, told.length], [10, 0]);
  stop();
  t.equal(clock.pending, 0);
  t.end();
});

void t.test("what several workers see goes out together", async (t) => {
  const { reports, clock, client, told } = start();
  reports.connected(client, new AbortController().signal);
  reports.tell([seen("shop/a", true, 3000), seen("shop/b", false, 10)]);
  reports.tell([seen("shop/a", false, 2000), seen("shop/b", true, 20)]);
  reports.tell([seen("shop/c", true), seen("shop/old", false, FRESH_FOR)]);
  clock.advance(1000);
  t.same(told, [{ reached: ["shop/c"], unreached: ["shop/a", "shop/b"] }]);
  await settled();
  clock.advance(60_000);
  t.equal(told.length, 1, "once");
});

void t.test("a report is bounded", (t) => {
  const { reports, clock, client, told } = start();
  reports.connected(client, new AbortController().signal);
  reports.tell(
    Array.from({ length: 3 * MOST_REPORTED }, (_, at) =>
      seen(`shop/a-${at}`, at % 2 === 0),
    ),
  );
  clock.advance(1000);
  const [{ reached, unreached } = { reached: [], unreached: [] }] = told;
  t.same([reached.length, unreached.length], [MOST_REPORTED, MOST_REPORTED]);
  t.end();
});

void t.test("without a connection nothing is kept", (t) => {
  const { reports, clock, client, told } = start();
  reports.tell([seen("shop/a", true)]);
  clock.advance(1000);
  const gone = new AbortController();
  reports.connected(client, gone.signal);
  gone.abort();
  reports.tell([seen("shop/a", true)]);
  clock.advance(1000);
  reports.connected(client, new AbortController().signal);
  clock.advance(1000);
  t.same(told, []);
  reports.tell([seen("shop/a", true)]);
  reports.close();
  clock.advance(1000);
  t.same(told, []);
  t.end();
});

void t.test(
  "a control plane that knows no reports is asked once a connection",
  async (t) => {
    const made = start();
    const { reports, clock, client, told } = made;
    const tell = async (): Promise<void> => {
      reports.tell([seen("shop/a", true)]);
      clock.advance(1000);
      await settled();
    };
    reports.connected(client, new AbortController().signal);
    made.fail = { code: status.UNAVAILABLE };
    await tell();
    made.fail = { code: status.UNIMPLEMENTED };
    await tell();
    await tell();
    t.equal(told.length, 2);
    reports.connected(client, new AbortController().signal);
    await tell();
    t.equal(told.length, 3);
  },
);

/** One look-up a host, whose result serves for a moment, and the failure of the system's own resolver. */
import type { LookupAddress } from "node:dns";
import t from "tap";
import { lookupOf } from "../../../src/runtime/fetch/guarded-lookup.ts";
import {
  ANSWER_SERVES,
  FAILURE_SERVES,
  HostLookups,
  MOST_LOOKUPS,
  type ResolveHost,
} from "../../../src/runtime/fetch/host-lookups.ts";
import { fakeClock } from "../../support/clocks/fake-clock.ts";

const ADDRESS: LookupAddress = { address: "192.0.2.7", family: 4 };
const NOT_FOUND = Object.assign(new Error("ENOTFOUND"), { code: "ENOTFOUND" });

function resolver(): {
  readonly asked: string[];
  readonly done: Parameters<ResolveHost>[1][];
  readonly resolve: ResolveHost;
} {
  const asked: string[] = [];
  const done: Parameters<ResolveHost>[1][] = [];
  return {
    ...{ asked, done },
    resolve(host, end) {
      asked.push(host);
      done.push(end);
    },
  };
}

const resultOf = (
  lookups: HostLookups,
  host: string,
): Promise<readonly LookupAddress[] | string> =>
  new Promise((resolve) =>
    lookups.resolve(host, (error, addresses = []) =>
      resolve(error?.message ?? addresses),
    ),
  );

void t.test("the system's resolver fails with an error alone", async (t) => {
  for (const reach of [undefined, { hosts: [], ranges: [] }]) {
    const failure = await new Promise<NodeJS.ErrnoException | null>((resolve) =>
      lookupOf("mistyped.invalid", reach)(
        "mistyped.invalid",
        { all: true },
        resolve,
      ),
    );
    t.match(failure?.code, /^(?:ENOTFOUND|EAI_AGAIN)$/);
  }
});

void t.test("all who want a name share one look-up", async (t) => {
  const { asked, done, resolve } = resolver();
  const lookups = new HostLookups(resolve, fakeClock());
  const wanted = [1, 2, 3].map(() => resultOf(lookups, "a.test"));
  const other = resultOf(lookups, "b.test");
  t.same(asked, ["a.test", "b.test"]);
  done[0]?.(null, [ADDRESS]);
  done[1]?.(NOT_FOUND);
  t.same(await Promise.all(wanted), [[ADDRESS], [ADDRESS], [ADDRESS]]);
  t.equal(await other, "ENOTFOUND");
});

for (const [what, error, serves, result] of [
  ["an answer", null, ANSWER_SERVES, [ADDRESS]],
  ["a failure", NOT_FOUND, FAILURE_SERVES, "ENOTFOUND"],
] as const)
  void t.test(`${what} serves for ${serves} ms`, async (t) => {
    const clock = fakeClock();
    const { asked, done, resolve } = resolver();
    const lookups = new HostLookups(resolve, clock);
    const first = resultOf(lookups, "a.test");
    if (error === null) done[0]?.(null, [ADDRESS]);
    else done[0]?.(error);
    t.same(await first, result);
    clock.advance(serves - 1);
    t.same(await resultOf(lookups, "a.test"), result);
    t.equal(asked.length, 1);
    clock.advance(1);
    void resultOf(lookups, "a.test");
    t.equal(asked.length, 2);
  });

void t.test("a scan of names is bounded, and others go on", async (t) => {
  const { asked, done, resolve } = resolver();
  const lookups = new HostLookups(resolve, fakeClock());
  const first = resultOf(lookups, "0.test");
  for (let name = 1; name < MOST_LOOKUPS; name += 1)
    void resultOf(lookups, `${name}.test`);
  t.match(await resultOf(lookups, "more.test"), /more\.test is not resolved/);
  t.equal(asked.length, MOST_LOOKUPS);
  const shared = resultOf(lookups, "0.test");
  done[0]?.(null, [ADDRESS]);
  t.same(await first, [ADDRESS]);
  t.same(await shared, [ADDRESS]);
  void resultOf(lookups, "more.test");
  t.equal(asked.at(-1), "more.test");
});

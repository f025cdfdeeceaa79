/** Tokens in files: written for each account, kept while they are good, renewed before they end, and no other's to read. */
import { mkdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import t, { type Test } from "tap";
import {
  bootstrapAccountOf,
  bootstrapFile,
  keepBootstrapTokens,
  type BootstrapOptions,
} from "../../../src/control-plane/enrolment/bootstrap-tokens.ts";
import {
  ENROLMENT_TOKEN,
  enrolmentTokenKey,
  type EnrolmentTokenSpec,
} from "../../../src/control-plane/enrolment/enrolment-token.ts";
import { silentLogger } from "../../../src/core/log.ts";
import { parseToken } from "../../../src/push/token.ts";
import {
  csr,
  REMOTE,
  startEnrolment,
} from "../../support/control-plane/enrolment.ts";
import {
  temporaryDirectory,
  until,
} from "../../support/control-plane/push-control-plane.ts";

const MINUTE = 60_000;
const ACCOUNTS = ["web=shop/web", "pay=shop/payments:app=payments:version=v2"];

interface Kept extends Awaited<ReturnType<typeof startEnrolment>> {
  readonly options: BootstrapOptions;
  readonly textOf: (name: string) => Promise<string>;
  readonly keep: (options?: Partial<BootstrapOptions>) => Promise<void>;
}

async function start(t: Test): Promise<Kept> {
  const scope = {
    after: (run: () => Promise<void> | void): void => {
      t.teardown(run);
    },
  };
  const enrolling = await startEnrolment(scope);
  const { store, clock, authority } = enrolling;
  const directory = join(await temporaryDirectory(scope), "tokens");
  const options = {
    ...{ directory, store, clock, logger: silentLogger },
    accounts: ACCOUNTS.map(bootstrapAccountOf),
    fingerprints: () => ({ ca: authority.fingerprint }),
    address: "control-plane:15012",
  };
  return {
    ...enrolling,
    options,
    textOf: (name) => readFile(bootstrapFile(directory, name), "utf8"),
    async keep(other = {}) {
      t.teardown(await keepBootstrapTokens({ ...options, ...other }));
    },
  };
}

void t.test("an account is read from text", (t) => {
  t.same(bootstrapAccountOf("web=shop/web"), {
    name: "web",
    namespace: "shop",
    serviceAccount: "web",
    labels: { app: "web" },
  });
  t.same(bootstrapAccountOf("p2=shop/pay:app=pay:team.io/v=v2").labels, {
    app: "pay",
    "team.io/v": "v2",
  });
  for (const text of [
    "",
    "web",
    "shop/web",
    "web=shop",
    "../x=shop/web",
    "Web=shop/web",
    "web=shop/web:app",
    "web=shop/web/more",
    "web=wherry-system/control-plane",
  ])
    t.throws(() => bootstrapAccountOf(text), /invalid --bootstrap-account/);
  t.end();
});

void t.test("each file is a good token, and its owner's alone", async (t) => {
  const { keep, textOf, enrolment, options } = await start(t);
  await keep();
  for (const [name, identity] of [
    ["web", "spiffe://cluster.local/ns/shop/sa/web"],
    ["pay", "spiffe://cluster.local/ns/shop/sa/payments"],
  ] as const) {
    const text = await textOf(name);
    t.equal(parseToken(text)?.address, "control-plane:15012");
    const { mode } = await stat(bootstrapFile(options.directory, name));
    t.equal(mode & 0o777, 0o600);
    const folder = await stat(join(options.directory, name));
    t.equal(folder.mode & 0o777, 0o700);
    const issued = await enrolment.enrol(
      { token: text, csr: csr(), name: "" },
      REMOTE,
    );
    t.match(JSON.stringify(issued), /CERTIFICATE/);
    t.ok(identity);
  }
});

void t.test("a start keeps what is good", async (t) => {
  const { keep, textOf, store } = await start(t);
  await keep();
  const text = await textOf("web");
  await keep();
  t.equal(await textOf("web"), text);
  t.equal((await store.list(ENROLMENT_TOKEN)).resources.length, 2);
});

void t.test("a token is renewed", async (t) => {
  const rows: Readonly<Record<string, (kept: Kept, id: string) => unknown>> = {
    "half of its life before it ends": ({ clock }) =>
      clock.advance(31 * MINUTE),
    "when it was revoked": ({ store }, id) =>
      store.remove(enrolmentTokenKey(id)),
    "when half of its uses are gone": async ({ store }, id) => {
      const record = await store.get(enrolmentTokenKey(id));
      const spec = record?.spec as EnrolmentTokenSpec;
      if (record !== undefined)
        await store.put(
          { ...record, spec: { ...spec, usesLeft: 500 } },
          undefined,
        );
    },
    "when its file is gone": ({ options }) =>
      rm(join(options.directory, "web"), { recursive: true }),
    "when its file is not a token": ({ options }) =>
      writeFile(bootstrapFile(options.directory, "web"), "nonsense"),
  };
  for (const [name, act] of Object.entries(rows))
    await t.test(name, async (t) => {
      const kept = await start(t);
      await kept.keep();
      const before = await kept.textOf("web");
      await act(kept, parseToken(before)?.id ?? "");
      await until(async () => {
        kept.clock.advance(5000);
        const now = await kept.textOf("web").catch(() => before);
        return now !== before && parseToken(now) !== undefined;
      });
      await kept.enrolment.enrol(
        { token: await kept.textOf("web"), csr: csr(), name: "" },
        REMOTE,
      );
    });
});

void t.test("a start for another account writes another token", async (t) => {
  const { keep, textOf } = await start(t);
  await keep();
  const text = await textOf("web");
  await keep({ accounts: [bootstrapAccountOf("web=shop/web:app=other")] });
  t.not(await textOf("web"), text);
});

void t.test(
  "what cannot be written is said once, and tried again",
  async (t) => {
    const { keep, textOf, options, clock } = await start(t);
    const said: string[] = [];
    await mkdir(options.directory);
    await writeFile(join(options.directory, "web"), "in the way");
    const logger = Object.create(silentLogger, {
      error: {
        value: (fields: object, text: string) =>
          void said.push(`${text} ${JSON.stringify(fields)}`),
      },
    }) as BootstrapOptions["logger"];
    await keep({ logger });
    t.equal(said.length, 1, said.join("\n"));
    t.match(said[0], /no bootstrap token could be written.*web/);
    t.match(await textOf("pay"), /^wherry1\./, "the other account has its own");
    await rm(join(options.directory, "web"));
    await until(async () => {
      clock.advance(5000);
      return (await textOf("web").catch(() => "")) !== "";
    });
    t.equal(said.length, 1);
  },
);

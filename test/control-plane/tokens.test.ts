/** API tokens: only the hash is kept, and anything but a live token's exact text is refused. */
import t from "tap";
import { createEnrolmentToken } from "../../src/control-plane/enrolment/enrolment-token.ts";
import { openMemoryStore } from "../../src/control-plane/store/memory.ts";
import type { Removal, Store } from "../../src/control-plane/store/store.ts";
import {
  API_TOKEN,
  authenticate,
  createApiToken,
  hasAdministrator,
  hideTokens,
  readmitAdministrator,
  revokeToken,
  tokenSweep,
} from "../../src/control-plane/tokens.ts";
import { fakeClock, type FakeClock } from "../support/clocks/fake-clock.ts";

/** Milliseconds. */
const DAY = 86_400_000;

function setUp(): { clock: FakeClock; store: Store } {
  const clock = fakeClock();
  return { clock, store: openMemoryStore({ clock }) };
}

void t.test(
  "a token opens with its role and namespaces, and the store holds no secret",
  async (t) => {
    const { clock, store } = setUp();
    const made = await createApiToken(store, clock, {
      role: "editor",
      namespaces: ["shop"],
    });
    t.same(await authenticate(store, clock, made.token), {
      tokenId: made.id,
      role: "editor",
      namespaces: ["shop"],
    });
    const secret = made.token.split(".")[2] ?? "";
    t.notMatch(JSON.stringify(await store.list(API_TOKEN)), new RegExp(secret));
  },
);

void t.test("what is not exactly a live token is refused", async (t) => {
  const { clock, store } = setUp();
  const { token, id } = await createApiToken(store, clock, { role: "admin" });
  const other = await createApiToken(store, clock, { role: "viewer" });
  const secretOf = (text: string): string => text.split(".")[2] ?? "";
  const wrong = [
    "",
    "wherryapi1",
    token.slice(0, -1),
    `${token}A`,
    token.toUpperCase(),
    `wherryapi1.${id}.${"A".repeat(43)}`,
    `wherryapi1.${id}.${secretOf(other.token)}`,
    `wherryapi1.${other.id}.${secretOf(token)}`,
    `wherryapi1.${"0".repeat(36)}.${secretOf(token)}`,
    `wherryapi1.default.${secretOf(token)}`,
  ];
  for (const text of wrong)
    t.equal(await authenticate(store, clock, text), undefined, text);
  t.equal(await revokeToken(store, API_TOKEN, id), true);
  t.equal(await authenticate(store, clock, token), undefined, "revoked");
  t.equal(await revokeToken(store, API_TOKEN, id), false);
});

void t.test(
  "a token ends with its time, and the next sweep takes it away",
  async (t) => {
    const { clock, store } = setUp();
    const sweep = tokenSweep(store, clock);
    const made = await createApiToken(store, clock, {
      role: "viewer",
      ttl: 60_000,
    });
    await createEnrolmentToken(store, clock, {
      namespace: "shop",
      serviceAccount: "web",
      labels: {},
      ttl: 60_000,
      uses: 1,
      ca: "ab".repeat(32),
    });
    t.equal(made.expiresAt, "2026-01-01T00:01:00.000Z");
    clock.advance(59_999);
    t.ok(await authenticate(store, clock, made.token));
    clock.advance(1);
    t.equal(await authenticate(store, clock, made.token), undefined);
    await createApiToken(store, clock, { role: "viewer" });
    await sweep();
    t.equal((await store.list(API_TOKEN)).resources.length, 1);
    t.equal((await store.list("EnrolmentToken")).resources.length, 0);
  },
);

void t.test(
  "a clock that is ahead for a moment ends tokens, and erases none",
  async (t) => {
    const { clock, store } = setUp();
    const sweep = tokenSweep(store, clock);
    const request = { role: "editor", ttl: 90 * DAY } as const;
    const { token } = await createApiToken(store, clock, request);
    clock.jump(365 * DAY);
    await sweep();
    t.equal(await authenticate(store, clock, token), undefined);
    clock.jump(-365 * DAY);
    t.match(await authenticate(store, clock, token), { role: "editor" });
  },
);

void t.test(
  "what was over at the start goes an hour later: the clock may be ahead",
  async (t) => {
    const { clock, store } = setUp();
    await createApiToken(store, clock, { role: "editor", ttl: DAY });
    clock.jump(365 * DAY);
    const sweep = tokenSweep(store, clock);
    clock.advance(3_599_999);
    await sweep();
    t.equal((await store.list(API_TOKEN)).resources.length, 1);
    clock.advance(1);
    await sweep();
    t.equal((await store.list(API_TOKEN)).resources.length, 0);
  },
);

void t.test("a sweep of many tokens is a few transactions", async (t) => {
  const { clock, store } = setUp();
  for (let count = 0; count < 600; count += 1)
    await createApiToken(store, clock, { role: "viewer", ttl: 1000 });
  let transactions = 0;
  const counted = {
    list: (kind: string) => store.list(kind),
    removeAll: (removals: readonly Removal[]) => {
      transactions += 1;
      return store.removeAll(removals);
    },
  };
  const sweep = tokenSweep(counted, clock);
  clock.advance(1000);
  await sweep();
  t.equal((await store.list(API_TOKEN)).resources.length, 0);
  t.equal(transactions, 3);
});

void t.test(
  "only a live, unrestricted admin token is an administrator",
  async (t) => {
    const { clock, store } = setUp();
    t.equal(await hasAdministrator(store, clock), false);
    await createApiToken(store, clock, { role: "editor" });
    await createApiToken(store, clock, { role: "admin", namespaces: ["shop"] });
    await createApiToken(store, clock, { role: "admin", ttl: 1000 });
    t.equal(await hasAdministrator(store, clock), true);
    clock.advance(1000);
    t.equal(await hasAdministrator(store, clock), false);
  },
);

void t.test(
  "an administrator's token works in a store that never saw it, once readmitted",
  async (t) => {
    const { clock, store } = setUp();
    const elsewhere = openMemoryStore({ clock });
    const { token } = await createApiToken(elsewhere, clock, { role: "admin" });
    t.equal(await readmitAdministrator(store, "no token"), false);
    t.equal(await readmitAdministrator(store, token), true);
    t.match(await authenticate(store, clock, token), { role: "admin" });
  },
);

void t.test("a token in a text is made unreadable", (t) => {
  t.equal(
    hideTokens("/tokens/api/wherryapi1.abc.DEF?x=wherry1.s3cret&y=1"),
    "/tokens/api/TOKEN?x=TOKEN&y=1",
  );
  t.equal(hideTokens("/tokens/api/some-id"), "/tokens/api/some-id");
  t.end();
});

/** What a token lets in, how often, and what a refusal costs and says. */
import { X509Certificate } from "node:crypto";
import t from "tap";
import { enrolmentTokenKey } from "../../../src/control-plane/enrolment/enrolment-token.ts";
import type { EnrolmentError } from "../../../src/control-plane/enrolment/enrolment-error.ts";
import { MOST_GIVEN } from "../../../src/control-plane/enrolment/token-spending.ts";
import { openSqliteStore } from "../../../src/control-plane/store/sqlite.ts";
import { readBinding } from "../../../src/identity/extensions.ts";
import type { IssueResponse } from "../../../src/push/messages.ts";
import { formatToken, parseToken } from "../../../src/push/token.ts";
import { temporaryDirectory } from "../../support/control-plane/push-control-plane.ts";
import {
  csr,
  REMOTE,
  startEnrolment,
} from "../../support/control-plane/enrolment.ts";

void t.test(
  "a token that is wrong, unknown, expired or used up is refused, and says what to do",
  async (t) => {
    const { enrolment, token, clock, authority, store } =
      await startEnrolment(t);
    const good = await token({ uses: 1 });
    const parsed = parseToken(good.text);
    if (parsed === undefined) throw new Error("no token");
    const refused = (text: string, message: RegExp): Promise<unknown> =>
      t.rejects(
        enrolment.enrol({ token: text, csr: csr(), name: "" }, REMOTE),
        { kind: "refused", message },
      );
    await refused("nonsense", /invalid enrolment token/);
    await refused(
      formatToken({ ...parsed, secret: "guess" }),
      /not valid here.*wherry token create/,
    );
    await refused(formatToken({ ...parsed, id: "unknown" }), /not valid here/);
    await refused(
      formatToken({ id: "unknown", ca: authority.fingerprint, secret: "" }),
      /invalid enrolment token/,
    );
    t.match(
      await store.get(enrolmentTokenKey(good.id)),
      { spec: { usesLeft: 1 } },
      "refusals cost no use",
    );
    await enrolment.enrol({ token: good.text, csr: csr(), name: "" }, REMOTE);
    await refused(good.text, /no uses left/);
    const short = await token({ ttl: 1000 });
    clock.advance(1000);
    await refused(short.text, /expired at/);
  },
);

void t.test("a request that cannot be signed costs no use", async (t) => {
  const { enrolment, token, store } = await startEnrolment(t);
  const { id, text } = await token();
  const good = csr();
  for (const [request, message] of [
    [{ csr: "nonsense", name: "" }, /certificate request/],
    [{ csr: good.replace("MI", "MJ"), name: "" }, /certificate request/],
    [{ csr: good, name: "Not A Name" }, /instance name/],
    [{ csr: good, name: "x".repeat(300) }, /instance name/],
  ] as const)
    await t.rejects(enrolment.enrol({ token: text, ...request }, "10.0.0.8"), {
      kind: "invalid",
      message,
    });
  t.match(await store.get(enrolmentTokenKey(id)), { spec: { usesLeft: 3 } });
});

void t.test(
  "of many that use a token at once, as many succeed as it has uses",
  async (t) => {
    const { enrolment, token } = await startEnrolment(t);
    const { text } = await token({ uses: 3 });
    const results = await Promise.allSettled(
      Array.from({ length: 10 }, () =>
        enrolment.enrol({ token: text, csr: csr(), name: "" }, REMOTE),
      ),
    );
    t.equal(results.filter(({ status }) => status === "fulfilled").length, 3);
  },
);

void t.test(
  "a good token works whatever others behind its address did; of their failures little is told",
  async (t) => {
    const { enrolment, token, clock } = await startEnrolment(t);
    const { text } = await token({ uses: 1000 });
    const attempt = (token: string, remote: string): Promise<unknown> =>
      enrolment.enrol({ token, csr: csr(), name: "" }, remote);
    const kinds: string[] = [];
    for (let count = 0; count < 12; count += 1)
      await attempt("nonsense", REMOTE).catch((thrown: unknown) =>
        kinds.push((thrown as EnrolmentError).kind),
      );
    t.same(kinds, [
      ...Array.from({ length: 10 }, () => "refused"),
      "limited",
      "limited",
    ]);
    t.ok(await attempt(text, REMOTE), "from the same address");
    // As many sources as it takes to use up what all have together.
    for (let source = 0; source < 50; source += 1)
      for (let count = 0; count < 12; count += 1)
        await attempt("nonsense", `10.1.0.${source}`).catch(() => undefined);
    t.ok(await attempt(text, "10.2.0.1"), "from another");
    await t.rejects(attempt("nonsense", "10.2.0.1"), {
      kind: "limited",
      message: /wait a few seconds/,
    });
    clock.advance(1000);
    await t.rejects(attempt("nonsense", REMOTE), {
      kind: "refused",
      message: /invalid enrolment token/,
    });
  },
);

void t.test(
  "a stranger's request is not parsed before its token is good",
  async (t) => {
    const { enrolment } = await startEnrolment(t);
    await t.rejects(
      enrolment.enrol(
        { token: "nonsense", csr: "nonsense", name: "!" },
        REMOTE,
      ),
      { kind: "refused", message: /invalid enrolment token/ },
    );
  },
);

void t.test(
  "a token binds the addresses that its instances may register, and the name that they bear",
  async (t) => {
    const { enrolment, token, store } = await startEnrolment(t);
    const made = await token({ addresses: ["10.9.0.0/16"], name: "web-1" });
    const enrol = (name: string): Promise<IssueResponse> =>
      enrolment.enrol({ token: made.text, csr: csr(), name }, REMOTE);
    await t.rejects(enrol("orders-1"), {
      kind: "refused",
      message: /for the instance web-1 alone/,
    });
    for (const name of ["", "web-1"])
      t.same(
        readBinding(new X509Certificate((await enrol(name)).certificateChain)),
        { name: "web-1", labels: { app: "web" }, addresses: ["10.9.0.0/16"] },
      );
    t.match(
      await store.get(enrolmentTokenKey(made.id)),
      { spec: { usesLeft: 1, addresses: ["10.9.0.0/16"], name: "web-1" } },
      "the refusal cost no use",
    );
  },
);

void t.test(
  "a name that another has is refused, and costs no use",
  async (t) => {
    const asked: object[] = [];
    const { enrolment, store, token } = await startEnrolment(t, {
      nameFault: (instance) => {
        asked.push(instance);
        return Promise.resolve("Workload shop/web-1 is registered by another");
      },
    });
    const { id, text } = await token();
    await t.rejects(
      enrolment.enrol({ token: text, csr: csr(), name: "web-1" }, REMOTE),
      { kind: "taken", message: /registered by another/ },
    );
    t.same(asked, [
      {
        namespace: "shop",
        serviceAccount: "web",
        name: "web-1",
        identity: "spiffe://cluster.local/ns/shop/sa/web",
      },
    ]);
    t.match(await store.get(enrolmentTokenKey(id)), { spec: { usesLeft: 3 } });
  },
);

void t.test("the store holds no secret", async (t) => {
  const { token, store } = await startEnrolment(t);
  const { id, text } = await token();
  const secret = parseToken(text)?.secret ?? "none";
  t.notMatch(JSON.stringify(await store.get(enrolmentTokenKey(id))), secret);
});

void t.test(
  "uses that are taken at once are taken together, and no more than there are",
  async (t) => {
    const directory = await temporaryDirectory(t);
    const { store, enrolment, token } = await startEnrolment(t, {}, (clock) =>
      openSqliteStore({ file: `${directory}/store.sqlite`, clock }),
    );
    t.after(() => store.close());
    const { id, text } = await token({ uses: 30 });
    const before = await store.revision();
    const results = await Promise.allSettled(
      Array.from({ length: 40 }, () =>
        enrolment.enrol({ token: text, csr: csr(), name: "" }, REMOTE),
      ),
    );
    const refused = results.filter(({ status }) => status === "rejected");
    t.equal(refused.length, 10);
    t.match(refused[0], { reason: { message: /no uses left/ } });
    t.match(await store.get(enrolmentTokenKey(id)), { spec: { usesLeft: 0 } });
    const writes = (await store.revision()) - before;
    t.ok(writes < 6, `${writes} writes`);
  },
);

void t.test(
  "who asks again with the same key, for the response was lost, spends no other use",
  async (t) => {
    const { store, enrolment, token } = await startEnrolment(t);
    const { id, text } = await token({ uses: 1 });
    const request = { token: text, csr: csr(), name: "web-1" };
    await enrolment.enrol(request, REMOTE);
    const again = await enrolment.enrol(request, REMOTE);
    t.match(again.certificateChain, /BEGIN CERTIFICATE/);
    t.match(await store.get(enrolmentTokenKey(id)), { spec: { usesLeft: 0 } });
    await t.rejects(enrolment.enrol({ ...request, csr: csr() }, REMOTE), {
      message: /no uses left/,
    });
    await store.remove(enrolmentTokenKey(id));
    await t.rejects(
      enrolment.enrol(request, REMOTE),
      { message: /not valid here/ },
      "a token that is revoked is of no use to anybody",
    );
  },
);

void t.test(
  "a use is one instance's: its key stands for no other name",
  async (t) => {
    const { store, enrolment, token } = await startEnrolment(t);
    const { id, text } = await token({ uses: 1 });
    const request = { token: text, csr: csr() };
    const nameOf = ({ certificateChain }: IssueResponse): string | undefined =>
      readBinding(new X509Certificate(certificateChain))?.name;
    const enrol = (name: string): Promise<IssueResponse> =>
      enrolment.enrol({ ...request, name }, REMOTE);
    const made = nameOf(await enrol(""));
    t.match(made, /^web-[0-9a-f]{8}$/);
    t.equal(nameOf(await enrol("")), made, "asked again, it is the same");
    for (const name of ["web-2", "web-3"])
      await t.rejects(enrol(name), { message: /no uses left/ }, name);
    t.match(await store.get(enrolmentTokenKey(id)), { spec: { usesLeft: 0 } });
  },
);

void t.test("a use gives a few certificates, and no more", async (t) => {
  const { enrolment, token, store } = await startEnrolment(t);
  const { text } = await token({ uses: 1 });
  const request = { token: text, csr: csr(), name: "web-1" };
  for (let count = 0; count < MOST_GIVEN; count += 1)
    await enrolment.enrol(request, REMOTE);
  await t.rejects(enrolment.enrol(request, REMOTE), {
    kind: "refused",
    message: /no uses left/,
  });
  const { entries } = await store.audited({ readable: "all", limit: 100 });
  t.equal(entries.length, MOST_GIVEN);
});

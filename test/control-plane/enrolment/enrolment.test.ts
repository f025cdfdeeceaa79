import { generateKeyPairSync, X509Certificate } from "node:crypto";
import forge from "node-forge";
import t from "tap";
import {
  openAuthority,
  type Authority,
} from "../../../src/control-plane/authority/authority.ts";
import {
  createEnrolmentToken,
  enrolmentTokenKey,
  type EnrolmentTokenOptions,
} from "../../../src/control-plane/enrolment/enrolment-token.ts";
import { Enrolment } from "../../../src/control-plane/enrolment/enrolment.ts";
import type { EnrolmentError } from "../../../src/control-plane/enrolment/enrolment-error.ts";
import type { Peer } from "../../../src/control-plane/push/peer.ts";
import { openSqliteStore } from "../../../src/control-plane/store/sqlite.ts";
import { openMemoryStore } from "../../../src/control-plane/store/memory.ts";
import type { Store } from "../../../src/control-plane/store/store.ts";
import { silentLogger } from "../../../src/core/log.ts";
import { loadCredentials } from "../../../src/identity/credentials.ts";
import { readBinding, uriNames } from "../../../src/identity/extensions.ts";
import { createCsr, generatePrivateKey } from "../../../src/identity/x509.ts";
import type { IssueResponse } from "../../../src/push/messages.ts";
import { formatToken, parseToken } from "../../../src/push/token.ts";
import { fakeClock, type FakeClock } from "../../support/clocks/fake-clock.ts";
import {
  MESH,
  temporaryDirectory,
  type Scope,
} from "../../support/control-plane/push-control-plane.ts";

interface Setting {
  readonly clock: FakeClock;
  readonly store: Store;
  readonly authority: Authority;
  readonly enrolment: Enrolment;
  readonly token: (
    options?: Partial<EnrolmentTokenOptions>,
  ) => Promise<{ id: string; text: string }>;
}

/** Nothing is against a renewal. */
const WELCOME = {
  untimelyFault: () => Promise.resolve(undefined),
  shown: { isSuperseded: () => false },
};

async function set(
  t: Scope,
  open: (clock: FakeClock) => Store = (clock) => openMemoryStore({ clock }),
): Promise<Setting> {
  const clock = fakeClock();
  const store = open(clock);
  const authority = await openAuthority({
    directory: await temporaryDirectory(t),
    trustDomain: "cluster.local",
    clock,
  });
  return {
    clock,
    store,
    authority,
    enrolment: new Enrolment({
      nameFault: () => Promise.resolve(undefined),
      ...WELCOME,
      store,
      issuer: authority,
      trustDomain: "cluster.local",
      clock,
      logger: silentLogger,
    }),
    token: (options = {}) =>
      createEnrolmentToken(store, clock, {
        namespace: "shop",
        serviceAccount: "web",
        labels: { app: "web" },
        ttl: 60_000,
        uses: 3,
        ca: authority.fingerprint,
        ...options,
      }),
  };
}

const csr = (): string => createCsr(generatePrivateKey());
const REMOTE = "10.0.0.7";

void t.test(
  "a token gives the identity that it was made for, for a day, under the name asked for",
  async (t) => {
    const { enrolment, token, clock } = await set(t);
    const privateKey = generatePrivateKey();
    const issued = await enrolment.enrol(
      {
        token: (await token()).text,
        csr: createCsr(privateKey),
        name: "web-1",
      },
      REMOTE,
    );
    const credentials = loadCredentials(
      { ...issued, privateKey },
      clock.wall(),
    );
    t.equal(credentials.id, "spiffe://cluster.local/ns/shop/sa/web");
    t.same(readBinding(new X509Certificate(issued.certificateChain)), {
      name: "web-1",
      labels: { app: "web" },
    });
    const life = credentials.notAfter - clock.wall();
    t.ok(life > 86_000_000 && life <= 86_400_000, `${life} ms`);
  },
);

void t.test("without a name one is made, another each time", async (t) => {
  const { enrolment, token } = await set(t);
  const { text } = await token();
  const names: (string | undefined)[] = [];
  for (let count = 0; count < 2; count += 1) {
    const { certificateChain } = await enrolment.enrol(
      { token: text, csr: csr(), name: "" },
      REMOTE,
    );
    names.push(readBinding(new X509Certificate(certificateChain))?.name);
  }
  t.match(names, [/^web-[0-9a-f]{8}$/, /^web-[0-9a-f]{8}$/]);
  t.not(names[0], names[1]);
});

void t.test("what the request says of its subject is ignored", async (t) => {
  const { enrolment, token } = await set(t);
  const keys = generateKeyPairSync("rsa", { modulusLength: 2048 });
  const request = forge.pki.createCertificationRequest();
  request.publicKey = forge.pki.publicKeyFromPem(
    keys.publicKey.export({ type: "spki", format: "pem" }),
  );
  request.setSubject([{ name: "commonName", value: "admin" }]);
  request.sign(
    forge.pki.privateKeyFromPem(
      keys.privateKey.export({ type: "pkcs8", format: "pem" }),
    ),
    forge.md.sha256.create(),
  );
  const { text } = await token();
  await t.rejects(
    enrolment.enrol(
      {
        token: text,
        csr: forge.pki.certificationRequestToPem(request),
        name: "",
      },
      REMOTE,
    ),
    { kind: "invalid", message: /certificate request/ },
    "no key but P-256",
  );
  const { certificateChain } = await enrolment.enrol(
    { token: text, csr: csr(), name: "" },
    REMOTE,
  );
  t.same(uriNames(new X509Certificate(certificateChain)), [
    "spiffe://cluster.local/ns/shop/sa/web",
  ]);
});

void t.test("the life of a certificate is the Mesh's", async (t) => {
  const { enrolment, token, store, clock } = await set(t);
  await store.put(
    {
      ...MESH,
      spec: {
        authorization: { defaultAction: "ALLOW" },
        mtls: { certificateTTL: "1h" },
      },
    },
    "absent",
  );
  const { certificateChain } = await enrolment.enrol(
    { token: (await token()).text, csr: csr(), name: "" },
    REMOTE,
  );
  const left =
    new X509Certificate(certificateChain).validToDate.getTime() - clock.wall();
  t.ok(left > 3_500_000 && left <= 3_600_000, `${left} ms`);
});

void t.test(
  "a token that is wrong, unknown, expired or used up is refused, and says what to do",
  async (t) => {
    const { enrolment, token, clock, authority, store } = await set(t);
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
  const { enrolment, token, store } = await set(t);
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
    const { enrolment, token } = await set(t);
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
    const { enrolment, token, clock } = await set(t);
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
    const { enrolment } = await set(t);
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
    const { enrolment, token, store } = await set(t);
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
    const { authority, clock, store, token } = await set(t);
    const asked: object[] = [];
    const enrolment = new Enrolment({
      nameFault: (instance) => {
        asked.push(instance);
        return Promise.resolve("Workload shop/web-1 is registered by another");
      },
      ...WELCOME,
      store,
      issuer: authority,
      trustDomain: "cluster.local",
      clock,
      logger: silentLogger,
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
  const { token, store } = await set(t);
  const { id, text } = await token();
  const secret = parseToken(text)?.secret ?? "none";
  t.notMatch(JSON.stringify(await store.get(enrolmentTokenKey(id))), secret);
});

void t.test(
  "a renewal keeps identity, name, labels and addresses, on another key",
  async (t) => {
    const { enrolment } = await set(t);
    const peer: Peer = {
      identity: "spiffe://cluster.local/ns/shop/sa/web",
      namespace: "shop",
      serviceAccount: "web",
      name: "web-1",
      labels: { app: "web", version: "v2" },
      addresses: ["10.9.0.0/16"],
      key: "old",
      certificateNotBefore: 0,
      certificateExpiresAt: 0,
      address: "10.0.0.1:1",
      source: "10.0.0.1",
    };
    const { certificateChain, key } = await enrolment.renew(peer, csr());
    const leaf = new X509Certificate(certificateChain);
    t.same(readBinding(leaf), {
      name: "web-1",
      labels: peer.labels,
      addresses: peer.addresses,
    });
    t.same(uriNames(leaf), [peer.identity]);
    t.match(key, /^[0-9a-f]{64}$/);
    await t.rejects(enrolment.renew(peer, "nonsense"), {
      kind: "invalid",
      message: /certificate request/,
    });
  },
);

void t.test(
  "an authority that cannot sign is the control plane's failure, not the asker's",
  async (t) => {
    const { store, clock, token } = await set(t);
    const broken = new Enrolment({
      nameFault: () => Promise.resolve(undefined),
      ...WELCOME,
      store,
      issuer: {
        trustBundle: "",
        sign: () => {
          throw new Error("the issuing certificate has expired");
        },
      },
      trustDomain: "cluster.local",
      clock,
      logger: silentLogger,
    });
    await t.rejects(
      broken.enrol(
        { token: (await token()).text, csr: csr(), name: "" },
        REMOTE,
      ),
      { kind: "failed", message: /issuing certificate has expired/ },
    );
  },
);

void t.test(
  "uses that are taken at once are taken together, and no more than there are",
  async (t) => {
    const directory = await temporaryDirectory(t);
    const { store, enrolment, token } = await set(t, (clock) =>
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
    const { store, enrolment, token } = await set(t);
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

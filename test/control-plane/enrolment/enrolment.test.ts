/** Which certificates an instance gets, first and later. */
import { generateKeyPairSync, X509Certificate } from "node:crypto";
import forge from "node-forge";
import t from "tap";
import { enrolmentTokenKey } from "../../../src/control-plane/enrolment/enrolment-token.ts";
import type { Issuer } from "../../../src/control-plane/enrolment/enrolment.ts";
import type { Peer } from "../../../src/control-plane/push/peer.ts";
import { nextTurn } from "../../../src/core/slices.ts";
import { loadCredentials } from "../../../src/identity/credentials.ts";
import { readBinding, uriNames } from "../../../src/identity/extensions.ts";
import { generatePrivateKey } from "../../../src/identity/private-key.ts";
import type { Proof } from "../../../src/identity/revoked.ts";
import { createCsr } from "../../../src/identity/x509.ts";
import type { IssueResponse } from "../../../src/push/messages.ts";
import { MESH } from "../../support/control-plane/push-control-plane.ts";
import { PEER } from "../../support/control-plane/registry.ts";
import {
  csr,
  REMOTE,
  startEnrolment,
} from "../../support/control-plane/enrolment.ts";

void t.test(
  "a token gives the identity that it was made for, for a day, under the name asked for",
  async (t) => {
    const { enrolment, token, clock } = await startEnrolment(t);
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
  const { enrolment, token } = await startEnrolment(t);
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
  const { enrolment, token } = await startEnrolment(t);
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
  const { enrolment, token, store, clock } = await startEnrolment(t);
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
  "a renewal keeps identity, name, labels and addresses, on another key",
  async (t) => {
    const { enrolment } = await startEnrolment(t);
    const peer: Peer = {
      identity: "spiffe://cluster.local/ns/shop/sa/web",
      namespace: "shop",
      serviceAccount: "web",
      name: "web-1",
      labels: { app: "web", version: "v2" },
      addresses: ["10.9.0.0/16"],
      key: "old",
      serial: "A1",
      certificateNotBefore: 0,
      certificateExpiresAt: 0,
      root: "",
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
    const { enrolment, token } = await startEnrolment(t, {
      issuer: {
        trustBundle: "",
        sign: () => {
          throw new Error("the issuing certificate has expired");
        },
      },
    });
    await t.rejects(
      enrolment.enrol(
        { token: (await token()).text, csr: csr(), name: "" },
        REMOTE,
      ),
      { kind: "failed", message: /issuing certificate has expired/ },
    );
  },
);

/** An issuer whose signatures wait for the test. */
function heldIssuer(): {
  readonly issuer: Issuer;
  readonly authority: (next: Pick<Issuer, "sign">) => void;
  readonly asked: ((result: "sign" | Error) => void)[];
} {
  const asked: ((result: "sign" | Error) => void)[] = [];
  let authority: Pick<Issuer, "sign"> | undefined;
  return {
    asked,
    authority: (next) => {
      authority = next;
    },
    issuer: {
      trustBundle: "",
      sign: (csr, subject, signal) =>
        new Promise((done, failed) => {
          asked.push((result) => {
            if (result instanceof Error) failed(result);
            else if (authority !== undefined)
              done(authority.sign(csr, subject, signal));
          });
        }),
    },
  };
}

void t.test(
  "a signature that fails or is late costs no use of the token",
  async (t) => {
    const { issuer, asked, authority: signsBy } = heldIssuer();
    const world = await startEnrolment(t, { issuer });
    const { enrolment, token, store, clock, authority } = world;
    signsBy(authority);
    const { id, text } = await token({ uses: 1 });
    const left = async (): Promise<unknown> =>
      (await store.get(enrolmentTokenKey(id)))?.spec;
    const ask = (): Promise<IssueResponse> =>
      enrolment.enrol({ token: text, csr: csr(), name: "web-1" }, REMOTE);
    const end = async (result: "sign" | Error): Promise<void> => {
      while (asked.length === 0) await nextTurn();
      asked.shift()?.(result);
    };

    const failing = ask();
    await end(new Error("the issuer is away"));
    await t.rejects(failing, { kind: "failed", message: /issuer is away/ });
    t.match(await left(), { usesLeft: 1 });

    const late = ask();
    while (asked.length === 0) await nextTurn();
    await t.rejects(ask(), {
      kind: "failed",
      message: /no uses left but those that are being taken/,
    });
    clock.advance(10_000);
    await t.rejects(late, { kind: "failed", message: /within 10 s/ });
    asked.shift();
    t.match(await left(), { usesLeft: 1 });

    const good = ask();
    await end("sign");
    t.match((await good).certificateChain, /BEGIN CERTIFICATE/);
    t.match(await left(), { usesLeft: 0 });
    await t.rejects(ask(), { kind: "refused", message: /no uses left/ });
    t.equal(clock.pending, 0);
  },
);

void t.test(
  "what is revoked while it is signed is not given, and costs no use",
  async (t) => {
    let fault: (proof: Proof) => string | undefined = () => undefined;
    const { issuer, asked, authority: signsBy } = heldIssuer();
    const world = await startEnrolment(t, {
      issuer,
      faultOf: (proof) => fault(proof),
    });
    const { enrolment, token, store, authority } = world;
    signsBy(authority);
    const { id, text } = await token();
    const renew = (): Promise<unknown> => enrolment.renew(PEER, csr());
    const enrol = (): Promise<unknown> =>
      enrolment.enrol({ token: text, csr: csr(), name: "web-1" }, REMOTE);
    const isNew = ({ certificate }: Proof): boolean =>
      !["", PEER.serial, undefined].includes(certificate?.serial);
    const rows: readonly (readonly [
      string,
      () => Promise<unknown>,
      (proof: Proof) => boolean,
    ])[] = [
      [
        "the certificate in use",
        renew,
        ({ certificate }) => certificate?.serial === PEER.serial,
      ],
      // Nobody knew its number before.
      ["the certificate that comes", renew, isNew],
      ["the certificate that comes, at enrolment", enrol, isNew],
      ["the identity", enrol, () => true],
    ];
    for (const [what, ask, isRevoked] of rows) {
      fault = () => undefined;
      const asking = ask();
      while (asked.length === 0) await nextTurn();
      fault = (proof) => (isRevoked(proof) ? "it is revoked" : undefined);
      asked.shift()?.("sign");
      await t.rejects(
        asking,
        { kind: "refused", message: "it is revoked" },
        what,
      );
    }
    t.match(await store.get(enrolmentTokenKey(id)), { spec: { usesLeft: 3 } });
  },
);

void t.test(
  "an enrolment is in the audit log, and one that is not is not given",
  async (t) => {
    const { enrolment, token, store } = await startEnrolment(t);
    const { id, text } = await token();
    await enrolment.enrol({ token: text, csr: csr(), name: "web-1" }, REMOTE);
    const { entries } = await store.audited({ readable: "all", limit: 10 });
    t.match(entries, [
      {
        by: `EnrolmentToken/${id}`,
        from: REMOTE,
        verb: "enrol",
        kind: "Workload",
        namespace: "shop",
        name: "web-1",
        note: "spiffe://cluster.local/ns/shop/sa/web",
      },
    ]);
    store.record = () => Promise.reject(new Error("no room"));
    await t.rejects(
      enrolment.enrol({ token: text, csr: csr(), name: "web-2" }, REMOTE),
      { kind: "failed", message: "no room" },
    );
  },
);

void t.test(
  "what is revoked while it is asked for is not issued",
  async (t) => {
    let fault: string | undefined;
    const { enrolment, token, store } = await startEnrolment(t, {
      faultOf: () => fault,
    });
    const { text } = await token();
    const get = store.get.bind(store);
    // While the settings of the mesh are read, right before the signature.
    store.get = async (key) => {
      const found = await get(key);
      if (key.kind === "Mesh") fault = "it is revoked";
      return found;
    };
    const refused = { kind: "refused", message: "it is revoked" };
    await t.rejects(enrolment.renew(PEER, csr()), refused);
    fault = undefined;
    const asked = { token: text, csr: csr(), name: "web-1" };
    await t.rejects(enrolment.enrol(asked, REMOTE), refused);
    store.put = () => Promise.reject(new Error("a use is taken"));
    await t.rejects(enrolment.enrol({ ...asked, csr: csr() }, REMOTE), refused);
  },
);

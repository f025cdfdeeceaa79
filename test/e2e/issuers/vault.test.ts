/** The PKI engine of Vault itself signs for a mesh, with the role of the guide: enrolment, renewal, an outage; and what other roles make of a request is refused. With WHERRY_LONG=1 alone. */
import { execFileSync } from "node:child_process";
import { X509Certificate } from "node:crypto";
import { readFile } from "node:fs/promises";
import t, { type Test } from "tap";
import { openIssuer } from "../../../src/control-plane/issuer/open-issuer.ts";
import { systemClock, timestamp } from "../../../src/core/clock.ts";
import { silentLogger } from "../../../src/core/log.ts";
import type { SpiffeUri } from "../../../src/core/units.ts";
import { generatePrivateKey } from "../../../src/identity/private-key.ts";
import { formatSpiffeId } from "../../../src/identity/spiffe.ts";
import { createCsr } from "../../../src/identity/x509.ts";
import { eventually, openLoad } from "../../support/peers/call.ts";
import {
  leafOf,
  startShop,
  type ShopProcesses,
} from "../../support/processes/shop-processes.ts";
import { needs } from "../../support/processes/tools.ts";
import {
  roleOfGuide,
  startVault,
  VAULT_MISSING,
  type Vault,
  type VaultRole,
} from "../../support/processes/vault-pki.ts";

const WITHIN = 30_000;
const HOUR = 3_600_000;
const idOf = (serviceAccount: string): SpiffeUri =>
  formatSpiffeId({
    trustDomain: "cluster.local",
    namespace: "shop",
    serviceAccount,
  });

async function vaultOf(t: Test): Promise<Vault> {
  const vault = await startVault();
  t.teardown(() => vault.close());
  await vault.writeRole("guide", roleOfGuide());
  return vault;
}

/** A request for another identity than that of the token. */
function requestFor(account: string): string {
  return execFileSync(
    "openssl",
    [
      ...["req", "-new", "-sha256", "-subj", "/CN=web", "-keyout", "/dev/null"],
      ...["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"],
      ...["-addext", `subjectAltName=URI:${idOf(account)}`],
    ],
    { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] },
  );
}

interface Row {
  /** What the role has besides that of the guide, or in its place. */
  readonly role?: VaultRole;
  readonly call?: string;
  readonly csr?: () => string;
  readonly message: RegExp;
}

const REFUSED: Readonly<Record<string, Row>> = {
  "the names of the request in place of those asked for": {
    role: { use_csr_sans: "true" },
    csr: () => requestFor("payments"),
    message:
      /not used: expected spiffe:\S+\/sa\/web as its one URI name, found spiffe:\S+\/sa\/payments/,
  },
  "no name at all": {
    role: { use_csr_sans: "true" },
    message: /not used: /,
  },
  "an identity that the role does not have": {
    role: { allowed_uri_sans: idOf("orders") },
    message: /responded with 400: .*not valid for this role/,
  },
  "no labels": {
    role: { allowed_other_sans: "" },
    message: /responded with 400: .*not allowed/,
  },
  "an authority in place of a workload": {
    call: "root/sign-intermediate",
    message: /not used: CA certificate: a certificate authority's certificate/,
  },
  "an end of the role's own": {
    role: { not_after: timestamp(Date.now() + 72 * HOUR) },
    message: /responded with 400: .*Either ttl or not_after/,
  },
  "a begin that a revocation would spare": {
    role: { not_before_duration: "30s" },
    message: /not used: its validity begins at .*; expected /,
  },
  "a name in the subject's place": {
    role: { organization: "" },
    message: /without a subject, the subject alternative name must be critical/,
  },
  "another use of the key": {
    role: { key_usage: "KeyEncipherment" },
    message: /not used: key usage: an SVID has the key usage digitalSignature/,
  },
};

async function refusals(t: Test): Promise<void> {
  const vault = await vaultOf(t);
  const sign = async (
    call: string,
    csr = createCsr(generatePrivateKey()),
  ): Promise<string> => {
    const { rootsFile, tokenFile } = vault;
    const by = { kind: "token", file: tokenFile } as const;
    const url = new URL(`${vault.url}/${call}`);
    const opened = await openIssuer(
      { rootsFile, server: { url, access: { kind: "vault", by } } },
      { clock: systemClock, logger: silentLogger },
    );
    const subject = {
      ...{ spiffeId: idOf("web"), name: "web-1", ttlMs: HOUR },
      ...{ labels: { app: "web", note: "a;b:c,d" }, addresses: ["10.0.0.0/8"] },
    };
    try {
      const { signal } = new AbortController();
      return (await opened.issuer.sign(csr, subject, signal)).certificateChain;
    } finally {
      await opened.close();
    }
  };
  t.match(await sign("sign/guide"), /BEGIN CERTIFICATE/, "the guide's role");
  for (const [
    what,
    { role, call = "sign/odd", csr, message },
  ] of Object.entries(REFUSED)) {
    await vault.writeRole("odd", { ...roleOfGuide(), ...role });
    await t.rejects(sign(call, csr?.()), { message }, what);
  }
}

/** Whole processes, whose certificates live for 70 s and are renewed after 7. */
async function startMesh(t: Test, vault: Vault): Promise<ShopProcesses> {
  const environment = {
    WHERRY_ISSUER: "vault",
    WHERRY_ISSUER_URL: `${vault.url}/sign/guide`,
    WHERRY_ISSUER_ROOTS: vault.rootsFile,
    WHERRY_ISSUER_TOKEN_FILE: vault.tokenFile,
  };
  const shop = await startShop({
    mtls: { certificateTTL: "70s", rotateAt: 0.1 },
    places: { plane: { environment }, web: {}, orders: {} },
  });
  t.teardown(() => shop.close());
  const { status, text } = await shop.plane.ask(
    "PUT",
    "/apis/security.istio.io/v1/namespaces/shop/authorizationpolicies/orders",
    {
      ...{ apiVersion: "security.istio.io/v1", kind: "AuthorizationPolicy" },
      metadata: { name: "orders", namespace: "shop" },
      spec: {
        selector: { matchLabels: { app: "orders" } },
        action: "ALLOW",
        rules: [
          {
            from: [
              { source: { principals: ["cluster.local/ns/shop/sa/web"] } },
            ],
          },
        ],
      },
    },
  );
  t.ok(status < 300, text);
  return shop;
}

const ACCOUNTS = ["web", "orders"] as const;

/** Resolves when the certificate of each is another than now. */
async function untilRenewed(t: Test, shop: ShopProcesses): Promise<void> {
  const serials = async (): Promise<readonly string[]> =>
    Promise.all(
      ACCOUNTS.map(async (each) => (await leafOf(shop, each)).serialNumber),
    );
  const before = await serials();
  const after = await eventually("both are renewed", WITHIN, serials, (found) =>
    found.every((serial, index) => serial !== before[index]),
  );
  t.equal(new Set([...before, ...after]).size, 4);
}

async function wholeMesh(t: Test): Promise<void> {
  const vault = await vaultOf(t);
  const shop = await startMesh(t, vault);
  const root = new X509Certificate(await readFile(vault.rootsFile));
  for (const each of ACCOUNTS)
    t.ok((await leafOf(shop, each)).verify(root.publicKey), each);
  await eventually(
    "the policy is in force",
    WITHIN,
    () => shop.call(shop.sidecar("orders")),
    ({ status }) => status === 403,
  );
  const load = openLoad(20, () => shop.call());
  t.teardown(() => load.stop());
  await untilRenewed(t, shop);

  await vault.kill();
  const says = (process: { readonly log: string }, pattern: RegExp) =>
    eventually(
      `the log has ${String(pattern)}`,
      WITHIN,
      () => Promise.resolve(process.log.slice(-4000)),
      (log) => pattern.test(log),
    );
  await says(
    shop.plane.process,
    /"reason":"[^"]*ECONNREFUSED[^"]*","msg":"a certificate cannot be issued"/,
  );
  for (const each of ACCOUNTS)
    await says(
      shop.sidecar(each).process,
      /"reason":"[^"]*the authority cannot sign: [^"]*ECONNREFUSED[^"]*","msg":"no new certificate"/,
    );

  await vault.revive();
  await untilRenewed(t, shop);
  for (const each of ACCOUNTS)
    t.ok((await leafOf(shop, each)).verify(root.publicKey), each);
  const results = await load.stop();
  t.same(
    results.filter(({ status }) => status !== 200),
    [],
    `${results.length} calls`,
  );
}

if (process.env["WHERRY_LONG"] === "1") {
  const options = needs(VAULT_MISSING);
  void t.test("what is not as it was asked for", options, refusals);
  void t.test("a mesh that Vault signs for", options, wholeMesh);
}

/** What a certificate that is not valid is good for on the push port: its holder's renewal, within what the mesh allows, and nothing else. */
import { status } from "@grpc/grpc-js";
import t from "tap";
import {
  call,
  CallError,
  openClient,
  openStream,
} from "../../../src/agent/connection.ts";
import { renew } from "../../../src/agent/enrolment/enrol.ts";
import {
  loadCredentials,
  type Credentials,
} from "../../../src/identity/credentials.ts";
import { REQUESTS } from "../../../src/control-plane/push/pace.ts";
import { generatePrivateKey } from "../../../src/identity/private-key.ts";
import { createCsr } from "../../../src/identity/x509.ts";
import {
  DISCOVERY,
  ENROLMENT,
  REGISTRATION,
} from "../../../src/push/services.ts";
import {
  REGISTERED_BY,
  WORKLOAD,
} from "../../../src/resources/workload/schema.ts";
import { fakeAuthority } from "../../support/certificates/certificate-authority.ts";
import { until } from "../../support/control-plane/push-control-plane.ts";
import { PEER, SPEC } from "../../support/control-plane/registry.ts";
import {
  DAY,
  enrolled,
  HOUR,
  type Enrolled,
} from "../../support/control-plane/enrolled.ts";

const SECOND = 1000;
const signal = new AbortController().signal;

/** Renews with the credentials; gives the refusal's words, or "renewed". */
async function renewing(
  { plane, clock }: Enrolled,
  credentials: Credentials,
): Promise<string> {
  try {
    const { id } = await renew({
      ...{ address: plane.address, credentials, clock, signal },
    });
    return id === credentials.id ? "renewed" : id;
  } catch (thrown) {
    if (!(thrown instanceof CallError)) throw thrown;
    return `${thrown.code === undefined ? "" : (status[thrown.code] ?? "")} ${thrown.message}`;
  }
}

void t.test("how long it renews itself", async (t) => {
  const rows: readonly (readonly [string, number, object, RegExp])[] = [
    ["for its life", 23 * HOUR, {}, /^renewed$/],
    ["a second after its end", DAY + SECOND, {}, /^renewed$/],
    ["29 days after it", 30 * DAY, {}, /^renewed$/],
    [
      "31 days after it",
      32 * DAY,
      {},
      /^PERMISSION_DENIED .*by more than 720h/,
    ],
    [
      "a day, where a day is allowed",
      2 * DAY,
      { renewExpiredFor: "24h" },
      /^renewed$/,
    ],
    [
      "more than that",
      2 * DAY + SECOND,
      { renewExpiredFor: "24h" },
      /^PERMISSION_DENIED/,
    ],
    [
      "at once, where it is off",
      DAY + SECOND,
      { renewExpiredFor: "0s" },
      /^PERMISSION_DENIED .*is not renewed here.*0s.*wherry token create/,
    ],
    [
      "for its life, where it is off",
      23 * HOUR,
      { renewExpiredFor: "0s" },
      /^renewed$/,
    ],
    ["a day before its begin", -DAY - 2 * HOUR, {}, /^renewed$/],
    [
      "more than is allowed",
      -3 * DAY,
      { renewExpiredFor: "24h" },
      /^PERMISSION_DENIED/,
    ],
  ];
  for (const [what, when, mtls, outcome] of rows) {
    const setting = await enrolled(t);
    await setting.certificates.close();
    await setting.mtls({ ...mtls });
    setting.clock.jump(when);
    // The control plane's own is of now.
    await setting.away();
    await setting.back();
    t.match(await renewing(setting, setting.first), outcome, what);
  }
});

void t.test(
  "it opens no stream, registers nothing, and takes nothing away",
  async (t) => {
    const setting = await enrolled(t);
    const { plane, clock, first, certificates } = setting;
    await certificates.close();
    clock.advance(25 * HOUR);
    const client = openClient({
      address: plane.address,
      trustBundle: first.trustBundle,
      credentials: first,
      maxMessageBytes: 1_000_000,
      clock,
    });
    t.teardown(() => client.close());
    const refused = { code: status.UNAUTHENTICATED, message: /^expired: / };
    const options = { clock, timeout: 15_000, signal };
    const spec = JSON.stringify({ address: "10.0.0.1", ports: { http: 80 } });
    await t.rejects(
      call(client, REGISTRATION.Register, { spec }, options),
      refused,
    );
    await t.rejects(
      call(client, REGISTRATION.Deregister, {}, options),
      refused,
    );
    const stream = openStream(client, DISCOVERY.DeltaAggregatedResources);
    await t.rejects(
      new Promise((_resolve, reject) => {
        stream.on("data", () => reject(new Error("config came")));
        stream.on("error", (error: Error) => reject(error));
      }),
      { code: status.UNAUTHENTICATED },
    );
    t.same((await plane.store.list("Workload")).resources, []);
    const token = await plane.token({ name: "web-2" });
    const enrolling = call(
      client,
      ENROLMENT.Enrol,
      { token, csr: createCsr(generatePrivateKey()), name: "web-2" },
      options,
    );
    t.match(
      await enrolling,
      { certificateChain: /BEGIN/ },
      "a token is worth what it is for a stranger",
    );
  },
);

void t.test("whose it has to be", async (t) => {
  const setting = await enrolled(t);
  const { plane, clock, first, certificates } = setting;
  await certificates.close();
  clock.advance(25 * HOUR);
  const foreign = fakeAuthority({ now: clock.wall() });
  const binding = { name: "web-1", labels: { app: "web" }, addresses: [] };
  const forged = foreign.issue({
    id: first.id,
    binding,
    notBefore: clock.wall() - 25 * HOUR,
    notAfter: clock.wall() - HOUR,
  });
  const presented: readonly (readonly [string, Credentials])[] = [
    [
      "another authority's",
      {
        ...loadCredentials(forged, clock.wall()),
        trustBundle: first.trustBundle,
      },
    ],
    [
      "another authority's, with the issuing certificate of ours beside it",
      {
        ...loadCredentials(forged, clock.wall()),
        certificateChain:
          forged.certificateChain + ownIssuers(first.certificateChain),
        trustBundle: first.trustBundle,
      },
    ],
  ];
  for (const [what, credentials] of presented)
    t.match(await renewing(setting, credentials), /^UNAUTHENTICATED /, what);
  const nobody = openClient({
    address: plane.address,
    trustBundle: first.trustBundle,
    maxMessageBytes: 1_000_000,
    clock,
  });
  t.teardown(() => nobody.close());
  const csr = createCsr(generatePrivateKey());
  await t.rejects(
    call(nobody, ENROLMENT.Renew, { csr }, { clock, timeout: 15_000, signal }),
    { code: status.UNAUTHENTICATED, message: /no certificate/ },
  );
});

void t.test(
  "one that the instance has replaced, and shown the next of, is a copy",
  async (t) => {
    const setting = await enrolled(t);
    const { clock, first, certificates } = setting;
    await certificates.close();
    clock.advance(12 * HOUR);
    const options = { clock, signal, address: setting.plane.address };
    // The answer is lost on its way: the first is the instance's only one.
    await renew({ ...options, credentials: first });
    clock.advance(13 * HOUR);
    t.equal(await renewing(setting, first), "renewed");
    const second = await renew({ ...options, credentials: first });
    await renew({ ...options, credentials: second });
    t.match(
      await renewing(setting, first),
      /^PERMISSION_DENIED .*has shown a newer certificate/,
    );
    clock.advance(2000);
    await setting.away();
    await setting.back();
    t.match(
      await renewing(setting, first),
      /has shown a newer certificate/,
      "also for the next process of the control plane",
    );
    clock.advance(30 * HOUR);
    t.equal(await renewing(setting, second), "renewed");
  },
);

void t.test("one whose name is another's by now is refused", async (t) => {
  const setting = await enrolled(t);
  const { clock, first, certificates, plane } = setting;
  await certificates.close();
  clock.advance(25 * HOUR);
  const by = "spiffe://cluster.local/ns/shop/sa/other";
  await plane.store.put(
    {
      apiVersion: WORKLOAD.apiVersion,
      kind: WORKLOAD.kind,
      metadata: {
        name: "web-1",
        namespace: "shop",
        annotations: { [REGISTERED_BY]: by },
      },
      spec: {
        address: "10.0.0.9",
        ports: { http: 80 },
        serviceAccount: "other",
      },
    },
    "absent",
  );
  t.match(
    await renewing(setting, first),
    /^PERMISSION_DENIED .*web-1 is registered by spiffe:\/\/cluster.local\/ns\/shop\/sa\/other/,
  );
});

void t.test(
  "one whose Workload a person deleted while nothing was heard of it is refused",
  async (t) => {
    const setting = await enrolled(t);
    const { clock, first, certificates, plane } = setting;
    await certificates.close();
    await plane.registry.register(
      { ...PEER, identity: first.id, certificateNotBefore: first.notBefore },
      SPEC,
    );
    clock.advance(10 * 60 * SECOND);
    await plane.store.remove({
      ...{ kind: WORKLOAD.kind, namespace: "shop", name: "web-1" },
    });
    await until(() => plane.registry.lease("shop/web-1") === undefined);
    clock.advance(25 * HOUR);
    t.match(
      await renewing(setting, first),
      /^PERMISSION_DENIED .*its Workload was deleted.*wherry token create/,
    );
  },
);

function ownIssuers(chain: string): string {
  return chain.slice(chain.indexOf("-----BEGIN", 10));
}

void t.test("it renews as often as a valid one, and not more", async (t) => {
  const setting = await enrolled(t);
  const { plane, clock, first, certificates } = setting;
  await certificates.close();
  clock.advance(25 * HOUR);
  const { address } = plane;
  const { trustBundle } = first;
  const client = openClient({
    ...{ address, trustBundle, credentials: first, clock },
    maxMessageBytes: 1_000_000,
  });
  t.teardown(() => client.close());
  const csr = createCsr(generatePrivateKey());
  const options = { clock, timeout: 15_000, signal };
  const renewal = (): Promise<unknown> =>
    call(client, ENROLMENT.Renew, { csr }, options);
  for (let count = 0; count < REQUESTS.burst; count += 1) await renewal();
  await t.rejects(renewal(), { code: status.RESOURCE_EXHAUSTED });
  clock.advance(1000);
  await renewal();
});

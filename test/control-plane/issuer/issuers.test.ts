/** Issuers by HTTP: what they are asked, how they prove this end, and what becomes of those that fail, are slow or lie. */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import t, { type Test } from "tap";
import {
  openIssuer,
  type IssuerSettings,
} from "../../../src/control-plane/issuer/open-issuer.ts";
import { issuerUrl } from "../../../src/control-plane/issuer/issuer-client.ts";
import { silentLogger } from "../../../src/core/log.ts";
import { encodeBinding, Oid } from "../../../src/identity/extensions.ts";
import { generatePrivateKey } from "../../../src/identity/private-key.ts";
import { createCsr } from "../../../src/identity/x509.ts";
import { fakeAuthority } from "../../support/certificates/certificate-authority.ts";
import {
  signsAsAsked,
  signsAsVault,
  startSigningServer,
  type Call,
  type Reply,
  type SigningServer,
} from "../../support/certificates/signing-server.ts";
import { fakeClock, type FakeClock } from "../../support/clocks/fake-clock.ts";
import { temporaryDirectory } from "../../support/control-plane/push-control-plane.ts";
import { nextTurn } from "../../../src/core/slices.ts";

const ours = fakeAuthority();
const issuing = ours.issuing.certificate.toString();
const signs = signsAsAsked(ours.issuing, issuing);
const subject = {
  spiffeId: ours.id("web"),
  name: "web-1",
  labels: { app: "web" },
  addresses: ["10.9.0.0/16"],
  ttlMs: 3_600_000,
};

interface Rig {
  readonly server: SigningServer;
  readonly clock: FakeClock;
  readonly file: (name: string, text: string) => Promise<string>;
  readonly sign: (signal?: AbortSignal) => Promise<string>;
  readonly close: () => Promise<void>;
}

type Access = NonNullable<IssuerSettings["server"]>["access"];

async function rig(
  t: Test,
  reply: (call: Call, now: () => number) => Reply | Promise<Reply>,
  accessOf: (url: string, files: Rig["file"]) => Promise<Access>,
): Promise<Rig> {
  const directory = await temporaryDirectory(t);
  const file = async (name: string, text: string): Promise<string> => {
    await writeFile(join(directory, name), text, { mode: 0o600 });
    return join(directory, name);
  };
  const time = fakeClock({ wall: Date.now() });
  const server = await startSigningServer((call) =>
    reply(call, () => time.wall()),
  );
  const opened = await openIssuer(
    {
      rootsFile: await file("roots.pem", ours.bundle),
      server: {
        url: new URL(`${server.url}/v1/pki/sign/web`),
        access: await accessOf(server.url, file),
      },
    },
    { clock: time, logger: silentLogger },
  );
  t.teardown(async () => {
    await opened.close();
    await server.close();
  });
  return {
    ...{ server, clock: time, file, close: () => opened.close() },
    sign: async (signal = new AbortController().signal) =>
      (
        await opened.issuer.sign(
          createCsr(generatePrivateKey()),
          subject,
          signal,
        )
      ).certificateChain,
  };
}

const byToken = async (_url: string, file: Rig["file"]): Promise<Access> => ({
  kind: "http",
  tokenFile: await file("token", "secret\n"),
});

void t.test("the documented call, with the token of now", async (t) => {
  const { server, sign, file, close, clock } = await rig(t, signs, byToken);
  t.match(await sign(), /BEGIN CERTIFICATE/);
  const [call] = server.calls;
  t.equal(call?.path, "/v1/pki/sign/web");
  t.match(call?.headers, {
    authorization: "Bearer secret",
    "content-type": "application/json",
  });
  const { name, labels, addresses } = subject;
  const octets = encodeBinding({ name, labels, addresses });
  const { csr, notBefore, notAfter, ...rest } = call?.body ?? {};
  t.match(csr, /BEGIN CERTIFICATE REQUEST/);
  t.equal(
    Date.parse(String(notAfter)) - Date.parse(String(notBefore)),
    2 * 3_600_000,
    "an hour that is past, and the life",
  );
  t.same(rest, {
    spiffeId: subject.spiffeId,
    binding: {
      oid: Oid.BINDING,
      extension: octets.toString("base64"),
      otherName: octets.toString("base64url"),
    },
  });
  await file("token", "another");
  await sign();
  t.equal(server.calls[1]?.headers.authorization, "Bearer another");
  await file("token", "two lines\nof it");
  await t.rejects(sign(), { message: /expected one line of visible/ });
  t.equal(server.calls.length, 2, "nothing was sent");
  await close();
  t.equal(clock.pending, 0);
});

const WRONG: Readonly<Record<string, readonly [Reply, RegExp]>> = {
  "a refusal": [
    [403, { error: "not you\nat all" }],
    /responded with 403: .*not you/,
  ],
  "an error": [[500, ""], /responded with 500/],
  "a redirect": [[307, ""], /responded with 307/],
  garbage: [[200, "<html>"], /is not JSON/],
  "no object": [[200, "[]"], /is not a JSON object/],
  "no chain": [[200, {}], /has no certificateChain/],
  "another type": [[200, { certificateChain: 5 }], /has no certificateChain/],
  "no certificate": [[200, { certificateChain: "x" }], /no certificate found/],
  "a certificate of its own": [
    [200, { certificateChain: ours.issue().certificateChain }],
    /for another key/,
  ],
  "a huge response": [
    [200, { certificateChain: "x".repeat(1024 * 1024) }],
    /exceeded|longer than/i,
  ],
};

void t.test(
  "what is not the certificate that was asked for is an error",
  async (t) => {
    let reply: Reply = [200, ""];
    const { sign } = await rig(t, () => reply, byToken);
    for (const [what, [next, message]] of Object.entries(WRONG)) {
      reply = next;
      await t.rejects(sign(), { message }, what);
    }
  },
);

void t.test(
  "one that does not response is left when the time is over",
  async (t) => {
    const { sign, server } = await rig(t, () => undefined, byToken);
    const over = new AbortController();
    const signing = sign(over.signal);
    while (server.calls.length === 0) await nextTurn();
    over.abort(new Error("it took too long"));
    await t.rejects(signing, { message: "it took too long" });
    await server.close();
    await t.rejects(sign(), { message: /ECONNREFUSED|closed/ }, "a dead one");
  },
);

/** Logins give t1, t2, …; `good` says which of them is. */
function vault(): {
  readonly reply: (call: Call, now: () => number) => Reply;
  readonly state: { logins: number; good: string };
} {
  const state = { logins: 0, good: "t1" };
  return {
    state,
    reply: (call, now) => {
      if (call.path.includes("/login")) {
        state.logins += 1;
        const client_token = `t${state.logins}`;
        return [200, { auth: { client_token, lease_duration: 3600 } }];
      }
      return call.headers["x-vault-token"] === state.good
        ? signsAsVault(ours.issuing, [issuing, ours.bundle], now)(call)
        : [403, { errors: ["permission denied"] }];
    },
  };
}

void t.test("Vault, by a token of a file", async (t) => {
  const { reply, state } = vault();
  const { sign, server } = await rig(t, reply, async (_url, file) => ({
    kind: "vault",
    by: { kind: "token", file: await file("token", "t1") },
  }));
  t.match(await sign(), /BEGIN CERTIFICATE/);
  t.match(server.calls[0]?.body, {
    uri_sans: subject.spiffeId,
    ttl: "3600s",
    exclude_cn_from_sans: true,
    format: "pem",
  });
  state.good = "none";
  await t.rejects(sign(), {
    message: /responded with 403: .*permission denied/,
  });
  t.equal(state.logins, 0);
});

void t.test(
  "Vault, by a login that is made anew in time, and where its token is gone",
  async (t) => {
    const { reply, state } = vault();
    const { sign, server, clock, file } = await rig(
      t,
      reply,
      async (url, file) => ({
        kind: "vault",
        by: {
          kind: "login",
          url: new URL(`${url}/v1/auth/approle/login`),
          file: await file("login", '{"role_id":"r","secret_id":"s"}'),
        },
      }),
    );
    await Promise.all([sign(), sign(), sign()]);
    t.equal(state.logins, 1, "all share one");
    t.same(server.calls[0]?.body, { role_id: "r", secret_id: "s" });
    t.equal(server.calls[0]?.headers["x-vault-token"], undefined);
    clock.advance(2_400_000);
    state.good = "t2";
    await sign();
    t.equal(state.logins, 2, "after two thirds of its life");
    state.good = "t3";
    await Promise.all([sign(), sign()]);
    t.equal(state.logins, 3, "that one was taken back");
    state.good = "none";
    await t.rejects(sign(), { message: /403/ });
    t.equal(state.logins, 4, "and once only");
    await t.rejects(sign(), { message: /403/ });
    t.equal(state.logins, 4, "another login would be of no more use");
    clock.advance(10_000);
    await file("login", "not JSON");
    await t.rejects(sign(), { message: /expected a JSON object, such as/ });
  },
);

void t.test("Vault, a login is not its first asker's", async (t) => {
  const held = Promise.withResolvers<undefined>();
  const { reply, state } = vault();
  const { sign, server } = await rig(
    t,
    async (call, now) => {
      if (call.path.includes("/login")) await held.promise;
      return reply(call, now);
    },
    async (url, file) => ({
      kind: "vault",
      by: {
        kind: "login",
        url: new URL(`${url}/v1/auth/approle/login`),
        file: await file("login", '{"role_id":"r","secret_id":"s"}'),
      },
    }),
  );
  const over = new AbortController();
  const first = sign(over.signal);
  const second = sign();
  while (server.calls.length === 0) await nextTurn();
  over.abort(new Error("its time is over"));
  held.resolve(undefined);
  await t.rejects(first, { message: "its time is over" });
  t.match(await second, /BEGIN CERTIFICATE/);
  t.equal(state.logins, 1);
});

void t.test("Vault, by a JSON Web Token", async (t) => {
  const { reply } = vault();
  const { sign, server } = await rig(t, reply, async (url, file) => ({
    kind: "vault",
    by: {
      kind: "login",
      url: new URL(`${url}/v1/auth/kubernetes/login`),
      file: await file("jwt", "a.b.c\n"),
      role: "wherry",
    },
  }));
  await sign();
  t.same(server.calls[0]?.body, { role: "wherry", jwt: "a.b.c" });
});

void t.test("Vault, with a role that gives no subject", async (t) => {
  const { sign } = await rig(
    t,
    (call, now) => signsAsVault(ours.issuing, [issuing], now, "")(call),
    async (_url, file) => ({
      kind: "vault",
      by: { kind: "token", file: await file("token", "t1") },
    }),
  );
  await t.rejects(sign(), {
    message: /without a subject, the subject alternative name must be critical/,
  });
});

void t.test("where what proves this end may go", (t) => {
  for (const good of [
    "https://ca.test/sign",
    "http://127.0.0.1:1/x",
    "http://localhost/",
    "http://[::1]:5/",
  ])
    t.equal(issuerUrl(good, "--issuer-url").href, new URL(good).href);
  for (const bad of [
    "http://ca.test/sign",
    "http://10.0.0.1/",
    "ftp://x/",
    "nonsense",
    "https://a:b@ca.test/",
  ])
    t.throws(
      () => issuerUrl(bad, "--issuer-url"),
      { message: /invalid --issuer-url/ },
      bad,
    );
  t.end();
});

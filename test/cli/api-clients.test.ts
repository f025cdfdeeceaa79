/** The options that give roles to client certificates, and those with which a command shows one. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { apiClientsOf, clientRoleOf } from "../../src/cli/api-clients.ts";
import { connectApi } from "../../src/cli/client.ts";
import type { CliContext } from "../../src/cli/context.ts";
import { startApi } from "../../src/control-plane/api/server.ts";
import { systemClock } from "../../src/core/clock.ts";
import { clientAuthority } from "../support/certificates/client-authority.ts";
import { rig } from "../support/control-plane/api.ts";

void t.test("a name and its role", (t) => {
  const rows: readonly (readonly [string, object])[] = [
    ["CN=alice=admin", { name: "CN=alice", role: "admin" }],
    [
      "spiffe://a.b/ns/x/sa/y=editor:shop,bank",
      {
        ...{ name: "spiffe://a.b/ns/x/sa/y", role: "editor" },
        namespaces: ["shop", "bank"],
      },
    ],
    ["CN=a=b=viewer", { name: "CN=a=b", role: "viewer" }],
    [
      "https://h:1/p=viewer:a",
      { name: "https://h:1/p", role: "viewer", namespaces: ["a"] },
    ],
  ];
  for (const [text, role] of rows) t.strictSame(clientRoleOf(text), role, text);
  for (const text of [
    "",
    "alice=admin",
    "CN=alice",
    "CN==admin",
    "CN=alice=root",
    "CN=alice=admin:",
    "CN=alice=admin:Shop",
    "CN=alice=admin:a,,b",
    "CN=alice=admin:*",
    "=admin",
    "spiffe://=admin",
  ])
    t.throws(() => clientRoleOf(text), /invalid --api-client/, text);
  t.end();
});

async function inDirectory(t: {
  teardown: (run: () => unknown) => void;
}): Promise<(name: string, text: string) => Promise<string>> {
  const directory = await mkdtemp(join(tmpdir(), "wherry-"));
  t.teardown(() => rm(directory, { recursive: true }));
  return async (name, text) => {
    const file = join(directory, name);
    await writeFile(file, text, { mode: 0o600 });
    return file;
  };
}

void t.test("the authorities", async (t) => {
  const file = await inDirectory(t);
  const authority = clientAuthority(Date.now());
  const good = await file("ca", authority.bundle);
  const apiClient = ["CN=alice=admin"];
  t.equal(await apiClientsOf({}), undefined);
  t.match(await apiClientsOf({ apiClientCa: good, apiClient }), {
    authorities: authority.bundle,
    roles: [{ name: "CN=alice" }],
  });
  const rows: readonly (readonly [object, RegExp])[] = [
    [{ apiClientCa: good }, /belong together/],
    [{ apiClient }, /belong together/],
    [
      { apiClientCa: good, apiClient: ["CN=a=admin", "CN=a=viewer"] },
      /NAME of its own/,
    ],
    [{ apiClientCa: `${good}x`, apiClient }, /cannot be used/],
    [
      { apiClientCa: await file("no", "text"), apiClient },
      /no certificate in it/,
    ],
    [
      {
        apiClientCa: await file(
          "leaf",
          authority.issue({ commonName: "a" }).cert,
        ),
        apiClient,
      },
      /may issue no others/,
    ],
  ];
  for (const [options, words] of rows)
    await t.rejects(apiClientsOf(options), { message: words });
});

const context = {
  clock: systemClock,
  environment: {},
  stop: new AbortController().signal,
} as unknown as CliContext;

void t.test("a command shows a certificate", async (t) => {
  const file = await inDirectory(t);
  const made = await rig(t);
  const authority = clientAuthority(made.clock.wall());
  const server = clientAuthority(made.clock.wall());
  const own = server.issue({ address: [127, 0, 0, 1], forServers: true });
  const api = await startApi(made.options, {
    ...{ host: "127.0.0.1", port: 0 },
    tls: {
      ...{ certificate: own.cert, privateKey: own.key },
      clients: {
        authorities: authority.bundle,
        roles: [{ name: "CN=alice", role: "viewer" }],
      },
    },
  });
  t.teardown(() => api.close());
  const alice = authority.issue({ commonName: "alice" });
  const options = {
    ...{ server: api.url, state: "/nowhere" },
    clientCertificate: await file("alice.crt", alice.cert),
    clientKey: await file("alice.key", alice.key),
    serverCa: await file("server.crt", server.bundle),
  };
  const client = await connectApi(context, options);
  t.equal((await client.call("GET", "/store")).status, 200);
  await t.rejects(client.call("GET", "/tokens"), {
    message: /needs a token with the role admin/,
  });
  const { serverCa: _ca, ...untrusting } = options;
  const other = await connectApi(context, untrusting);
  await t.rejects(other.call("GET", "/store"), {
    message: /no control plane responds/,
  });
  await t.rejects(
    connectApi(context, { ...options, clientKey: undefined as never }),
    { message: /belong together/ },
  );
  await t.rejects(
    connectApi(context, { ...options, server: "http://127.0.0.1:1" }),
    {
      message: /begins with https/,
    },
  );
});

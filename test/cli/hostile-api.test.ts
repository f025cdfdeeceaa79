/** A server that is not the control plane's API, or a broken one: no command takes its responses for a success, or goes on for ever. */
import t from "tap";
import { readBody } from "../../src/cli/answers.ts";
import { runCli, withServer, type Ran } from "../support/control-plane/cli.ts";

const SERVICE = JSON.stringify({
  apiVersion: "mesh.wherry.dev/v1alpha1",
  kind: "Service",
  metadata: { name: "orders", namespace: "shop" },
  spec: { ports: [{ port: 80 }], selector: { app: "orders" } },
});

/** Runs a command against a server that responds with this, whatever it is asked. */
async function against(
  t: Parameters<typeof withServer>[0],
  body: string,
  argv: readonly string[],
): Promise<Ran & { readonly requests: number }> {
  let requests = 0;
  const server = await withServer(t, (request, response) => {
    requests += 1;
    request.resume().on("end", () => response.end(body));
  });
  const ran = await runCli([...argv, "--server", server], {
    environment: { WHERRY_TOKEN: "x" },
    input: SERVICE,
  });
  return { ...ran, requests };
}

const COMMANDS = [
  ["apply", "-f", "-"],
  ["delete", "-f", "-"],
  ["get", "services"],
  ["get", "services", "-A", "-o", "json"],
  ["get", "service", "orders", "-o", "json"],
  ["describe", "service", "orders", "-o", "json"],
  ["token", "create", "--service-account", "web"],
  ["token", "list"],
  ["revoke", "--serial", "a1"],
  ["revoke", "list"],
  ["audit"],
  ["ca", "status"],
  ["ca", "bundle"],
  ["ca", "rotate", "--wait"],
  ["store", "show"],
  ["store", "accept", "s"],
  ["status", "-o", "json"],
] as const;
for (const argv of COMMANDS)
  for (const body of ["{}", "", "[]", "null"])
    void t.test(`${argv.join(" ")} gets ${body}`, async (t) => {
      const { code, err } = await against(t, body, argv);
      t.equal(code, 1);
      t.match(err, /^error: .*is that the control plane's API\?\n$/);
    });

for (const [name, item] of [
  ["no outcome", {}],
  ["an outcome that there is none of", { outcome: "perhaps" }],
  ["a refusal without a reason", { outcome: "refused" }],
] as const)
  void t.test(`apply hears of ${name}`, async (t) => {
    const { code, out, err } = await against(
      t,
      JSON.stringify({ items: [item] }),
      ["apply", "-f", "-"],
    );
    t.equal(code, 1);
    t.equal(out, "");
    t.match(err, /^error: service\/orders: the response does not say/);
  });

void t.test("a mesh without a root has no bundle", async (t) => {
  const { code, out } = await against(t, `{"roots":[]}`, ["ca", "bundle"]);
  t.equal(code, 1);
  t.equal(out, "");
});

void t.test("an audit log that never ends is read no further", async (t) => {
  for (const items of [
    [],
    [
      {
        at: 1,
        by: "a",
        from: "b",
        verb: "c",
        kind: "d",
        namespace: "",
        name: "e",
      },
    ],
  ]) {
    const { code, requests } = await against(
      t,
      JSON.stringify({ items, next: 7 }),
      ["audit"],
    );
    t.equal(code, 1);
    t.ok(requests <= 2, String(requests));
  }
});

void t.test("a response that is cut is not the control plane's", async (t) => {
  const server = await withServer(t, (_request, response) => {
    response.writeHead(200, { "content-length": 100 });
    response.write("{");
    response.destroy();
  });
  const { code, err } = await runCli(["get", "services", "--server", server], {
    environment: { WHERRY_TOKEN: "x" },
  });
  t.equal(code, 1);
  t.match(err, /^error: no control plane responds at .*\n$/);
});

void t.test("a command that is stopped waits for no response", async (t) => {
  const stop = new AbortController();
  const server = await withServer(t, (_request, response) => {
    response.writeHead(200);
    response.write("{");
    stop.abort();
  });
  const { code } = await runCli(["get", "services", "--server", server], {
    environment: { WHERRY_TOKEN: "x" },
    stop: stop.signal,
  });
  t.equal(code, 130);
});

void t.test("a response without end is read up to a bound", async (t) => {
  let given = 0;
  async function* endless(): AsyncGenerator<Buffer> {
    for (;;) {
      given += 1;
      yield await Promise.resolve(Buffer.alloc(1000));
    }
  }
  await t.rejects(readBody(endless(), 10_000), {
    name: "UserError",
    message: /more than 10000 bytes/,
  });
  t.equal(given, 11);
});

// Explicit mode where nothing of Linux is: sidecars without koffi, without /proc, and told that the platform is "darwin".
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { eventually } from "../support/peers/call.ts";
import { startShop } from "../support/processes/shop-processes.ts";
import { startWherry } from "../support/processes/wherry-process.ts";
import { readPage } from "../support/repository/pages.ts";

const PRELOAD = join(
  ...[import.meta.dirname, "..", "support", "processes", "not-linux.ts"],
);
const folder = mkdtempSync(join(tmpdir(), "wherry-not-linux-"));
const asked = join(folder, "asked");
const place = {
  environment: {
    NODE_OPTIONS: `--import=${PRELOAD}`,
    NOT_LINUX_ASKED: asked,
  },
};
const application = spawn(
  process.execPath,
  ["--eval", "setInterval(() => {}, 1e9)"],
  { stdio: "ignore" },
);
const shop = await startShop({
  places: { plane: {}, web: place, orders: place },
  more: ["--exit-with", String(application.pid)],
});
t.teardown(async () => {
  application.kill("SIGKILL");
  await shop.close();
  rmSync(folder, { recursive: true, force: true });
});

const lines = (account: string): readonly Record<string, unknown>[] =>
  shop
    .sidecar(account)
    .process.log.split("\n")
    .filter((line) => line.startsWith("{"))
    .map((line) => JSON.parse(line) as Record<string, unknown>);

/** Milliseconds, where the machine is slow. */
const WITHIN = 60_000;

const untilStatus = (wanted: number): Promise<unknown> =>
  eventually(
    `calls get ${wanted}`,
    WITHIN,
    () => shop.call(),
    ({ status }) => status === wanted,
  );

const untilSaid = (account: string, msg: string): Promise<unknown> =>
  eventually(
    `${account} says "${msg}"`,
    WITHIN,
    () => Promise.resolve(lines(account)),
    (said) => said.some((line) => line["msg"] === msg),
  );

async function put(name: string, principal: string): Promise<void> {
  const { status, text } = await shop.plane.ask(
    "PUT",
    `/apis/security.istio.io/v1/namespaces/shop/authorizationpolicies/${name}`,
    {
      apiVersion: "security.istio.io/v1",
      kind: "AuthorizationPolicy",
      metadata: { name, namespace: "shop" },
      spec: {
        action: "ALLOW",
        rules: [{ from: [{ source: { principals: [principal] } }] }],
      },
    },
  );
  if (status >= 300) throw new Error(text);
}

void t.test("calls go by mutual TLS", async (t) => {
  // A principal is what a certificate of the link says, and nothing else.
  await put("callers", "cluster.local/ns/shop/sa/nobody");
  await untilStatus(403);
  await put("callers", "cluster.local/ns/shop/sa/web");
  await untilStatus(200);
  for (let calls = 0; calls < 50; calls += 1)
    t.equal((await shop.call()).text, "served");
});

void t.test("what is missing is said once", (t) => {
  for (const account of ["web", "orders"]) {
    const said = lines(account).filter(({ platform }) => platform === "darwin");
    t.equal(said.length, 1, account);
    t.strictSame(
      lines(account).filter(({ level }) => level === "error"),
      [],
      account,
    );
  }
  t.end();
});

void t.test("what it would have asked of Linux is in the guide", (t) => {
  const wanted = new Set(readFileSync(asked, "utf8").trim().split("\n"));
  const [, table = ""] = readPage("config/guide/install-and-run.md").split(
    "## On macOS",
  );
  t.ok(wanted.size > 3, [...wanted].join(" "));
  for (const what of wanted)
    t.match(table, `| \`${what.replaceAll("/N", "/…")}\``);
  t.end();
});

void t.test("several workers are refused", async (t) => {
  const state = join(folder, "several");
  const wherry = startWherry(
    [
      ...["sidecar", "--control-plane", "127.0.0.1:1", "--token", "none"],
      ...["--state", state, "--concurrency", "2", "--outbound-port", "0"],
      ...["--link-port", "0", "--admin-port", "0", "--metrics-port", "0"],
    ],
    place,
  );
  t.teardown(() => wherry.stop());
  t.strictSame(await wherry.untilEnded(), { code: 1, signal: null });
  t.match(wherry.log, /several workers need Linux/);
});

void t.test("the sidecars serve to the end, and drain", async (t) => {
  const [web, orders] = ["web", "orders"].map((each) => shop.sidecar(each));
  web?.process.signal("SIGTERM");
  await untilSaid(
    "web",
    "calls of the application are served until it is gone",
  );
  t.equal(
    (await shop.call()).status,
    200,
    "the application's calls are served",
  );
  orders?.process.signal("SIGTERM");
  application.kill("SIGKILL");
  await once(application, "exit");
  for (const sidecar of [web, orders])
    t.strictSame(await sidecar?.process.untilEnded(), {
      code: 0,
      signal: null,
    });
  for (const account of ["web", "orders"])
    t.equal(lines(account).at(-1)?.["msg"], "stopped");
});

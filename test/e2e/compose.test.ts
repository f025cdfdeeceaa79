/**
 * The image of `npm run image` under a real engine: small, without a shell, and content with an unprivileged user and a read-only root.
 * The shop of config/compose made of it answers, loses no call while each container is stopped and started in turn, and is traced.
 */
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t, { type Test } from "tap";
import { packageVersion } from "../../src/runtime/package.ts";
import {
  ENGINE_MISSING,
  startEngine,
  type Engine,
} from "../support/containers/engine.ts";
import { importJaeger } from "../support/containers/jaeger-image.ts";
import { drawn } from "../support/drawn.ts";
import { ROOT } from "../support/processes/demo.ts";
import { findTool, needs } from "../support/processes/tools.ts";
import { containersOf, PODS } from "../support/repository/manifests.ts";

/** MB to pull. */
const LARGEST = 60;
const TIGHT = ["--rm", "--network=none", "--read-only", "--cap-drop=ALL"];
const compose = findTool("podman-compose");
const jaeger = findTool("jaeger-all-in-one");
const MISSING = [
  ...ENGINE_MISSING,
  ...(compose === undefined ? ["podman-compose"] : []),
  ...(jaeger === undefined ? ["jaeger-all-in-one"] : []),
];
const FILE = join(ROOT, "config/compose/compose.yaml");
const PROJECT = "wherry-shop";
const WHERRY = ["/usr/bin/node", "/opt/wherry/wherry.js"];
/** Each other one is of another Service, so that one instance of each is always there. */
const INSTANCES = ["1", "2"].flatMap((number) =>
  ["web", "catalog", "orders", "payments"].map((name) => `${name}-${number}`),
);
/** Milliseconds in which containers are stopped and started over and over, once at least. */
const LASTS = drawn("WHERRY_COMPOSE_MS", 0, 120_000);
const [PAGE, ...PARTS] = [
  "web.shop/",
  "catalog.shop/products",
  "orders.shop/orders",
] as const;
/** Calls a second. */
const RATE = drawn("WHERRY_COMPOSE_RATE", 100, 200);
/** A page is as many calls as there are Services: one call in nine asks for it. */
const TARGETS = [PAGE, ...Array.from({ length: 4 }, () => PARTS).flat()];
/** As seldom as a mesh traces where nobody says otherwise. */
const SELDOM_TRACED = {
  apiVersion: "telemetry.istio.io/v1",
  kind: "Telemetry",
  metadata: { name: "seldom", namespace: "shop" },
  spec: { tracing: [{ randomSamplingPercentage: 1 }] },
};

/** A script that ends once the sidecar in its network namespace has a response for "HOST/PATH". */
function untilServed(target: string): string {
  const at = target.indexOf("/");
  return `const look = () => require("node:http")
    .get("http://127.0.0.1:15001${target.slice(at)}", { headers: { host: "${target.slice(0, at)}" } }, (response) => {
      response.resume();
      if (response.statusCode === 200) process.exit();
      setTimeout(look, 200);
    })
    .on("error", () => setTimeout(look, 200));
  look();`;
}

/** Makes the image and gives it to an engine, which is gone with the test. */
async function startWithImage(
  t: Test,
  folder: string,
): Promise<{ readonly engine: Engine; readonly said: string }> {
  const archive = join(folder, "wherry.tar");
  const said = execFileSync(
    process.execPath,
    [join(ROOT, "src/tools/image/main.ts"), "--tag=wherry:test", archive],
    { encoding: "utf8" },
  );
  const engine = await startEngine();
  t.teardown(() => engine.close());
  await engine.must(["podman", "load", "--quiet", `--input=${archive}`]);
  rmSync(archive);
  return { engine, said };
}

async function imageRuns(
  t: Test,
  engine: Engine,
  folder: string,
  said: string,
): Promise<void> {
  const megabytes = Number(/ ([0-9.]+) MB,/.exec(said)?.[1]);
  t.ok(megabytes > 20 && megabytes <= LARGEST, said);
  const parts = readFileSync(join(folder, "wherry.cdx.json"), "utf8");
  t.match(JSON.parse(parts), { bomFormat: "CycloneDX" });
  t.match(parts, /"pkg:npm\/fastify@/);

  const wherry = ["podman", "run", ...TIGHT, "wherry:test"];
  t.equal(
    (await engine.must([...wherry, "--version"])).trim(),
    packageVersion(),
  );

  const program = `
    require("/opt/wherry/node_modules/koffi").load("libc.so.6");
    const { writeFileSync } = require("node:fs");
    let written = "";
    try { writeFileSync("/opt/wherry/x", ""); } catch ({ code }) { written = code; }
    [process.getuid(), written, require("node:sqlite") !== undefined].join(" ");`;
  const node = await engine.must([
    ...["podman", "run", ...TIGHT, "--entrypoint=/usr/bin/node"],
    ...["wherry:test", "--print", program],
  ]);
  t.equal(node.trim(), "1337 EROFS true");

  // As the init container of a pod runs it.
  const [rules] = PODS.flatMap(containersOf).filter(
    ({ name }) => name === "intercept",
  );
  t.match(
    await engine.must([
      ...["podman", "run", ...TIGHT, "--security-opt=no-new-privileges"],
      ...["--user=0:0", "--cap-add=NET_ADMIN"],
      ...["wherry:test", ...(rules?.args ?? [])],
    ]),
    /^captured: .* by nft/,
  );

  const shell = await engine.run([
    ...["podman", "run", ...TIGHT, "--entrypoint=/bin/sh", "wherry:test"],
  ]);
  t.not(shell.code, 0);
  t.match(shell.err, /no such file or directory/);
}

async function shopRuns(t: Test, engine: Engine): Promise<void> {
  const named = (name: string): string => `${PROJECT}_${name}_1`;
  const podman = (...args: string[]): Promise<string> =>
    engine.must(["podman", ...args]);
  await engine.must([compose ?? "", "--file", FILE, "up", "--detach"], {
    WHERRY_IMAGE: "localhost/wherry:test",
    JAEGER_IMAGE: "localhost/jaeger:test",
    WHERRY_DRAIN_TIMEOUT: "2s",
  });

  /** Runs a script of Node in the network of a container: there is no shell, and no curl. */
  const inNetworkOf = (name: string, script: string): Promise<string> =>
    podman("exec", named(name), "/usr/bin/node", "--eval", script);
  /** Waits for as long as it takes; a test that hangs is ended by its runner. */
  const until200 = (name: string, url: string): Promise<string> =>
    inNetworkOf(
      name,
      `(async () => { for (;;) {
        const found = await fetch(${JSON.stringify(url)}).catch(() => undefined);
        if (found?.status === 200) return console.log(await found.text());
        await found?.body?.cancel();
        await new Promise((resolve) => setTimeout(resolve, 200));
      } })()`,
    );
  const ready = (instance: string): Promise<string> =>
    until200(`${instance}-host`, "http://127.0.0.1:15020/readyz?application");
  for (const instance of INSTANCES) await ready(instance);
  t.match(
    await until200("web-1-host", "http://127.0.0.1:8000/"),
    /servedBy.*catalog/s,
    "the published port answers",
  );

  // What follows is about calls; a trace of each is Jaeger's work.
  await inNetworkOf(
    "control-plane",
    `(async () => {
      const token = require("node:fs").readFileSync("/var/lib/wherry/admin.token", "utf8").trim();
      const response = await fetch("http://127.0.0.1:15080/apis/telemetry.istio.io/v1/namespaces/shop/telemetries/seldom", {
        method: "PUT",
        headers: { authorization: "Bearer " + token, "content-type": "application/json" },
        body: ${JSON.stringify(JSON.stringify(SELDOM_TRACED))},
      });
      if (!response.ok) throw new Error(await response.text());
    })()`,
  );

  const token = await podman(
    ...["exec", named("control-plane"), ...WHERRY, "token", "create"],
    ...["--namespace=shop", "--service-account=customer"],
  );
  await podman(
    ...["run", "--detach", "--name=customer", "--read-only", "--cap-drop=ALL"],
    ...[`--network=${PROJECT}_default`, `--env=WHERRY_TOKEN=${token.trim()}`],
    ...["--volume=customer:/var/lib/wherry", "localhost/wherry:test"],
    ...["sidecar", "--control-plane=control-plane:15012", "--name=customer"],
  );
  for (const target of TARGETS)
    await podman(
      ...["exec", "customer", "/usr/bin/node", "--eval"],
      untilServed(target),
    );
  const pid = (
    await podman("inspect", "--format={{.State.Pid}}", "customer")
  ).trim();
  const [nsenter = "", ...entering] = engine.entering;
  const calls = spawn(
    nsenter,
    [
      ...entering,
      ...[nsenter, `--target=${pid}`, "--net", process.execPath],
      join(ROOT, "test/support/containers/steady-calls.ts"),
      ...[String(RATE), ...TARGETS],
    ],
    { stdio: ["pipe", "pipe", "inherit"] },
  );
  let printed = "";
  calls.stdout.on("data", (chunk: Buffer) => (printed += chunk.toString()));

  const restart = async (container: string): Promise<void> => {
    await podman("stop", "--time=60", named(container));
    await podman("start", named(container));
  };
  const until = performance.now() + LASTS;
  do
    for (const part of ["", "-sidecar"])
      for (const instance of INSTANCES) {
        await restart(`${instance}${part}`);
        await ready(instance);
      }
  while (performance.now() < until);
  await restart("control-plane");
  await until200("control-plane", "http://127.0.0.1:15080/readyz");

  calls.stdin.end();
  await once(calls, "close");
  const { sent, failed } = JSON.parse(printed) as {
    readonly sent: number;
    readonly failed: readonly string[];
  };
  t.ok(sent > 1000, `${sent} calls`);
  t.same(failed.slice(0, 10), [], `${failed.length} of ${sent} failed`);

  const found = await until200(
    "web-1-host",
    "http://jaeger:16686/api/traces?service=catalog&limit=1",
  ).catch((thrown: unknown) => String(thrown));
  t.match(found, /"traceID"/);
}

void t.test(
  "the image and the shop under podman",
  { ...needs(MISSING), timeout: 600_000 },
  async (t) => {
    const folder = mkdtempSync(join(tmpdir(), "wherry-compose-test-"));
    t.teardown(() => rmSync(folder, { recursive: true, force: true }));
    const { engine, said } = await startWithImage(t, folder);
    await t.test("the image runs", (t) => imageRuns(t, engine, folder, said));
    const files = join(folder, "jaeger");
    await importJaeger(engine, jaeger ?? "", "localhost/jaeger:test", files);
    await t.test("the shop runs", (t) => shopRuns(t, engine));
  },
);

// The shop of config/compose under podman: it answers, loses no call while each container is stopped and started in turn, and is traced.
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { ENGINE_MISSING, startEngine } from "../support/containers/engine.ts";
import { makeJaegerImage } from "../support/containers/jaeger-image.ts";
import { drawn } from "../support/drawn.ts";
import { ROOT } from "../support/processes/demo.ts";
import { findTool, needs } from "../support/processes/tools.ts";

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
const TARGETS = ["web.shop/", "catalog.shop/products", "orders.shop/orders"];

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

void t.test(
  "the shop under podman-compose",
  { ...needs(MISSING), timeout: 600_000 },
  async (t) => {
    const folder = mkdtempSync(join(tmpdir(), "wherry-compose-test-"));
    t.teardown(() => rmSync(folder, { recursive: true, force: true }));
    const archive = join(folder, "wherry.tar");
    execFileSync(process.execPath, [
      join(ROOT, "src/tools/image/main.ts"),
      ...["--tag=wherry:test", archive],
    ]);
    const traces = await makeJaegerImage(
      jaeger ?? "",
      "jaeger:test",
      join(folder, "jaeger"),
    );
    const engine = await startEngine();
    t.teardown(() => engine.close());
    for (const file of [archive, traces])
      await engine.must(["podman", "load", "--quiet", `--input=${file}`]);

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

    const token = await podman(
      ...["exec", named("control-plane"), ...WHERRY, "token", "create"],
      ...["--namespace=shop", "--service-account=customer"],
    );
    await podman(
      ...[
        "run",
        "--detach",
        "--name=customer",
        "--read-only",
        "--cap-drop=ALL",
      ],
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
        ...["200", ...TARGETS],
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
  },
);

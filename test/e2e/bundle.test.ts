// What is published is not what the other tests run: the bundle of "npm run build", taken through a mesh's first steps.
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import t, { type Test } from "tap";
import type { ReceivedSpan } from "../../src/demo/otlp.ts";
import { call, closeCalls, eventually } from "../support/peers/call.ts";
import { startCollector } from "../support/peers/collector.ts";
import {
  newEnvironment,
  ROOT,
  runWherry,
  startDemo,
} from "../support/processes/demo.ts";

/** Milliseconds for what takes a second on an idle machine. */
const PATIENCE = 30_000;

// Inside the checkout: what cannot be bundled is found there, as in the node_modules of whoever installs the package.
mkdirSync(join(ROOT, ".tap"), { recursive: true });
const bundle = mkdtempSync(join(ROOT, ".tap", "bundle-"));
const wherry = join(bundle, "wherry.js");
const state = mkdtempSync(join(tmpdir(), "wherry-bundle-"));
t.teardown(() => {
  closeCalls();
  for (const folder of [bundle, state])
    rmSync(folder, { recursive: true, force: true });
});

function build(): { readonly status: number | null; readonly stderr: string } {
  return spawnSync(process.execPath, ["src/tools/build.js", bundle], {
    cwd: ROOT,
    env: newEnvironment(),
    encoding: "utf8",
  });
}

const RESOURCES = `
apiVersion: mesh.wherry.dev/v1alpha1
kind: Mesh
metadata: { name: default }
spec:
  authorization: { defaultAction: ALLOW }
  defaults: { tracing: { randomSamplingPercentage: 100 } }
---
apiVersion: mesh.wherry.dev/v1alpha1
kind: Service
metadata: { name: web, namespace: shop }
spec:
  ports: [{ name: http, port: 80, appProtocol: http }]
  selector: { app: web }
`;

interface Running {
  /** Everything that it has printed. */
  readonly printed: () => string;
  /** The first match in what it prints; rejects where it ends before. */
  readonly prints: (pattern: RegExp) => Promise<readonly string[]>;
  /** SIGINT, after which a sidecar does not wait for its application; resolves with its exit code. */
  readonly stop: () => Promise<number | null>;
}

/** A command of the bundle that runs until it is stopped, or the test ends. */
function start(
  t: Test,
  args: readonly string[],
  environment: Readonly<Record<string, string>> = {},
): Running {
  const child = spawn(process.execPath, [wherry, ...args], {
    cwd: state,
    env: newEnvironment(environment),
    stdio: ["ignore", "pipe", "pipe"],
  });
  let text = "";
  for (const stream of [child.stdout, child.stderr])
    stream.on("data", (chunk: Buffer) => (text += chunk.toString()));
  const ended = once(child, "exit").then(() => child.exitCode);
  t.teardown(async () => {
    child.kill("SIGKILL");
    await ended;
  });
  return {
    printed: () => text,
    async prints(pattern) {
      const look = (): Promise<RegExpExecArray | null> => {
        const found = pattern.exec(text);
        if (found === null && (child.exitCode ?? child.signalCode) !== null)
          throw new Error(`wherry ${args.join(" ")} ended: ${text}`);
        return Promise.resolve(found);
      };
      const found = await eventually(
        `wherry ${args[0] ?? ""} prints ${String(pattern)}`,
        PATIENCE,
        look,
        (match) => match !== null,
      );
      return found ?? [];
    },
    stop() {
      child.kill("SIGINT");
      return ended;
    },
  };
}

function isAnswer({ service, kind, attributes }: ReceivedSpan): boolean {
  return (
    service === "web" &&
    kind === "server" &&
    attributes["http.response.status_code"] === 200
  );
}

async function run(
  args: readonly string[],
  environment: Readonly<Record<string, string>> = {},
  input = "",
): Promise<string> {
  const ran = await runWherry(args, environment, input, wherry);
  if (ran.code !== 0)
    throw new Error(`wherry ${args.join(" ")}: ${ran.stdout}${ran.stderr}`);
  return ran.stdout;
}

/** A sidecar of the bundle on free ports, once it is ready. */
async function startSidecar(
  t: Test,
  name: string,
  args: readonly string[],
): Promise<Running & { readonly outbound: string }> {
  const ports = ["outbound", "link", "admin", "metrics"].flatMap((each) => [
    `--${each}-port`,
    "0",
  ]);
  const sidecar = start(t, [
    ...["sidecar", "--name", name, "--state", join(state, name)],
    ...["--host", "127.0.0.1", "--address", "127.0.0.1", "--no-capture"],
    ...ports,
    ...args,
  ]);
  const [, outbound = ""] = await sidecar.prints(/"outbound":(\d+)/);
  const [, metrics = ""] = await sidecar.prints(/"metrics":(\d+)/);
  await eventually(
    `${name} is ready`,
    PATIENCE,
    async () => {
      const { status } = await call(
        `http://127.0.0.1:${metrics}/readyz?application`,
      );
      return { status, printed: sidecar.printed() };
    },
    ({ status }) => status === 200,
  );
  return { ...sidecar, outbound: `http://127.0.0.1:${outbound}` };
}

void t.test("the bundle is built, and says what it is", async (t) => {
  const built = build();
  t.equal(built.status, 0, built.stderr);
  const ours = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")) as {
    readonly version: string;
    readonly dependencies: Readonly<Record<string, string>>;
  };
  const { koffi } = ours.dependencies;
  t.match(JSON.parse(readFileSync(join(bundle, "package.json"), "utf8")), {
    version: ours.version,
    dependencies: { koffi },
    bin: { wherry: "wherry.js" },
  });
  t.equal(await run(["--version"]), `${ours.version}\n`);
  const help = await run(["--help"]);
  for (const command of ["control-plane", "sidecar", "apply", "intercept"])
    t.match(help, new RegExp(`^  ${command}\\b`, "m"));

  const again = build();
  t.not(again.status, 0, "a folder with something in it is not overwritten");
  t.match(again.stderr, /is not empty/);
  t.ok(existsSync(wherry));
});

/** A package in CommonJS that is imported late has no names in a bundle, and those that the source takes of it are undefined. */
void t.test("what is loaded late loads, and has its names", (t) => {
  const folder = join(bundle, "src");
  const chunks = readdirSync(folder).filter((file) => file.endsWith(".mjs"));
  const late = new Set(
    chunks.flatMap((file) =>
      [
        ...readFileSync(join(folder, file), "utf8").matchAll(
          /import\("(\.[^"]+)"\)/g,
        ),
      ].map(([, target = ""]) => target),
    ),
  );
  // OpenTelemetry's detectors of a host's id, which nothing here runs.
  for (const target of late)
    if (target.startsWith("./getMachineId-")) late.delete(target);
  // Commands, providers of authorization, tokens, exporters.
  t.ok(late.size > 30, `${late.size} are loaded late`);
  const loaded = spawnSync(
    process.execPath,
    [
      "--input-type=module",
      "--eval",
      `for (const chunk of ${JSON.stringify([...late])})
  try {
    const { default: _, ...names } = await import(${JSON.stringify(pathToFileURL(folder).href)} + "/" + chunk);
    if (Object.keys(names).length === 0) console.log(chunk, "has no names");
  } catch (error) {
    console.log(chunk, String(error));
  }
process.exit();`,
    ],
    { env: newEnvironment(), encoding: "utf8" },
  );
  t.same(loaded, { ...loaded, status: 0, stdout: "", stderr: "" });
  t.end();
});

void t.test(
  "a mesh of the bundle: control plane, tokens, resources, sidecars in one thread and in two, and their spans",
  async (t) => {
    const collector = await startCollector(t);
    const application = createServer((_request, response) =>
      response.end("answer of the application"),
    ).listen(0, "127.0.0.1");
    await once(application, "listening");
    t.teardown(() => {
      application.closeAllConnections();
      application.close();
    });
    const { port } = application.address() as AddressInfo;

    const controlPlane = start(t, [
      ...["control-plane", "--state", join(state, "control-plane")],
      ...["--api", "127.0.0.1:0", "--push", "127.0.0.1:0"],
      ...["--otlp-endpoint", collector.endpoint],
    ]);
    const [, api = ""] = await controlPlane.prints(/"api":"([^"]+)"/);
    const [, push = ""] = await controlPlane.prints(/"push":"([^"]+)"/);
    const mesh = {
      WHERRY_SERVER: api,
      WHERRY_STATE: join(state, "control-plane"),
    };
    const token = await run(
      [
        ...["token", "create", "-n", "shop", "--service-account", "web"],
        ...["--label", "app=web", "--uses", "2", "--ttl", "10m"],
      ],
      mesh,
    );
    await run(["apply", "-f", "-"], mesh, RESOURCES);
    t.match(await run(["get", "service", "web", "-n", "shop"], mesh), /web/);

    const joining = [
      ...["--control-plane", push, "--token", token.trim()],
      ...["--app-port", `http=${port}`],
    ];
    const answers = (outbound: string): Promise<unknown> =>
      eventually(
        "the call is answered",
        PATIENCE,
        () => call(`${outbound}/page`, { headers: { host: "web.shop" } }),
        ({ status, text }) =>
          status === 200 && text === "answer of the application",
      );
    const one = await startSidecar(t, "web-1", [
      ...joining,
      ...["--otlp-endpoint", collector.endpoint],
    ]);
    await answers(one.outbound);
    const [served] = await eventually(
      "the sidecar's span arrives",
      PATIENCE,
      () => Promise.resolve(collector.spans.filter(isAnswer)),
      ({ length }) => length > 0,
    );
    t.match(served, {
      instance: "web-1",
      attributes: { "url.path": "/page", "http.request.method": "GET" },
    });

    const two = await startSidecar(t, "web-2", [
      ...joining,
      "--concurrency",
      "2",
    ]);
    await answers(two.outbound);

    // Again and again: what came before the SDK was loaded made no span.
    const [asked] = await eventually(
      "the control plane's span arrives",
      PATIENCE,
      async () => {
        await call(`${api}/status`);
        return collector.spans.filter(
          ({ service }) => service === "wherry-control-plane",
        );
      },
      ({ length }) => length > 0,
    );
    t.match(asked, { kind: "server", error: undefined });

    for (const sidecar of [two, one])
      t.equal(await sidecar.stop(), 0, sidecar.printed());
    t.equal(await controlPlane.stop(), 0, controlPlane.printed());
  },
);

/** All tests that start the demo do so from the bundle that the runner has built. */
const STARTED_BY_OTHERS = process.env["WHERRY_BUILT"] !== undefined;
if (!STARTED_BY_OTHERS)
  void t.test("the demo runs from the bundle", async (t) => {
    const demo = await startDemo({ wherry });
    t.teardown(() => demo.stop());
    t.equal((await call(`${demo.file.web}/`)).status, 200);
    t.match(await demo.must("status"), /shop\/web-1/);
    t.equal(await demo.stop(), 0);
  });

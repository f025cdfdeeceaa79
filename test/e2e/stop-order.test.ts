/** Law 12 with whole processes: what an application may call while its sidecar is asked to stop, and what ends both. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, mkdirSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import t, { type Test } from "tap";
import { EXIT } from "../../src/core/errors.ts";
import { freePort } from "../../src/demo/free-port.ts";
import { MAIN } from "../../src/runtime/package.ts";
import { call, closeCalls, eventually } from "../support/peers/call.ts";
import { fakeAuthority } from "../support/certificates/certificate-authority.ts";
import { cleanEnvironment } from "../support/processes/demo.ts";
import {
  startWherry,
  type WherryProcess,
} from "../support/processes/wherry-process.ts";
import { blocksOf, readPage } from "../support/repository/pages.ts";
import { OPEN_MESH } from "../support/resources/yaml.ts";

const WITHIN = 60_000;
/** In the application's SIGTERM handler, and the milliseconds between two: 3 s in all. */
const CALLS = 50;
const BETWEEN = 60;

const stock = createServer((_request, response) => response.end("ok"));
stock.listen(0, "127.0.0.1");
await once(stock, "listening");
t.teardown(() => {
  closeCalls();
  stock.closeAllConnections();
  stock.close();
});

/** A service without a sidecar, for the application to call: this process. */
const RESOURCES = `${OPEN_MESH}---
apiVersion: mesh.wherry.dev/v1alpha1
kind: Service
metadata: { name: stock, namespace: shop }
spec:
  ports: [{ name: http, port: 80 }]
  selector: { app: stock }
---
apiVersion: mesh.wherry.dev/v1alpha1
kind: Workload
metadata: { name: stock-1, namespace: shop, labels: { app: stock } }
spec:
  address: 127.0.0.1
  ports: { http: ${(stock.address() as AddressInfo).port} }
  serviceAccount: stock
`;

/** What a sidecar needs, in a folder of its own. */
interface Folder {
  readonly path: string;
  readonly outbound: number;
  readonly admin: number;
  readonly metrics: number;
}

/** The folder of a sidecar: `sidecar.yaml` has its options. */
async function folderOf(t: Test, appPort?: number): Promise<Folder> {
  const pems = fakeAuthority().credentials("till");
  const path = t.testdir({
    "mesh.yaml": RESOURCES,
    "leaf.pem": pems.certificateChain,
    "root.pem": pems.trustBundle,
    "leaf.key": pems.privateKey,
  });
  chmodSync(join(path, "leaf.key"), 0o600);
  const [outbound, admin, metrics] = await Promise.all([
    freePort(),
    freePort(),
    freePort(),
  ] as const);
  const options = {
    resources: join(path, "mesh.yaml"),
    certificate: join(path, "leaf.pem"),
    "private-key": join(path, "leaf.key"),
    "trust-bundle": join(path, "root.pem"),
    name: "till-1",
    label: ["app=till"],
    host: "127.0.0.1",
    state: join(path, ".wherry/sidecar"),
    "outbound-port": outbound,
    "inbound-port": 0,
    "link-port": 0,
    "admin-port": admin,
    "metrics-port": metrics,
    ...(appPort === undefined ? {} : { "app-port": [`http=${appPort}`] }),
  };
  writeFileSync(join(path, "sidecar.yaml"), JSON.stringify(options));
  return { path, outbound, admin, metrics };
}

interface Started extends Folder {
  readonly process: WherryProcess;
}

async function start(t: Test, folder: Folder): Promise<Started> {
  const process = startWherry([
    ...["sidecar", "--config", join(folder.path, "sidecar.yaml")],
  ]);
  t.teardown(() => process.stop());
  await eventually(
    "the sidecar is ready",
    WITHIN,
    () => {
      if (process.ended !== undefined) throw new Error(process.log);
      return call(`http://127.0.0.1:${folder.metrics}/readyz`);
    },
    ({ status }) => status === 200,
  );
  return { ...folder, process };
}

/** Each call is a connection of its own: between two there is none. */
const TILL = `
  import { createServer, request } from "node:http";
  const [port, outbound] = process.argv.slice(2).map(Number);
  const server = createServer((_request, response) => response.end("till"));
  server.listen(port, "127.0.0.1", () => console.log("listens"));
  const call = () => new Promise((resolve) => {
    const headers = { host: "stock.shop" };
    request({ host: "127.0.0.1", port: outbound, agent: false, headers }, (response) => {
      response.resume().on("end", () => resolve(response.statusCode));
    }).on("error", ({ code }) => resolve(code)).end();
  });
  process.on("SIGTERM", async () => {
    server.close();
    const seen = {};
    for (let made = 0; made < ${CALLS}; made += 1) {
      const what = await call();
      seen[what] = (seen[what] ?? 0) + 1;
      await new Promise((resolve) => setTimeout(resolve, ${BETWEEN}));
    }
    console.log(JSON.stringify(seen));
    process.exit(0);
  });
`;

void t.test(
  `an application that makes ${CALLS} calls in its SIGTERM handler: none is refused`,
  async (t) => {
    const port = await freePort();
    const folder = await folderOf(t, port);
    const sidecar = await start(t, folder);
    const file = join(folder.path, "till.mjs");
    writeFileSync(file, TILL);
    const child = spawn(
      process.execPath,
      [file, String(port), String(folder.outbound)],
      { stdio: ["ignore", "pipe", "inherit"], env: cleanEnvironment() },
    );
    t.teardown(() => child.kill("SIGKILL"));
    const lines: string[] = [];
    createInterface({ input: child.stdout }).on("line", (line) =>
      lines.push(line),
    );
    const has = (count: number): Promise<unknown> =>
      eventually(
        `${count} lines`,
        WITHIN,
        () => Promise.resolve(lines.length),
        (length) => length >= count,
      );
    await has(1);
    await eventually(
      "the application is seen",
      WITHIN,
      () => call(`http://127.0.0.1:${folder.metrics}/readyz?application`),
      ({ status }) => status === 200,
    );
    sidecar.process.signal("SIGTERM");
    child.kill("SIGTERM");
    await has(2);
    t.same(JSON.parse(lines[1] ?? ""), { 200: CALLS });
    t.match(await sidecar.process.untilEnded(), { code: EXIT.done });
    t.match(sidecar.process.log, /the application is gone/);
  },
);

void t.test(
  "SIGTERM waits for the application that lives on, and a second one for nothing",
  async (t) => {
    const till = createServer((_request, response) => response.end("till"));
    till.listen(0, "127.0.0.1");
    await once(till, "listening");
    t.teardown(() => till.close());
    const { port } = till.address() as AddressInfo;
    const { process, metrics, outbound } = await start(
      t,
      await folderOf(t, port),
    );
    process.signal("SIGTERM");
    await eventually(
      "it waits",
      WITHIN,
      () => Promise.resolve(process.log),
      (log) => log.includes("served until it is gone"),
    );
    const { status, text } = await call(`http://127.0.0.1:${metrics}/readyz`);
    t.equal(status, 503);
    t.match(text, /shutting down/);
    const headers = { host: "stock.shop" };
    const own = await call(`http://127.0.0.1:${outbound}/`, { headers });
    t.equal(own.status, 200, "what the application calls is served");
    const ended = await eventually(
      "it ends",
      WITHIN,
      () => {
        process.signal("SIGTERM");
        return Promise.resolve(process.ended);
      },
      (how) => how !== undefined,
    );
    t.match(ended, { code: EXIT.stopped });
  },
);

/** Runs a script of the guide's page as a shell does; resolves once it and all that it started have ended. */
async function runScript(
  script: string,
  folder: Folder,
): Promise<{ readonly code: number; readonly out: string }> {
  const bin = join(folder.path, "bin");
  mkdirSync(bin);
  const wherry = join(bin, "wherry");
  writeFileSync(
    wherry,
    `#!/bin/sh\nexec "${process.execPath}" "${MAIN}" "$@"\n`,
  );
  chmodSync(wherry, 0o755);
  const child = spawn(
    "sh",
    ["-c", script.replaceAll("15000", String(folder.admin))],
    {
      cwd: folder.path,
      stdio: ["ignore", "pipe", "pipe"],
      env: cleanEnvironment({
        PATH: [bin, dirname(process.execPath), process.env["PATH"]].join(":"),
        WHERRY_METRICS_PORT: String(folder.metrics),
      }),
    },
  );
  let out = "";
  for (const stream of [child.stdout, child.stderr])
    stream.on("data", (chunk: Buffer) => (out += chunk.toString()));
  // Not "exit": the pipes are open for as long as the sidecar runs.
  const [code] = (await once(child, "close")) as [number];
  return { code, out };
}

const SCRIPTS = blocksOf(readPage("config/guide/lifecycle.md"))
  .filter(({ language }) => language === "bash")
  .map(({ text }) => text);

void t.test("a job ends its sidecar: --exit-with", async (t) => {
  const folder = await folderOf(t);
  writeFileSync(join(folder.path, "job.js"), JOB(folder.outbound));
  const script = SCRIPTS.find((text) => text.includes("--exit-with")) ?? "";
  const { code, out } = await runScript(script, folder);
  t.equal(code, 7, out);
  t.match(out, /the job saw 200/);
  t.match(out, /"msg":"stopped"/);
});

void t.test("a job ends its sidecar: POST /quit", async (t) => {
  const folder = await folderOf(t);
  writeFileSync(join(folder.path, "job.js"), JOB(folder.outbound));
  const { process: sidecar } = await start(t, folder);
  const script = SCRIPTS.find((text) => text.includes("/quit")) ?? "";
  const { code, out } = await runScript(script, folder);
  t.equal(code, 7, out);
  t.match(out, /the job saw 200/);
  t.match(await sidecar.untilEnded(), { code: EXIT.done });
});

/** Calls once, and fails. */
function JOB(outbound: number): string {
  return `
    import { get } from "node:http";
    get(
      { host: "127.0.0.1", port: ${outbound}, headers: { host: "stock.shop" } },
      (response) => {
        console.log("the job saw " + response.statusCode);
        process.exit(7);
      },
    );
  `;
}

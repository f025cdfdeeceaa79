// Whole processes in which an error is thrown that nobody catches: each says why, lets what is in flight end, and ends with its own code.
import { spawnSync } from "node:child_process";
import { once } from "node:events";
import { openSync } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import t, { type Test } from "tap";
import { EXIT } from "../../../src/core/errors.ts";
import { DEFECT_FILE } from "../../../src/runtime/last-resort.ts";
import { MAIN } from "../../../src/runtime/package.ts";
import { cleanEnvironment } from "../../support/processes/demo.ts";
import {
  call,
  closeCalls,
  eventually,
  type Called,
} from "../../support/peers/call.ts";
import {
  startPlane,
  type PlaneProcess,
} from "../../support/processes/plane-process.ts";
import {
  startSidecarProcess,
  untilReady,
  type SidecarProcess,
} from "../../support/processes/sidecar-process.ts";

/** Loaded before all else: throws in the main thread by a signal, in a worker once there is a file. */
const DEFECT = `
  import { existsSync } from "node:fs";
  import { isMainThread } from "node:worker_threads";
  if (isMainThread) {
    process.on("SIGUSR2", () => { throw new Error("a defect on purpose"); });
    process.on("SIGWINCH", () => { void Promise.reject(new Error("a promise that nobody waits for")); });
  } else setInterval(() => {
    if (existsSync(process.env.TEST_DEFECT)) throw new Error("a defect of a worker");
  }, 20).unref();
`;

interface Bed {
  readonly directory: string;
  readonly nodeFlags: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
  readonly plane: PlaneProcess;
  /** Calls that the application has and has not answered. */
  readonly held: ServerResponse[];
  sidecar(more?: readonly string[]): Promise<SidecarProcess>;
}

async function makeBed(t: Test): Promise<Bed> {
  t.teardown(() => closeCalls());
  const directory = t.testdir({ "defect.mjs": DEFECT });
  const held: ServerResponse[] = [];
  const application = createServer((request, response) => {
    if (request.url === "/held") held.push(response);
    else response.end("hello");
  }).listen(0, "127.0.0.1");
  await once(application, "listening");
  t.teardown(() => {
    application.closeAllConnections();
    application.close();
  });
  const nodeFlags = ["--import", join(directory, "defect.mjs")];
  const environment = { TEST_DEFECT: join(directory, "now") };
  const plane = await startPlane(join(directory, "plane"), { nodeFlags });
  t.teardown(() => plane.process.stop());
  const made = await plane.ask(
    "PUT",
    "/apis/mesh.wherry.dev/v1alpha1/namespaces/shop/services/orders",
    {
      apiVersion: "mesh.wherry.dev/v1alpha1",
      kind: "Service",
      metadata: { name: "orders", namespace: "shop" },
      spec: {
        ports: [{ name: "http", port: 80, appProtocol: "http" }],
        selector: { app: "orders" },
      },
    },
  );
  t.equal(made.status, 201);
  return {
    ...{ directory, nodeFlags, environment, plane, held },
    async sidecar(more = []) {
      const sidecar = await startSidecarProcess({
        push: plane.push,
        account: "orders",
        state: join(directory, "orders"),
        application: (application.address() as AddressInfo).port,
        token: await plane.token("orders"),
        ...{ nodeFlags, environment, more },
      });
      t.teardown(() => sidecar.process.stop());
      await untilReady("the sidecar", sidecar);
      return sidecar;
    },
  };
}

async function report(directory: string): Promise<unknown> {
  return JSON.parse(await readFile(join(directory, DEFECT_FILE), "utf8"));
}

const callOrders = (sidecar: SidecarProcess, path = "/"): Promise<Called> =>
  call(`http://127.0.0.1:${sidecar.outbound}${path}`, {
    headers: { host: "orders.shop" },
  });

/** It is ready before it hears that it is an instance of the Service itself. */
async function callsOrders(sidecar: SidecarProcess): Promise<void> {
  await eventually(
    "orders is called",
    60_000,
    () => callOrders(sidecar),
    ({ status }) => status === 200,
  );
}

async function holdCall(
  bed: Bed,
  sidecar: SidecarProcess,
): Promise<{ readonly answer: Promise<Called> }> {
  await callsOrders(sidecar);
  const answer = callOrders(sidecar, "/held");
  await eventually(
    "the application has the call",
    20_000,
    () => Promise.resolve(bed.held.length),
    (count) => count > 0,
  );
  return { answer };
}

for (const [signal, where, error] of [
  ["SIGUSR2", "uncaughtException", "a defect on purpose"],
  ["SIGWINCH", "unhandledRejection", "a promise that nobody waits for"],
] as const)
  void t.test(`a sidecar: ${where}`, async (t) => {
    const bed = await makeBed(t);
    const sidecar = await bed.sidecar();
    const { answer } = await holdCall(bed, sidecar);
    sidecar.process.signal(signal);
    await eventually(
      "it is deregistered",
      5000,
      () =>
        bed.plane.ask(
          "GET",
          "/apis/mesh.wherry.dev/v1alpha1/namespaces/shop/workloads",
        ),
      ({ text }) => !text.includes('"orders-1"'),
    );
    bed.held[0]?.end("in the end");
    t.match(await answer, { status: 200, text: "in the end" });
    t.same(await sidecar.process.untilEnded(), {
      code: EXIT.defect,
      signal: null,
    });
    t.match(await report(join(bed.directory, "orders")), {
      component: "sidecar",
      ...{ where, error },
      stack: /defect\.mjs/,
      inFlight: { outbound: 1, agent: { source: "stream" } },
    });
    t.match(sidecar.process.log, /an error that nobody caught/);
    if (where === "uncaughtException")
      t.equal((await bed.sidecar()).process.ended, undefined, "starts again");
  });

void t.test("a second defect ends a sidecar at once", async (t) => {
  const bed = await makeBed(t);
  const sidecar = await bed.sidecar();
  const { answer } = await holdCall(bed, sidecar);
  sidecar.process.signal("SIGUSR2");
  await eventually(
    "the first is told",
    5000,
    () => Promise.resolve(sidecar.process.log),
    (log) => log.includes("ends in order"),
  );
  sidecar.process.signal("SIGUSR2");
  t.same(await sidecar.process.untilEnded(), {
    code: EXIT.defect,
    signal: null,
  });
  t.match(sidecar.process.log, /ends at once/);
  t.equal((await answer).status, 0);
});

void t.test("a worker that is lost ends the sidecar in order", async (t) => {
  const bed = await makeBed(t);
  const sidecar = await bed.sidecar(["--concurrency", "2"]);
  await writeFile(bed.environment["TEST_DEFECT"] ?? "", "");
  t.same(await sidecar.process.untilEnded(), {
    code: EXIT.defect,
    signal: null,
  });
  t.match(await report(join(bed.directory, "orders")), {
    where: "worker",
    error: "worker 1: a defect of a worker",
    stack: /defect\.mjs/,
  });
  t.match(sidecar.process.log, /"stopped"/);
});

void t.test("a control plane, and its next start", async (t) => {
  const bed = await makeBed(t);
  const sidecar = await bed.sidecar();
  await callsOrders(sidecar);
  bed.plane.process.signal("SIGUSR2");
  t.same(await bed.plane.process.untilEnded(), {
    code: EXIT.defect,
    signal: null,
  });
  t.match(await report(join(bed.directory, "plane")), {
    component: "control-plane",
    error: "a defect on purpose",
    inFlight: { sidecars: 1 },
  });
  t.equal((await callOrders(sidecar)).status, 200, "traffic does not need it");
  const again = await startPlane(join(bed.directory, "plane"));
  t.teardown(() => again.process.stop());
  t.equal((await again.ask("GET", "/readyz")).status, 200);
});

void t.test(
  "output that cannot be written is told, and a reader that left is not",
  (t) => {
    const help = (
      file: string | number,
    ): { status: number | null; text: string } => {
      const { status, stderr } = spawnSync(process.execPath, [MAIN, "--help"], {
        stdio: [
          "ignore",
          typeof file === "string" ? openSync(file, "w") : file,
          "pipe",
        ],
        env: cleanEnvironment(),
      });
      return { status, text: stderr.toString() };
    };
    t.match(help("/dev/full"), {
      status: EXIT.failed,
      text: /^error: standard output cannot be written: ENOSPC/m,
    });
    t.equal(help("/dev/null").status, EXIT.done);
    const shell = spawnSync(
      "bash",
      [
        "-c",
        `"$0" "$1" --help | true; exit \${PIPESTATUS[0]}`,
        process.execPath,
        MAIN,
      ],
      { env: cleanEnvironment() },
    );
    t.equal(shell.status, EXIT.done);
    t.notMatch(shell.stderr.toString(), /error/);
    t.end();
  },
);

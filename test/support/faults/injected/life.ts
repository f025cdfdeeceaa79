/**
 * A control plane and two sidecars in one process, whose calls of the machine fail once each (`inject.ts`): started until they serve,
 * driven until nothing new fails, and ended. Prints what went wrong, as JSON.
 */
import { writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { connect } from "node:http2";
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { hostname } from "node:os";
import { join } from "node:path";
import { startAgent } from "../../../../src/agent/mesh-agent.ts";
import {
  startControlPlane,
  type ControlPlane,
} from "../../../../src/control-plane/control-plane.ts";
import { createEnrolmentToken } from "../../../../src/control-plane/enrolment/enrolment-token.ts";
import { createApiToken } from "../../../../src/control-plane/tokens.ts";
import { systemClock } from "../../../../src/core/clock.ts";
import { makeLogger } from "../../../../src/core/log.ts";
import { offerHandOver } from "../../../../src/sidecar/handover/offer.ts";
import {
  startSidecar,
  type BoundPorts,
  type Sidecar,
} from "../../../../src/sidecar/sidecar.ts";
import { call, closeCalls } from "../../peers/call.ts";
import { askByDatagram } from "../../dns/ask.ts";
import { question } from "../../dns/questions.ts";

const directory = process.env["WHERRY_INJECTED"] ?? "";
/** Starts of one part that may fail before it serves: each fails by another call. */
const MOST_STARTS = 80;
/** Rounds of a life, in the last of which nothing fails any more. */
const MOST_ROUNDS = 60;
/** Rounds in a row in which all is well, before the next part of the life. */
const QUIET = 4;
const RESTARTS = 3;

/** Read where the test fails. */
const logger = makeLogger({ level: "warn" });
const uncaught: string[] = [];
const starts: string[] = [];
process.on("uncaughtException", (error, origin) =>
  uncaught.push(`${origin}: ${error.stack ?? error.message}`),
);

async function started<T>(what: string, start: () => Promise<T>): Promise<T> {
  for (let tries = 1; ; tries += 1)
    try {
      return await start();
    } catch (thrown) {
      const text = thrown instanceof Error ? thrown.message : String(thrown);
      starts.push(`${what}: ${text}`);
      if (tries === MOST_STARTS) throw thrown;
    }
}

const application = createServer((_request, response) => response.end("hello"));
application.listen(0, "127.0.0.1");
await once(application, "listening");
const { port: appPort } = application.address() as AddressInfo;

const plane: ControlPlane = await started("control plane", () =>
  startControlPlane({
    stateDirectory: join(directory, "plane"),
    store: "sqlite",
    trustDomain: "cluster.local",
    api: { host: "127.0.0.1", port: 0 },
    push: { host: "127.0.0.1", port: 0 },
    clock: systemClock,
    logger,
    profile: "development",
  }),
);
const { token: admin } = await started("token", () =>
  createApiToken(plane.store, systemClock, { role: "admin" }),
);

async function put(path: string, resource: object): Promise<number> {
  const { status } = await call(
    `${plane.apiUrl}/apis/mesh.wherry.dev/v1alpha1/${path}`,
    {
      method: "PUT",
      headers: {
        authorization: `Bearer ${admin}`,
        "content-type": "application/json",
      },
      body: JSON.stringify({
        apiVersion: "mesh.wherry.dev/v1alpha1",
        ...resource,
      }),
    },
  );
  return status;
}

let note = 0;
function apply(): Promise<number> {
  note += 1;
  return put("namespaces/shop/services/orders", {
    kind: "Service",
    metadata: {
      name: "orders",
      namespace: "shop",
      annotations: { note: String(note) },
    },
    spec: {
      ports: [{ name: "http", port: 80, appProtocol: "http" }],
      selector: { app: "orders" },
    },
  });
}

async function sidecar(account: string): Promise<Sidecar> {
  const state = join(directory, account);
  let bound: BoundPorts | undefined;
  const { text } = await started("token", () =>
    createEnrolmentToken(plane.store, systemClock, {
      ...{ namespace: "shop", serviceAccount: account },
      ...{ labels: { app: account }, ttl: 600_000, uses: 100 },
      ca: plane.authority.fingerprint,
    }),
  );
  return started("sidecar", () =>
    startSidecar({
      agent: (ports) => {
        bound = ports;
        return startAgent({
          controlPlane: plane.pushAddress,
          stateDirectory: state,
          token: text,
          name: `${account}-1`,
          version: "1.2.3",
          workload: () =>
            account === "web"
              ? undefined
              : {
                  address: "127.0.0.1",
                  ports: { http: appPort },
                  link: { port: bound?.link ?? 0 },
                  ttl: "15s",
                },
          clock: systemClock,
          logger,
        });
      },
      host: "127.0.0.1",
      metricsHost: "127.0.0.1",
      ports: { outbound: 0, link: 0, admin: 0, metrics: 0 },
      appPorts: [appPort],
      accessLog: "all",
      accessLogFile: join(directory, `${account}.log`),
      dns: {
        ...{ host: "127.0.0.1", port: 0 },
        file: join(directory, `${account}.names`),
      },
    }),
  );
}

async function within<T>(what: string, work: Promise<T>): Promise<T | string> {
  const late = Promise.withResolvers<string>();
  const cancel = systemClock.after(5000, () => late.resolve(`${what}: late`));
  return Promise.race([work, late.promise])
    .catch((thrown: unknown) => `${what}: ${String(thrown)}`)
    .finally(cancel);
}

async function overHttp2(port: number): Promise<number> {
  const session = connect(`http://127.0.0.1:${port}`);
  session.on("error", () => undefined);
  try {
    const stream = session.request({
      ":path": "/",
      ":authority": "orders.shop",
    });
    stream.resume();
    const [headers] = (await once(stream, "response")) as [
      { readonly ":status": number },
    ];
    return headers[":status"];
  } finally {
    session.destroy();
  }
}

/** One round: what of it is not as it should be. */
async function round(): Promise<string[]> {
  const { outbound = 0, admin: page = 0, metrics = 0 } = caller.ports;
  const status = async (what: string, ask: Promise<number>): Promise<string> =>
    `${what}: ${String(await within(what, ask))}`;
  const get = (url: string, host = "orders.shop"): Promise<number> =>
    call(url, { headers: { host } }).then((each) => each.status);
  const view = (await within(
    "config",
    call(`http://127.0.0.1:${page}/config`).then(
      ({ text }) =>
        JSON.parse(text) as { readonly dns?: { readonly port: number } },
    ),
  )) as { readonly dns?: { readonly port: number } };
  await within(
    "names",
    askByDatagram(view.dns?.port ?? 0, question("orders.shop", "A")),
  );
  await within(
    "log",
    Promise.resolve().then(() => caller.reopenAccessLog()),
  );
  // A host outside the mesh, whose name is looked up: how that ends is not the point.
  await within(
    "outside",
    get(`http://127.0.0.1:${outbound}/`, `${hostname()}:${appPort}`),
  );
  const all = await Promise.all([
    status("apply", apply()),
    status("HTTP/1", get(`http://127.0.0.1:${outbound}/`)),
    status("HTTP/2", overHttp2(outbound)),
    status("metrics", get(`http://127.0.0.1:${metrics}/metrics`)),
    status("plane", get(`${plane.apiUrl}/metrics`)),
  ]);
  return all.filter((each) => !each.endsWith(": 200"));
}

const callee = await sidecar("orders");
let caller = await sidecar("web");
await within("ready", Promise.all([callee.whenReady, caller.whenReady]));
writeFileSync(join(directory, "serves"), "");
const offers = async (): Promise<() => void> =>
  offerHandOver({
    ...{ directory: join(directory, "web"), sidecar: caller },
    ...{ clock: systemClock, logger },
  });

/** Until nothing new fails for some rounds. */
async function live(): Promise<void> {
  rounds = 0;
  let quiet = 0;
  for (; rounds < MOST_ROUNDS && quiet < QUIET; rounds += 1) {
    bad = await round();
    logger.warn({ rounds, bad }, "a round is over");
    quiet = bad.length === 0 ? quiet + 1 : 0;
    await new Promise((resolve) =>
      systemClock.after(250, () => resolve(undefined)),
    );
  }
}

async function end(what: string, work: Promise<unknown>): Promise<void> {
  const said = await within(what, work);
  if (typeof said === "string") ends.push(said);
}

let rounds = 0;
let bad: string[] = [];
const ends: string[] = [];
const offered = [await offers(), await offers()];
await live();
for (const withdraw of offered) withdraw();
for (let restarts = 0; restarts < RESTARTS; restarts += 1) {
  await end("drain", caller.shutDown());
  // From what it has kept.
  caller = await sidecar("web");
  await within("ready", caller.whenReady);
  await live();
}
await end("drain", caller.shutDown());
await end("drain", callee.shutDown());
await end("close", plane.close());
closeCalls();
application.close();
application.closeAllConnections();
process.stdout.write(
  `${JSON.stringify({ uncaught, starts, rounds, bad, ends })}\n`,
);

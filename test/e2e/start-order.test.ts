/** Whole processes that start in every order: what `/readyz` says meanwhile, what callers see, and that nothing waits for ever. */
import { createServer, type Server } from "node:http";
import { join } from "node:path";
import t, { type Test } from "tap";
import { freePort } from "../../src/demo/free-port.ts";
import { call, eventually, type Called } from "../support/peers/call.ts";
import {
  startSidecarProcess,
  untilReady,
  type SidecarProcess,
} from "../support/processes/sidecar-process.ts";
import { startShop } from "../support/processes/shop-processes.ts";

const WITHIN = 60_000;

const shop = await startShop();
t.teardown(() => shop.close());

/** A Service, and what its sidecar needs to join. */
async function declare(
  account: string,
): Promise<{ readonly port: number; readonly token: string }> {
  const { plane } = shop;
  const { status, text } = await plane.ask(
    "PUT",
    `/apis/mesh.wherry.dev/v1alpha1/namespaces/shop/services/${account}`,
    {
      apiVersion: "mesh.wherry.dev/v1alpha1",
      kind: "Service",
      metadata: { name: account, namespace: "shop" },
      spec: {
        ports: [{ name: "http", port: 80 }],
        selector: { app: account },
      },
    },
  );
  if (status >= 300) throw new Error(text);
  return { port: await freePort(), token: await plane.token(account) };
}

async function start(
  t: Test,
  account: string,
  { port, token }: { readonly port: number; readonly token: string },
): Promise<SidecarProcess> {
  const sidecar = await startSidecarProcess({
    push: shop.plane.push,
    account,
    state: join(shop.directory, account),
    application: port,
    token,
  });
  t.teardown(() => sidecar.process.stop());
  return sidecar;
}

/** The application. */
function serve(t: Test, port: number): Promise<Server> {
  const server = createServer((_request, response) => response.end("hello"));
  t.teardown(() => end(server));
  return new Promise((resolve) =>
    server.listen(port, "127.0.0.1", () => resolve(server)),
  );
}

function end(server: Server): void {
  server.closeAllConnections();
  server.close();
}

/** What a caller from web sees: "503 NO_ENDPOINT", "200". */
function callerOf(account: string): () => Promise<string> {
  return async () =>
    wordsOf(
      await call(`http://127.0.0.1:${shop.sidecar("web").outbound}/`, {
        headers: { host: `${account}.shop` },
      }),
    );
}

function wordsOf({ status, headers }: Called): string {
  const reason = headers["x-wherry-reason"];
  return typeof reason === "string"
    ? `${status} ${reason.split(";")[0] ?? ""}`
    : String(status);
}

/** Asks until it sees `wanted`; a caller sees 503 with a reason meanwhile. */
async function until(
  wanted: string,
  ask: () => Promise<string>,
): Promise<void> {
  await eventually(wanted, WITHIN, ask, (words) => {
    if (words === wanted) return true;
    if (/^\d/.test(words) && !/^503 [A-Z]/.test(words))
      throw new Error(`expected 503 with a reason, then ${wanted}: ${words}`);
    return false;
  });
}

/** What `/readyz` says of the sidecar, and what of it and its application. */
async function readiness({ metrics }: SidecarProcess): Promise<string[]> {
  const pages = ["", "?application"].map((query) =>
    call(`http://127.0.0.1:${metrics}/readyz${query}`),
  );
  return (await Promise.all(pages)).map(
    ({ text }) => text.split("\n")[0] ?? "",
  );
}

const NO_ENDPOINT = "503 NO_ENDPOINT";
const READY = ["ok", "ok"];
const NO_APPLICATION = ["ok", "NOT_READY: application"];

void t.test(
  "sidecar first; then the application dies and comes back",
  async (t) => {
    const declared = await declare("stock");
    const caller = callerOf("stock");
    const sidecar = await start(t, "stock", declared);
    await untilReady("the sidecar", sidecar);
    t.same(await readiness(sidecar), NO_APPLICATION);
    await until(NO_ENDPOINT, caller);
    const application = await serve(t, declared.port);
    await until("200", caller);
    t.same(await readiness(sidecar), READY);

    end(application);
    const found = async (): Promise<string> =>
      (await readiness(sidecar)).join();
    await until(NO_APPLICATION.join(), found);
    await until(NO_ENDPOINT, caller);
    await serve(t, declared.port);
    await until("200", caller);
    t.same(await readiness(sidecar), READY);
  },
);

void t.test("control plane last, application first", async (t) => {
  const declared = await declare("late");
  const caller = callerOf("late");
  await until(NO_ENDPOINT, caller);
  await serve(t, declared.port);
  await shop.killPlane();
  const sidecar = await start(t, "late", declared);
  const missing = "NOT_READY: certificate, config";
  await until([missing, missing].join(), async () =>
    (await readiness(sidecar)).join(),
  );
  const own = await call(`http://127.0.0.1:${sidecar.outbound}/`, {
    headers: { host: "orders.shop" },
  });
  t.equal(wordsOf(own), "503 NO_CONFIG", "calls of the application");
  await until(NO_ENDPOINT, caller);
  // Others call on.
  await until("200", async () => wordsOf(await shop.call()));

  await shop.returnPlane();
  await untilReady("the sidecar", sidecar);
  await until("200", caller);
  t.same(await readiness(sidecar), READY);
});

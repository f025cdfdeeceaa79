/** A web page, a form, a rebound name and another user of the machine reach for the demo's port: no process is killed, no trace is shown, and no application makes trouble. */
import { writeFileSync } from "node:fs";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import t, { type Test } from "tap";
import { systemClock } from "../../../../src/core/clock.ts";
import { startApplication } from "../../../../src/demo/application.ts";
import { startControl } from "../../../../src/demo/control.ts";
import type { ManagedProcess } from "../../../../src/demo/processes.ts";
import { makeTraceStore } from "../../../../src/demo/trace-store.ts";
import { openLocalToken } from "../../../../src/core/local/local-token.ts";
import { runCli } from "../../../support/control-plane/cli.ts";
import { call, closeCalls } from "../../../support/peers/call.ts";

t.teardown(closeCalls);

/** As browsers send them: no page can leave these fields out. */
const PAGES: Readonly<Record<string, Record<string, string>>> = {
  "a form of another site": {
    "content-type": "application/x-www-form-urlencoded",
    origin: "https://evil.example",
    "sec-fetch-site": "cross-site",
  },
  "a page of the shop itself, on another port": {
    origin: "http://127.0.0.1:8080",
    "sec-fetch-site": "same-site",
  },
  "a page whose name was rebound to this machine": {
    host: "rebound.example",
    "sec-fetch-site": "same-origin",
  },
};

async function demo(
  t: Test,
): Promise<{ url: string; state: string; did: string[] }> {
  const state = t.testdir();
  const did: string[] = [];
  const note = (what: string) => (): Promise<void> => {
    did.push(what);
    return Promise.resolve();
  };
  const process = {
    name: "catalog-1/app",
    pid: 1,
    running: true,
    start: () => void did.push("start"),
    stop: note("stop"),
    kill: note("kill"),
  } as unknown as ManagedProcess;
  const control = await startControl({
    clock: systemClock,
    port: 0,
    traces: makeTraceStore({ maxTraces: 10 }),
    processes: new Map([[process.name, process]]),
    forwardTo: undefined,
    token: await openLocalToken(join(state, "demo.token")),
  });
  t.teardown(() => control.close());
  const url = `http://127.0.0.1:${(control.server.address() as AddressInfo).port}`;
  writeFileSync(join(state, "dev.json"), JSON.stringify({ control: url }));
  return { url, state, did };
}

for (const [who, headers] of Object.entries(PAGES))
  void t.test(`${who} starts, stops, kills and sees nothing`, async (t) => {
    const { url, did } = await demo(t);
    for (const action of ["start", "stop", "kill"]) {
      const path = `/processes/${action}/catalog-1`;
      const { status } = await call(url + path, { method: "POST", headers });
      t.equal(status, 403, action);
    }
    for (const page of ["/traces", "/processes", "/traces/newest"])
      t.equal((await call(url + page, { headers })).status, 403, page);
    t.equal(
      (
        await call(`${url}/v1/traces`, {
          method: "POST",
          headers: { ...headers, "content-type": "application/x-protobuf" },
          body: "x",
        })
      ).status,
      403,
      "nor does it bring a trace",
    );
    t.strictSame(did, []);
  });

void t.test("another user kills nothing; the command does", async (t) => {
  const { url, state, did } = await demo(t);
  for (const headers of [{}, { authorization: "Bearer guess" }] as Record<
    string,
    string
  >[]) {
    const path = "/processes/kill/catalog-1";
    const { status } = await call(url + path, { method: "POST", headers });
    t.equal(status, 401);
  }
  t.strictSame(did, []);
  const { code } = await runCli([
    ...["demo", "kill", "catalog-1"],
    ...["--state", state],
  ]);
  t.equal(code, 0);
  t.strictSame(did, ["kill"]);
});

void t.test("no page makes an application fail", async (t) => {
  const application = await startApplication(
    {
      service: "catalog",
      instance: "catalog-1",
      version: "v1",
      port: 0,
      clock: systemClock,
    },
    () => ({ status: 200, body: "ok" }),
    () => () => Promise.reject(new Error("it calls nobody")),
  );
  t.teardown(() => application.close());
  const url = `http://127.0.0.1:${application.port}`;
  const body = '{"failPercent":100}';
  for (const [who, headers] of Object.entries(PAGES))
    t.equal(
      (await call(`${url}/chaos`, { method: "POST", headers, body })).status,
      403,
      who,
    );
  t.equal((await call(`${url}/`)).status, 200);
  await call(`${url}/chaos`, { method: "POST", body });
  t.equal((await call(`${url}/`)).status, 503, "a person may");
});

/** Laws 8 and 12: a certificate's end, the age of the config, and how an instance comes and goes. */
import { createServer } from "node:http";
import t from "tap";
import { silentLogger } from "../../src/core/log.ts";
import { startSidecar } from "../../src/sidecar/sidecar.ts";
import { fakeClock } from "../support/clocks/fake-clock.ts";
import { fakeAuthority } from "../support/certificates/certificate-authority.ts";
import { memoryAgent, send, until, withPair } from "../support/meshes/pair.ts";
import { ask, link } from "../support/laws/harness.ts";

const HOUR = 3_600_000;

/** Of the whole workload: its sidecar and its application. */
async function ready(port: number | undefined): Promise<number> {
  const { status } = await send(port ?? 0, {
    path: "/readyz?application",
    host: "127.0.0.1",
  });
  return status;
}

void t.test(
  "law 8: traffic goes on up to the expiry of the leaf; then no identity is taken any more, not even on an open connection",
  async (t) => {
    // Certificates of the harness last an hour.
    const clock = fakeClock({ wall: Date.now() });
    // Back-off would wait for this clock.
    const mesh = { defaults: { retry: { attempts: 0 } } };
    await withPair({ clock, mesh }, async (pair) => {
      t.equal((await pair.call()).status, 200);
      for (let minute = 0; minute < 59; minute += 1) clock.advance(60_000);
      t.equal((await pair.call()).status, 200, "the 59th minute");
      t.ok(
        (await pair.metric(pair.caller, "wherry_certificate_expiry_seconds")) <=
          60,
      );
      clock.advance(60_000);
      clock.advance(60_000);
      const answer = await pair.call();
      t.match(answer, { status: 503, reason: "TLS_FAILED" });
      t.match(answer.text, /expired/);
      t.ok(
        (await pair.metric(pair.caller, "wherry_certificate_expiry_seconds")) <
          0,
      );
      // New certificates, and the mesh goes on.
      const now = clock.wall();
      const renewed = { notBefore: now - 3 * HOUR, notAfter: now + HOUR };
      pair.callerAgent.credentials.set(
        pair.authority.credentials("web", renewed),
      );
      pair.instances[0]?.agent?.credentials.set(
        pair.authority.credentials("orders", renewed),
      );
      t.equal((await pair.call()).status, 200);
    });
  },
);

void t.test(
  "law 8: the age of the config is told, and grows while nobody renews it",
  async (t) => {
    const clock = fakeClock({ wall: Date.now() });
    await withPair({ clock }, async (pair) => {
      const state = pair.callerAgent.state as unknown as {
        set(value: unknown): void;
      };
      state.set({
        source: "disk",
        connected: false,
        configReceivedAt: clock.wall(),
      });
      clock.advance(90_000);
      t.equal(await pair.metric(pair.caller, "wherry_config_age_seconds"), 90);
      const { text } = await send(pair.caller.ports.admin ?? 0, {
        path: "/config",
        host: "127.0.0.1",
      });
      t.match(JSON.parse(text), {
        ageSeconds: 90,
        source: "disk",
        connected: false,
      });
      t.equal((await pair.call()).status, 200, "and traffic goes on");
    });
  },
);

void t.test(
  "law 12: ready, and registered as such, only after the application was probed",
  async (t) => {
    const app = createServer((_request, response) => response.end("ok"));
    await new Promise<void>((resolve) =>
      app.listen(0, "127.0.0.1", () => resolve()),
    );
    const { port } = app.address() as { port: number };
    await new Promise<void>((resolve) => app.close(() => resolve()));
    const authority = fakeAuthority();
    const { compileSnapshot } =
      await import("../../src/policy/compile/compile.ts");
    const agent = memoryAgent(
      compileSnapshot(
        [],
        {
          name: "orders-1",
          namespace: "shop",
          serviceAccount: "orders",
          labels: {},
          identity: authority.id("orders"),
        },
        { store: "test", revision: 1, digest: "" },
      ),
      authority.credentials("orders"),
    );
    const sidecar = await startSidecar({
      agent: () => Promise.resolve(agent),
      ports: { outbound: 0, metrics: 0 },
      metricsHost: "127.0.0.1",
      appPorts: [port],
      accessLog: "none",
      logger: silentLogger,
    });
    t.teardown(() => sidecar.destroy());
    t.equal(await ready(sidecar.ports.metrics), 503);
    await new Promise((resolve) => setTimeout(resolve, 350));
    t.notOk(agent.calls.includes("ready true"), "three looks in vain");
    t.equal(await ready(sidecar.ports.metrics), 503);
    await new Promise<void>((resolve) =>
      app.listen(port, "127.0.0.1", () => resolve()),
    );
    t.teardown(() => {
      app.close();
      app.closeAllConnections();
    });
    await until(() => sidecar.readiness.workload);
    t.equal(agent.calls.at(-1), "ready true");
    t.equal(await ready(sidecar.ports.metrics), 200);
  },
);

void t.test(
  "law 12: on shutdown requests are served until the deregistration is acknowledged, then comes GOAWAY, then the drain",
  async (t) => {
    let held: (() => void) | undefined;
    await withPair(
      {
        app: () => (request, response) => {
          if (request.url === "/slow") held = () => response.end("slow");
          else response.end("quick");
        },
      },
      async (pair) => {
        const agent = pair.instances[0]?.agent;
        if (agent === undefined) throw new Error("no agent");
        let acknowledge: (() => void) | undefined;
        agent.deregister = () => {
          agent.calls.push("deregister");
          return new Promise((resolve) => (acknowledge = resolve));
        };
        t.equal((await pair.call()).text, "quick");
        const slow = pair.call({ path: "/slow" });
        await until(() => held !== undefined);
        let over = false;
        const shutdown = pair.callee.shutDown().then(() => (over = true));
        t.equal(await ready(pair.callee.ports.metrics), 503, "unready at once");
        await until(() => acknowledge !== undefined);
        t.equal(
          (await pair.call()).text,
          "quick",
          "still served: others do not know yet",
        );
        acknowledge?.();
        // GOAWAY: the pooled connection takes nothing new, and nothing new is accepted.
        let refused = 0;
        while (refused === 0)
          if ((await pair.call()).status === 503) refused += 1;
        t.notOk(over, "the request under way is waited for");
        held?.();
        t.equal((await slow).text, "slow", "and answered");
        await shutdown;
        t.same(
          agent.calls.filter((call) => !call.startsWith("ready")),
          ["deregister", "close"],
        );
      },
    );
  },
);

void t.test(
  "law 12: a request that meets the shutdown on its way is answered, or provably unprocessed",
  async (t) => {
    for (const moment of ["with the GOAWAY", "before", "on a new connection"]) {
      await withPair({}, async (pair) => {
        const connection = await link(pair, "web");
        t.equal(await ask(connection), 200);
        const arriving =
          moment === "on a new connection" ? link(pair, "web") : undefined;
        const early =
          moment === "before" ? ask(connection, { method: "POST" }) : undefined;
        const over = pair.callee.shutDown();
        const outcome =
          early ??
          (arriving === undefined
            ? ask(connection, { method: "POST" })
            : arriving.then(
                (made) => ask(made, { method: "POST" }),
                (error: unknown) => error as { unprocessed: boolean },
              ));
        const got = await outcome;
        t.ok(
          typeof got === "number" ? got === 200 : got.unprocessed,
          `${moment}: ${typeof got === "number" ? got : JSON.stringify(got)}`,
        );
        await over;
      });
    }
  },
);

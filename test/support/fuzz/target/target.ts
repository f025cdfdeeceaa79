/**
 * The process under test: the sidecars of a caller and of a callee, whose applications are the parent's. It says how much CPU its
 * thread has used when it is asked, and when its event loop was held for longer than any input may hold it.
 */
import { systemClock } from "../../../../src/core/clock.ts";
import { loadCredentials } from "../../../../src/identity/credentials.ts";
import { compileSnapshot } from "../../../../src/policy/compile/compile.ts";
import { startSidecar } from "../../../../src/sidecar/sidecar.ts";
import { fakeAuthority } from "../../certificates/certificate-authority.ts";
import { memoryAgent } from "../../meshes/pair.ts";
import { resourcesOf } from "../policy.ts";
import type { Answer, Question, TargetOptions } from "./target-process.ts";

/** Milliseconds between two looks at the event loop. */
const BEAT = 5;
/** Milliseconds of CPU in one turn that are worth a second look. */
const HELD = 50;

const options = JSON.parse(process.argv[2] ?? "") as TargetOptions;
const { http } = options.appPorts;
const authority = fakeAuthority();
const here = "127.0.0.1";
const base = {
  clock: systemClock,
  host: here,
  metricsHost: here,
  accessLog: "none" as const,
  // Every case is somebody else's, so that a limit of one source does not end the run of all.
  limits: { connections: 16_384 },
};

const calleeAgent = memoryAgent(undefined, authority.credentials("orders"));
const callee = await startSidecar({
  ...base,
  agent: () => Promise.resolve(calleeAgent),
  ports: { inbound: 0, link: 0, admin: 0, metrics: 0 },
  appPorts: Object.values(options.appPorts),
  publish: [{ port: 0, appPort: http }],
});
const callerAgent = memoryAgent(undefined, authority.credentials("web"));
const caller = await startSidecar({
  ...base,
  agent: () => Promise.resolve(callerAgent),
  ports: { outbound: 0, admin: 0, metrics: 0 },
  appPorts: [],
});

const resources = resourcesOf(
  options.appPorts,
  callee.ports.link ?? 0,
  options.appProtocol,
);
for (const [agent, app, ports] of [
  [calleeAgent, "orders", { ...options.appPorts }],
  [callerAgent, "web", {}],
] as const)
  agent.snapshot.set(
    compileSnapshot(
      resources,
      {
        name: `${app}-1`,
        namespace: "shop",
        serviceAccount: app,
        labels: { app },
        identity: authority.id(app),
        ports,
      },
      { store: "fuzz", revision: 1, digest: "" },
      { previous: undefined },
    ),
  );
await callee.whenReady;

const pems = authority.issue({ id: authority.id("web") });
// Read once as the product reads them, so that a driver with a bad certificate is not taken for a bug.
loadCredentials(pems, Date.now());
answer({
  kind: "ready",
  ports: {
    outbound: caller.ports.outbound ?? 0,
    captured: callee.ports.inbound ?? 0,
    published: callee.ports.published.get(http) ?? 0,
    link: callee.ports.link ?? 0,
  },
  pems,
});

let beat = performance.now();
let used = process.threadCpuUsage();
setInterval(() => {
  const now = performance.now();
  const cpu = process.threadCpuUsage();
  const spent = (cpu.user + cpu.system - used.user - used.system) / 1000;
  // A neighbour's load makes the gap long; only CPU of this very thread in it is the input's doing.
  if (now - beat - BEAT > HELD && spent > HELD) {
    answer({ kind: "stall", milliseconds: spent });
  }
  beat = now;
  used = cpu;
}, BEAT);

process.on("message", (question: Question) => {
  switch (question.kind) {
    case "cpu": {
      const { user, system } = process.threadCpuUsage();
      const { idle } = performance.eventLoopUtilization();
      const { id } = question;
      answer({ kind: "cpu", id, microseconds: user + system, idle });
      return;
    }
    case "end":
      process.disconnect?.();
      void Promise.all([caller.destroy(), callee.destroy()]).then(() =>
        process.kill(process.pid, "SIGKILL"),
      );
  }
});

function answer(what: Answer): void {
  process.send?.(what);
}

// What the guide shows of what sidecars hold is what `wherry status` prints of such sidecars.
import t from "tap";
import type { Agent } from "../../src/agent/agent.ts";
import { formatInterest } from "../../src/push/interest.ts";
import { runCli, withControlPlane } from "../support/control-plane/cli.ts";
import {
  serving,
  startTestAgent,
  until,
} from "../support/control-plane/push-control-plane.ts";
import {
  isShown,
  shownCommands,
} from "../support/repository/shown-commands.ts";

const SERVICES = ["web", "batch", "orders", "payments", "stock"]
  .map(
    (name) => `
apiVersion: mesh.wherry.dev/v1alpha1
kind: Service
metadata: { name: ${name}, namespace: shop }
spec: { ports: [{ port: 80, targetPort: 8080 }], selector: { app: ${name} } }
`,
  )
  .join("---");

/** A line without what differs from run to run: the store, its revision, times. */
function masked(line: string): string {
  return line
    .trimEnd()
    .replace(/^store [0-9a-f-]{36} \(\w+\) at revision \d+/, "store ID")
    .replace(/(ready +)\d+/, "$1N")
    .replaceAll(/\b\d+(?:ms|s|m|h)(?:\d+m)?\b/g, "TIME")
    .replaceAll(/ {2,}/g, " ");
}

/** What a first call to the Service does. */
async function call({ lookups }: Agent, name: string): Promise<void> {
  const host = formatInterest({ kind: "host", host: `${name}.shop` });
  await new Promise<void>((resolve, reject) => {
    lookups?.look({ service: undefined, questions: [host] }, (failure) =>
      failure === undefined ? resolve() : reject(new Error(failure.detail)),
    );
  });
  t.ok(lookups?.use(`shop/${name}`));
}

void t.test("what sidecars hold", async (t) => {
  const { cli, controlPlane, options } = await withControlPlane(t);
  await runCli(["apply", "-f", "-", ...options], { input: SERVICES });
  let port = 20_000;
  const start = async (name: string, scope: "used" | "all"): Promise<Agent> => {
    const account = name.replace(/-\d+$/, "");
    const { out: token } = await cli(
      ...["token", "create", "-n", "shop", "--service-account", account],
      ...["--label", `app=${account}`, "--allow-address", "10.0.0.0/24"],
    );
    port += 1;
    const agent = await startTestAgent(t, {
      controlPlane: controlPlane.pushAddress,
      token: token.trim(),
      name,
      interest: scope === "all" ? undefined : { services: [], hosts: [] },
      workload: () => ({ address: "10.0.0.1", ports: { http: port } }),
    });
    await serving(agent);
    await agent.setReady(true);
    return agent;
  };
  const first = await start("web-1", "used");
  await call(first, "orders");
  await call(first, "payments");
  await until(async () => /2 services/.test((await cli("status")).out));
  await start("web-2", "used");
  await start("batch-1", "all");
  const [shown] = shownCommands("config/guide/operations.md").filter(
    ({ text, output }) =>
      text === "wherry status" && /HOLDS/.test(output.join()),
  );
  if (shown === undefined) throw new Error("the guide does not show it");
  let printed = "";
  await until(async () => {
    printed = (await cli("status")).out;
    return isShown(shown, printed, masked);
  }).catch(() => t.fail(printed));
});

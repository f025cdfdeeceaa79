/** Law 18: a call that the config in force does not answer is asked about, or refused. The configs are those that a full or damaged disk leaves. */
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import t, { type Test } from "tap";
import {
  startUsing,
  type UsingSidecar,
} from "../support/control-plane/asking-sidecar.ts";
import {
  temporaryDirectory,
  until,
} from "../support/control-plane/push-control-plane.ts";
import { fill, smallDisk } from "../support/faults/full-disk.ts";
import { resource } from "../support/meshes/pair.ts";
import { mesh, startUsed, type UsedMesh } from "../support/meshes/used-mesh.ts";

const DENY = resource("AuthorizationPolicy", "nobody", {
  action: "DENY",
  rules: [{}],
});

const NOBODY = {
  address: "127.0.0.1:1",
  token: () => Promise.resolve(""),
};

/** A sidecar that called `orders` after its first config was kept; `kept` tells of each state of the file. */
async function used(
  t: Test,
  stateDirectory: string,
): Promise<UsedMesh & { readonly kept: () => Promise<Buffer> }> {
  const file = join(stateDirectory, "snapshot.jsonl");
  const started = await startUsed(t, ["orders"], [mesh()], {
    agent: { stateDirectory },
  });
  return { ...started, kept: () => readFile(file) };
}

/** The next process, whose control plane is away. */
function restarted(t: Test, stateDirectory: string): Promise<UsingSidecar> {
  return startUsing(t, NOBODY, { agent: { stateDirectory }, serves: false });
}

async function refuses(t: Test, { call, log }: UsingSidecar): Promise<void> {
  const headers = { authorization: "Bearer secret" };
  const answer = await call("orders.shop", { headers });
  t.match(answer, { status: 503, reason: "NO_CONFIG" });
  await until(() => log.length > 0);
  t.not(log[0]?.destination, "outside");
}

void t.test(
  "a config from before a call knows nothing of what was called",
  async (t) => {
    const stateDirectory = await temporaryDirectory(t);
    const { sidecar, kept } = await used(t, stateDirectory);
    await sidecar.agent.keep?.();
    const before = await kept();
    t.equal((await sidecar.call("orders.shop")).status, 200);
    await sidecar.sidecar.destroy();
    t.ok((await kept()).length > before.length);
    await writeFile(join(stateDirectory, "snapshot.jsonl"), before);
    const next = await restarted(t, stateDirectory);
    t.equal(next.agent.state.value.source, "disk");
    await refuses(t, next);
  },
);

void t.test("a full disk keeps what it held, whole", async (t) => {
  const disk = smallDisk(64 * 1024);
  if (disk === undefined) {
    t.pass("root alone may mount one");
    return;
  }
  t.after(() => disk.unmount());
  const stateDirectory = disk.directory;
  const { sidecar, change } = await used(t, stateDirectory);
  await sidecar.agent.keep?.();
  // More than is left of the last page.
  await change(
    resource(
      "Service",
      "orders",
      {
        ports: [{ name: "http", port: 80, appProtocol: "http" }],
        selector: { app: "orders" },
      },
      { annotations: { long: "x".repeat(8000) } },
    ),
  );
  fill(stateDirectory);
  t.match(await sidecar.call("orders.shop"), { text: "orders /" });
  await until(() => /ENOSPC/.test(sidecar.agent.state.value.lastError ?? ""));
  await sidecar.sidecar.destroy();
  const next = await restarted(t, stateDirectory);
  t.equal(next.agent.state.value.source, "disk", "what was whole is served");
  await refuses(t, next);
});

for (const [harm, damaged] of [
  [
    "a flipped bit in the batch of a DENY",
    (whole: Buffer, from: number) => {
      const text = Buffer.from(whole);
      text[from + 20] = (text[from + 20] ?? 0) ^ 1;
      return text;
    },
  ],
  [
    "a cut in the batch of a DENY",
    (whole: Buffer, from: number) => whole.subarray(0, from + 20),
  ],
] as const)
  void t.test(`${harm} does not bring back the config before`, async (t) => {
    const stateDirectory = await temporaryDirectory(t);
    const { plane, sidecar, kept, change } = await used(t, stateDirectory);
    t.equal((await sidecar.call("orders.shop")).status, 200);
    await sidecar.agent.keep?.();
    const { length } = await kept();
    const before = sidecar.agent.snapshot.value;
    await change(DENY);
    await until(() => sidecar.agent.snapshot.value !== before);
    await sidecar.sidecar.destroy();
    const file = join(stateDirectory, "snapshot.jsonl");
    await writeFile(file, damaged(await kept(), length));
    const alone = await restarted(t, stateDirectory);
    t.match(alone.agent.state.value, {
      source: "none",
      lastError: /snapshot\.jsonl is not used: .* policy/,
    });
    await refuses(t, alone);
    await alone.sidecar.destroy();
    const asked = await startUsing(t, plane, { agent: { stateDirectory } });
    t.equal((await asked.call("orders.shop")).status, 200);
    await asked.sidecar.destroy();
    const whole = await restarted(t, stateDirectory);
    t.equal(whole.agent.state.value.source, "disk", "it is whole again");
    t.equal((await whole.call("orders.shop")).status, 200);
  });

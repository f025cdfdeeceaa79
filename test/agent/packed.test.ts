// Packed pushes as a sidecar takes them: what is whole is put in force, and what is not leaves the config in force as it is.
import t from "tap";
import type { Agent } from "../../src/agent/agent.ts";
import {
  assembleResponse,
  encodeClosing,
  encodePacked,
} from "../../src/push/codec.ts";
import type { Revision } from "../../src/push/messages.ts";
import {
  digestSum,
  digestTerm,
  formatDigest,
  resourceName,
} from "../../src/push/names.ts";
import { keyOf, type Resource } from "../../src/resources/envelope.ts";
import {
  eventually,
  MESH,
  service,
  serving,
  startTestAgent,
  until,
  type Scope,
} from "../support/control-plane/push-control-plane.ts";
import {
  startScriptedPlane,
  type ScriptedPlane,
} from "../support/control-plane/scripted-plane.ts";

/** Of the scripted control plane. */
const STORE = "11111111-1111-4111-8111-111111111111";

async function start(
  t: Scope,
  silent = false,
): Promise<{ plane: ScriptedPlane; agent: Agent }> {
  const plane = await startScriptedPlane(t, [MESH, service("orders")]);
  plane.silent = silent;
  const agent = await startTestAgent(t, {
    controlPlane: plane.address,
    token: await plane.token(),
    name: "web-1",
  });
  if (silent) await until(() => plane.said.length > 0);
  else await serving(agent);
  return { plane, agent };
}

function versioned(resource: Resource, version: string): Resource {
  return {
    ...resource,
    metadata: { ...resource.metadata, resourceVersion: version },
  };
}

/** What the agent has with these besides. */
function digestWith(agent: Agent, resources: readonly Resource[]): string {
  let sum = BigInt(`0x${agent.state.value.version?.digest ?? "0"}`);
  for (const { metadata, ...resource } of resources)
    sum = digestSum(
      sum,
      digestTerm(
        resourceName(keyOf({ metadata, ...resource })),
        metadata.resourceVersion ?? "",
      ),
    );
  return formatDigest(sum);
}

function packedPush(
  resources: readonly Resource[],
  closing: Partial<Revision>,
): Buffer {
  return assembleResponse({ nonce: "900" }, [
    ...resources.map((resource) =>
      encodePacked(Buffer.from(JSON.stringify(resource))),
    ),
    encodeClosing({
      store: "",
      revision: 1000,
      digest: "00".repeat(32),
      accepted: false,
      selective: false,
      ...closing,
    }),
  ]);
}

function has(agent: Agent, name: string): boolean {
  return agent.snapshot.value?.destination(name, 80) !== undefined;
}

void t.test(
  "one packed message brings a resource and closes the push, in the store of the push before",
  async (t) => {
    const { plane, agent } = await start(t);
    const added = [versioned(service("ledger"), "1000")];
    plane.say(packedPush(added, { digest: digestWith(agent, added) }));
    await eventually(agent.snapshot, () => has(agent, "ledger"));
    t.ok(has(agent, "orders"));
    const { version } = await eventually(
      agent.state,
      ({ version }) => version?.revision === 1000,
    );
    t.equal(version?.store, STORE);
    t.strictSame(plane.refusals, []);
  },
);

void t.test(
  "a packed push is refused with the reason, and the next one is taken",
  async (t) => {
    const { plane, agent } = await start(t);
    const before = agent.state.value.version?.digest;
    const bad = [versioned(service("ledger", { exportTo: [] }), "1000")];
    for (const [resources, digest, why] of [
      [[], "ee".repeat(32), /the push was incomplete/],
      [bad, digestWith(agent, bad), /Service\/shop\/ledger: spec\.exportTo/],
    ] as const) {
      const told = plane.refusals.length;
      plane.say(packedPush(resources, { digest }));
      await until(() => plane.refusals.length > told);
      t.match(plane.refusals.at(-1), why);
      t.match(agent.state.value.refused, { reason: why });
      t.ok(has(agent, "orders"), "the config in force serves");
      t.notOk(has(agent, "ledger"));
      t.equal(agent.state.value.version?.digest, before);
    }
    const good = [versioned(service("ledger"), "1001")];
    plane.say(
      packedPush(good, { digest: digestWith(agent, good), revision: 1001 }),
    );
    await eventually(agent.snapshot, () => has(agent, "ledger"));
    await eventually(agent.state, ({ refused }) => refused === undefined);
  },
);

void t.test("a Revision without a store is refused", async (t) => {
  const { plane, agent } = await start(t, true);
  plane.say(packedPush([], {}));
  await until(() => plane.refusals.length > 0);
  t.strictSame(plane.refusals, ["the Revision has no store, number or digest"]);
  t.equal(agent.snapshot.value, undefined);
});

const BOMB = versioned(service("bomb"), "1000");

function filled(length: number): Buffer {
  const json = JSON.stringify({ ...BOMB, spec: "x".repeat(length) });
  return encodePacked(Buffer.from(json));
}

void t.test(
  "what cannot be unpacked within its bounds ends the stream, and the config in force serves",
  async (t) => {
    const cases: readonly [fields: readonly Buffer[], why: RegExp][] = [
      [[filled(4 * 1024 * 1024)], /packed resource becomes more than 16384/],
      [
        Array.from({ length: 300 }, () => filled(16_000)),
        /packed resources of a message become more than 4194304/,
      ],
      [[encodePacked(Buffer.from("no JSON"))], /not valid JSON/],
      [[filled(0).subarray(0, -4)], /index out of range/],
    ];
    // At once: each comes back after a second.
    await Promise.all(
      cases.map(async ([fields, why]) => {
        const { plane, agent } = await start(t);
        plane.say(assembleResponse({ nonce: "900" }, fields));
        const { refused } = await eventually(
          agent.state,
          ({ refused }) => refused !== undefined,
        );
        t.match(refused?.reason, /^the control plane sent what cannot be read/);
        t.match(refused?.reason, why);
        t.ok(has(agent, "orders"), "the config in force serves");
        plane.change(service("ledger"));
        await eventually(agent.snapshot, () => has(agent, "ledger"));
      }),
    );
  },
);

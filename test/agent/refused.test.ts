// What a sidecar refuses of a whole control plane ends the wait of the calls that asked for it.
import t from "tap";
import {
  callable,
  startApplication,
  startUsing,
} from "../support/control-plane/asking-sidecar.ts";
import { resource } from "../support/meshes/pair.ts";
import {
  startTestControlPlane,
  until,
} from "../support/control-plane/push-control-plane.ts";

void t.test(
  "a call that waits for a config which is refused gets the reason, and others go on",
  async (t) => {
    const plane = await startTestControlPlane(t, {
      gather: { quiet: 10, most: 100 },
    });
    const [huge, ...instances] = callable("huge", 1);
    if (huge === undefined) throw new Error("no Service");
    for (const each of [
      resource("Mesh", "default", {
        authorization: { defaultAction: "ALLOW" },
        mtls: { mode: "PERMISSIVE" },
      }),
      ...callable("small", await startApplication(t, "small")),
      {
        ...huge,
        metadata: {
          ...huge.metadata,
          annotations: { text: "x".repeat(20_000) },
        },
      },
      ...instances,
    ])
      await plane.store.put(each, "absent");
    const { call, agent } = await startUsing(t, plane, {
      agent: { maxConfigBytes: 10_000 },
    });
    t.match(await call("huge"), {
      status: 503,
      reason: "NO_CONFIG",
      text: /refused: the config has \d+ bytes or more, and this sidecar takes 10000/,
    });
    await until(() => plane.push.statistics().refused > 0);
    await until(async () => (await call("small")).text === "small /");
    t.equal(agent.state.value.refused, undefined, "what is asked for fits");
  },
);

// A control plane that does not wait for acknowledgements is left before it is read, and called again later.
import t from "tap";
import { MOST_UNASKED } from "../../src/agent/stream.ts";
import { assembleResponse } from "../../src/push/codec.ts";
import {
  eventually,
  MESH,
  service,
  serving,
  startTestAgent,
} from "../support/control-plane/push-control-plane.ts";
import { startScriptedPlane } from "../support/control-plane/scripted-plane.ts";

void t.test(
  "more messages than may wait end the stream, and the config in force serves until the next one",
  async (t) => {
    const plane = await startScriptedPlane(t, [MESH, service("orders")]);
    const agent = await startTestAgent(t, {
      controlPlane: plane.address,
      token: await plane.token(),
      name: "web-1",
    });
    await serving(agent);
    const has = (name: string): boolean =>
      agent.snapshot.value?.destination(name, 80) !== undefined;
    const say = (count: number): void => {
      for (let said = 0; said < count; said += 1)
        plane.say(assembleResponse({ nonce: String(900 + said) }, []));
    };
    // As many as may come unasked are read.
    say(1 + MOST_UNASKED);
    plane.change(service("ledger"));
    await eventually(agent.snapshot, () => has("ledger"));
    t.equal(agent.state.value.refused, undefined);
    say(64);
    const { refused } = await eventually(
      agent.state,
      ({ refused }) => refused !== undefined,
    );
    t.match(refused?.reason, /does not wait for acknowledgements/);
    t.ok(has("orders"), "the config in force serves");
    plane.change(service("basket"));
    await eventually(agent.snapshot, () => has("basket"));
    await eventually(agent.state, ({ refused }) => refused === undefined);
  },
);

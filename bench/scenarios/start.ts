/** A start with nobody to ask: from the last good config on disk, with the control plane down, until traffic is taken. */
import { wait } from "../../src/core/clock.ts";
import { UserError } from "../../src/core/errors.ts";
import { lastKnownGood } from "../peers/wherry-mesh.ts";
import { launch, untilReady } from "../processes.ts";
import { PLAIN, type Scenario } from "../scenario.ts";

/** Milliseconds after which memory is read. */
const SETTLE = 5000;

export const coldStart: Scenario = {
  name: "start",
  families: ["life"],
  title:
    "inbound proxy from the start of its process until its readiness answers 200; Wherry as a mesh's sidecar from its last good config, with the control plane down, Envoy from a file",
  setup: PLAIN,
  contenders: [{ peer: "Wherry" }, { peer: "Envoy" }],
  reference: "Envoy",
  columns: ["ready", "rssReady"],
  goals: [{ figure: "ready", of: "value", atMost: 400 }],
  async run(stage) {
    const { peer, clock } = stage;
    if (peer.readiness === undefined)
      throw new UserError("there is no page for its readiness");
    const command =
      peer.name === "Wherry"
        ? await lastKnownGood(stage.settings, clock)
        : peer.inbound;
    const from = clock.now();
    const running = await launch(command, clock);
    try {
      await untilReady(running, peer.readiness, clock);
      const ready = clock.now() - from;
      await wait(clock, SETTLE, new AbortController().signal);
      return { ready, rssReady: running.rss() };
    } finally {
      await running.stop();
    }
  },
};

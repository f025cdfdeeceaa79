/** Trouble on request: each application of the demo can be told to fail or to be slow, and counts what it has seen. */
import type { Clock } from "../core/clock.ts";
import type { Answer } from "./call.ts";

export interface Chaos {
  /** Takes `{ failPercent?: 0–100, delayMs?: 0–60000 }`; what is left out goes back to 0. */
  set(body: unknown): Answer;
  state(): unknown;
  /** Waits as told, counts the request, and says whether it is to fail. */
  strikes(method: string): Promise<boolean>;
}

export function makeChaos(clock: Clock): Chaos {
  let failPercent = 0;
  let delayMs = 0;
  const seen: Record<string, number> = {};
  const state = (): unknown => ({ failPercent, delayMs, seen });
  return {
    state,
    set(body) {
      const wanted = (
        typeof body === "object" && body !== null ? body : {}
      ) as Record<string, unknown>;
      const fail = wanted["failPercent"] ?? 0;
      const delay = wanted["delayMs"] ?? 0;
      if (typeof fail !== "number" || fail < 0 || fail > 100)
        return {
          status: 400,
          body: {
            error: "invalid failPercent: expected a number from 0 to 100",
          },
        };
      if (typeof delay !== "number" || delay < 0 || delay > 60_000)
        return {
          status: 400,
          body: { error: "invalid delayMs: expected a number from 0 to 60000" },
        };
      failPercent = fail;
      delayMs = delay;
      return { status: 200, body: state() };
    },
    async strikes(method) {
      seen[method] = (seen[method] ?? 0) + 1;
      if (delayMs > 0)
        await new Promise<void>((resolve) => clock.after(delayMs, resolve));
      return clock.random() * 100 < failPercent;
    },
  };
}

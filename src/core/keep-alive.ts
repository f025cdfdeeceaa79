/** Keeps the process alive while something waits: the clock's timers do not. */
import { MessageChannel } from "node:worker_threads";
import type { Cancel } from "./clock.ts";

export function keepAlive(): Cancel {
  const { port1 } = new MessageChannel();
  port1.on("message", () => undefined);
  return () => port1.close();
}

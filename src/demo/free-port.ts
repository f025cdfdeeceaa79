/** A port on which a process that is to be started can listen. */
import { randomInt } from "node:crypto";
import { createServer } from "node:net";

/**
 * Linux hands out ports from 32768 on to connections: one of those may be gone before its process listens. WHERRY_FREE_PORTS names other
 * ones, "20000-22500": a port is free until its process listens, so several demos that start at once need ranges of their own.
 */
const [FROM, TO] = rangeOf(process.env["WHERRY_FREE_PORTS"] ?? "20000-32767");
const MOST_TRIES = 1000;

/** Rejects where the address cannot be listened on. */
export async function freePort(host: string = "127.0.0.1"): Promise<number> {
  for (let tries = 0; tries < MOST_TRIES; tries += 1) {
    const port = randomInt(FROM, TO + 1);
    if (await isFree(port, host)) return port;
  }
  throw new Error(`no free port on ${host} from ${FROM} to ${TO}`);
}

export function isFree(
  port: number,
  host: string = "127.0.0.1",
): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(false));
    server.listen(port, host, () => server.close(() => resolve(true)));
  });
}

function rangeOf(text: string): readonly [from: number, to: number] {
  const [from = 0, to = 0] = text.split("-").map(Number);
  if (!/^\d+-\d+$/.test(text) || from < 1 || to > 65_535 || from > to)
    throw new Error(
      `invalid WHERRY_FREE_PORTS: expected two ports such as 20000-22500, got ${text}`,
    );
  return [from, to];
}

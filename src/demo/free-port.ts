/** A port on which a process that is to be started can listen. */
import { randomInt } from "node:crypto";
import { createServer } from "node:net";

/** Linux hands out ports from 32768 on to connections: one of those may be gone before its process listens. */
const FROM = 20_000;
const TO = 32_768;
const MOST_TRIES = 1000;

/** Rejects where the address cannot be listened on. */
export async function freePort(host: string = "127.0.0.1"): Promise<number> {
  for (let tries = 0; tries < MOST_TRIES; tries += 1) {
    const port = randomInt(FROM, TO);
    if (await isFree(port, host)) return port;
  }
  throw new Error(`no free port on ${host} from ${FROM} to ${TO - 1}`);
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

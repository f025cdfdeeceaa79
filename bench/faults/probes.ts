/** What the measurement asks of the processes that are under it. */
import { request } from "undici";

/** The response does not matter. */
export async function ordered(
  url: string,
  method: "GET" | "POST",
  text?: string,
): Promise<void> {
  const { body } = await request(url, { method, body: text ?? null });
  await body.dump();
}

export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

export async function isReady(url: string): Promise<boolean> {
  try {
    const { statusCode, body } = await request(url, {
      signal: AbortSignal.timeout(2000),
    });
    await body.dump();
    return statusCode === 200;
  } catch {
    return false;
  }
}

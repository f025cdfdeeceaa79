/** Small HTTP calls that the demo makes to its own parts. */
import { request } from "undici";
import { wait, type Clock } from "../core/clock.ts";
import { messageOf, UserError } from "../core/errors.ts";

/** The response's status and text; status 0 with the failure where there is none. */
export async function fetchText(
  url: string,
  signal: AbortSignal,
  options: {
    readonly method?: "GET" | "POST" | "PUT";
    readonly body?: unknown;
    readonly token?: string;
  } = {},
): Promise<{ status: number; text: string }> {
  const headers: Record<string, string> = {};
  if (options.token !== undefined)
    headers["authorization"] = `Bearer ${options.token}`;
  if (options.body !== undefined) headers["content-type"] = "application/json";
  try {
    const answer = await request(url, {
      method: options.method ?? "GET",
      headers,
      body: options.body === undefined ? null : JSON.stringify(options.body),
      signal,
      headersTimeout: 10_000,
      bodyTimeout: 10_000,
    });
    return { status: answer.statusCode, text: await answer.body.text() };
  } catch (error) {
    signal.throwIfAborted();
    return { status: 0, text: messageOf(error) };
  }
}

/** Asks again and again until the response is 200. */
export async function untilReady(
  what: string,
  url: string,
  clock: Clock,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<void> {
  const until = clock.now() + timeoutMs;
  for (;;) {
    const { status, text } = await fetchText(url, signal);
    if (status === 200) return;
    if (clock.now() > until)
      throw new UserError(
        `${what} is not ready after ${timeoutMs / 1000} s: ${url} says ${status === 0 ? text : `${status} ${text.slice(0, 200)}`}`,
      );
    await wait(clock, 50, signal);
  }
}

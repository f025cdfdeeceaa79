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

/** Milliseconds: until the shop responds at all, and until its page is whole once every instance is ready. */
const RESPONDS_WITHIN = 60_000;
const WHOLE_WITHIN = 10_000;

/** Why the shop's page is not whole. */
export interface Obstacle {
  readonly status: number;
  readonly text: string;
  /** Code of the mesh's reason, and "NAMESPACE/NAME" of the policy; undefined where the page names none. */
  readonly reason: string | undefined;
  readonly policy: string | undefined;
}

/** Resolves once the page is there: undefined, or what keeps it from being whole, such as a policy of an earlier run. Rejects with UserError where nothing responds. */
export async function firstPage(
  url: string,
  clock: Clock,
  signal: AbortSignal,
): Promise<Obstacle | undefined> {
  const start = clock.now();
  for (;;) {
    const { status, text } = await fetchText(url, signal);
    if (status === 200) return undefined;
    const passed = clock.now() - start;
    if (status === 0) {
      if (passed > RESPONDS_WITHIN)
        throw new UserError(
          `the shop does not respond after ${RESPONDS_WITHIN / 1000} s: ${url} says ${text}`,
        );
    } else {
      const [, reason, policy] =
        /"reason": "([A-Z_]+); policy=([^"]+)"/.exec(text) ?? [];
      // A policy does not go away by waiting.
      if (policy !== undefined || passed > WHOLE_WITHIN)
        return { status, text, reason, policy };
    }
    await wait(clock, 50, signal);
  }
}

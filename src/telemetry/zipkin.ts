/** Spans for Zipkin: JSON of its API, version 2, written as spans end and posted by undici. OpenTelemetry's own exporter ends in 2026 (decision 073). */
import { isIPv4, isIPv6 } from "node:net";
import { exponential } from "../core/backoff.ts";
import type { Cancel, Clock } from "../core/clock.ts";
import { request } from "../runtime/undici.ts";
import {
  SEND_WITHIN,
  type SpanBatch,
  type SpanTransport,
  type TransportOptions,
} from "./span-transport.ts";
import type { SpanRecord } from "./tracing.ts";

/** Posts of one batch, and what is waited between them. */
const ATTEMPTS = 3;
const BACKOFF = { base: 500, max: 2000 };
/** Statuses after which the same message may be taken. */
const AGAIN: ReadonlySet<number> = new Set([408, 429, 502, 503, 504]);

export function zipkinTransport({
  endpoint,
  resource,
  clock,
}: TransportOptions): SpanTransport {
  const local = JSON.stringify({
    serviceName: String(resource["service.name"] ?? "unknown"),
  });
  const posts = new Set<Promise<void>>();
  const life: Life = {
    clock,
    closing: new AbortController(),
    ending: new AbortController(),
  };
  return {
    makeBatch: () => new ZipkinBatch(local),
    send(batch, done) {
      // The message is given away whole: nothing of the batch is read again.
      const end = (error?: Error): void => {
        posts.delete(post);
        done(error);
      };
      const post = deliver(endpoint, batch.message(), life).then(
        () => end(),
        (error: unknown) =>
          end(error instanceof Error ? error : new Error(String(error))),
      );
      posts.add(post);
    },
    async shutdown() {
      life.closing.abort();
      await Promise.all(posts);
    },
    abort: () => life.ending.abort(),
  };
}

interface Life {
  readonly clock: Clock;
  /** What is left is posted without a pause. */
  readonly closing: AbortController;
  /** Nothing is waited for any more. */
  readonly ending: AbortController;
}

async function deliver(
  url: string,
  body: Uint8Array,
  { clock, closing, ending: { signal: ending } }: Life,
): Promise<void> {
  for (let attempt = 1; ; attempt += 1) {
    const failure = await post(url, body, ending);
    if (failure === undefined) return;
    if (!failure.again || attempt === ATTEMPTS || ending.aborted)
      throw failure.error;
    await pause(clock, exponential(BACKOFF, attempt), closing.signal);
  }
}

interface Failure {
  readonly error: Error;
  /** The next attempt may succeed. */
  readonly again: boolean;
}

async function post(
  url: string,
  body: Uint8Array,
  signal: AbortSignal,
): Promise<Failure | undefined> {
  try {
    const response = await request(url, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body,
      signal,
      headersTimeout: SEND_WITHIN,
      bodyTimeout: SEND_WITHIN,
    });
    // What it says besides is not waited for a second time.
    await response.body.dump().catch(() => undefined);
    const { statusCode } = response;
    if (statusCode < 300) return undefined;
    return {
      error: new Error(`Zipkin responds with ${statusCode}`),
      again: AGAIN.has(statusCode),
    };
  } catch (thrown) {
    return {
      error: thrown instanceof Error ? thrown : new Error(String(thrown)),
      again: true,
    };
  }
}

/** Ends at once where the exporter is closed. */
function pause(clock: Clock, ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    let cancel: Cancel | undefined = undefined;
    const ended = (): void => {
      cancel?.();
      signal.removeEventListener("abort", ended);
      resolve();
    };
    signal.addEventListener("abort", ended);
    cancel = clock.after(ms, ended);
    if (signal.aborted) ended();
  });
}

/** Spans as they end, each as the text of an element of the list. */
class ZipkinBatch implements SpanBatch {
  readonly #local: string;
  #texts: string[] = [];
  #octets = 0;

  constructor(local: string) {
    this.#local = local;
  }

  get spans(): number {
    return this.#texts.length;
  }

  get octets(): number {
    return this.#octets;
  }

  add(span: SpanRecord): void {
    const text = `${JSON.stringify(zipkinSpan(span)).slice(0, -1)},"localEndpoint":${this.#local}}`;
    this.#texts.push(text);
    this.#octets += text.length + 1;
  }

  message(): Uint8Array {
    return Buffer.from(`[${this.#texts.join(",")}]`);
  }

  clear(): void {
    this.#texts = [];
    this.#octets = 0;
  }
}

function zipkinSpan(span: SpanRecord): Record<string, unknown> {
  const { traceId, spanId, parentSpanId, kind, name, debug } = span;
  const timestamp = Math.round(span.start * 1000);
  return {
    traceId,
    id: spanId,
    ...(parentSpanId === undefined ? {} : { parentId: parentSpanId }),
    kind: kind === "server" ? "SERVER" : "CLIENT",
    name,
    timestamp,
    // 0 means to Zipkin that it is not known.
    duration: Math.max(1, Math.round(span.end * 1000) - timestamp),
    ...remoteOf(span),
    tags: tagsOf(span),
    ...(debug ? { debug: true } : {}),
  };
}

/** The caller of a server span, the endpoint of a client span. */
function remoteOf({ kind, attributes }: SpanRecord): {
  readonly remoteEndpoint?: object;
} {
  const address =
    attributes[kind === "server" ? "client.address" : "server.address"];
  if (typeof address !== "string") return {};
  const port = kind === "server" ? undefined : attributes["server.port"];
  const at = typeof port === "number" && port > 0 ? { port } : {};
  if (isIPv4(address)) return { remoteEndpoint: { ipv4: address, ...at } };
  if (isIPv6(address)) return { remoteEndpoint: { ipv6: address, ...at } };
  return {};
}

/** Values as text; `error` is what Zipkin marks a failed span by. */
function tagsOf({ attributes, error }: SpanRecord): Record<string, string> {
  const tags: Record<string, string> = {};
  for (const [key, value] of Object.entries(attributes))
    tags[key] = String(value);
  if (error !== undefined) tags["error"] = error;
  return tags;
}

/** An application that does what every traced application has to do: it copies the fields of the trace from the request that it serves to the calls that it makes. */
import {
  createServer,
  type IncomingMessage,
  type RequestListener,
} from "node:http";
import { connect } from "node:net";
import type { Test } from "tap";
import type { SpanRecord } from "../../../src/telemetry/tracing.ts";
import { listening, withPair } from "../meshes/pair.ts";

/** Name and value, as they stand in the message. */
export type RawFields = readonly (readonly [name: string, value: string])[];

/** One sidecar, the copying application behind it, and what that calls, all through the sidecar. */
export interface TracedHop {
  /** Port of the sidecar for callers without one. */
  readonly published: number;
  /** Port of the sidecar for the application's calls. */
  readonly outbound: number;
  /** Ended spans of the sidecar. */
  readonly spans: readonly SpanRecord[];
  /** Sends a request with these fields, for which the application makes `calls` calls; what these brought. */
  readonly ask: (
    fields: RawFields,
    calls?: number,
  ) => Promise<readonly RawFields[]>;
}

export interface HopOptions {
  /** Names of the fields that the application copies. */
  readonly copies: readonly string[];
  readonly samplingPercentage?: number;
  /** Spec of the Mesh. */
  readonly mesh?: Readonly<Record<string, unknown>>;
}

export async function withTracedHop(
  t: Pick<Test, "teardown">,
  options: HopOptions,
  use: (hop: TracedHop) => Promise<void>,
): Promise<void> {
  const received: RawFields[] = [];
  const called = createServer((request, response) => {
    received.push(rawFieldsOf(request));
    response.end();
  });
  const host = `127.0.0.1:${await listening(called)}`;
  t.teardown(() => {
    called.closeAllConnections();
    called.close();
  });
  let outbound = 0;
  const app: RequestListener = (request, response) => {
    const copied = rawFieldsOf(request).filter(([name]) =>
      options.copies.includes(name.toLowerCase()),
    );
    const calls = Number(request.headers["x-calls"]);
    void Promise.all(
      Array.from({ length: calls }, () => exchange(outbound, host, copied)),
    ).then(() => response.end());
  };
  const spans: SpanRecord[] = [];
  const samplingPercentage = options.samplingPercentage ?? 100;
  await withPair(
    {
      app: () => app,
      calleePublish: true,
      mesh: { mtls: { mode: "PERMISSIVE" }, ...options.mesh },
      callee: {
        tracing: { sink: (span) => spans.push(span), samplingPercentage },
      },
    },
    async ({ callee }) => {
      outbound = callee.ports.outbound ?? 0;
      const [published = 0] = callee.ports.published.values();
      await use({
        published,
        outbound,
        spans,
        async ask(fields, calls = 1) {
          const sent = [...fields, ["x-calls", String(calls)] as const];
          await exchange(published, "orders.shop", sent);
          return received.splice(0);
        },
      });
    },
  );
}

export function rawFieldsOf({ rawHeaders }: IncomingMessage): RawFields {
  const fields: [string, string][] = [];
  for (let at = 0; at < rawHeaders.length; at += 2)
    fields.push([rawHeaders[at] ?? "", rawHeaders[at + 1] ?? ""]);
  return fields;
}

/** Values of the fields of this name, in their order. */
export function valuesOf(fields: RawFields, name: string): string[] {
  return fields.flatMap(([each, value]) =>
    each.toLowerCase() === name ? [value] : [],
  );
}

/** One request, byte for byte as it stands here. Rejects where its response is not a 200. */
function exchange(
  port: number,
  host: string,
  fields: RawFields,
): Promise<void> {
  const lines = fields.map(([name, value]) => `${name}:${value}\r\n`).join("");
  return new Promise((resolve, reject) => {
    let text = "";
    const socket = connect(port, "127.0.0.1");
    socket.on("error", reject);
    socket.on("data", (chunk: Buffer) => (text += chunk.toString("latin1")));
    socket.on("close", () => {
      if (text.startsWith("HTTP/1.1 200 ")) resolve();
      else reject(new Error(text));
    });
    socket.write(
      `GET / HTTP/1.1\r\nhost: ${host}\r\nconnection: close\r\n${lines}\r\n`,
    );
  });
}

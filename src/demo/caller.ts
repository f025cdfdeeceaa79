/** How an application of the demo calls another: plain HTTP to its own sidecar, with the service's name as Host. */
import { http } from "../runtime/http.ts";

export interface Reply {
  readonly status: number;
  /** The parsed JSON body, or its text. */
  readonly body: unknown;
  readonly servedBy: string | undefined;
  /** `x-wherry-reason`, where the mesh responded instead of the service. */
  readonly reason: string | undefined;
}

/** Calls `http://SERVICE` + path; never rejects: a failure is status 0 with the reason in the body. */
export type Caller = (
  service: string,
  path: string,
  options?: { readonly method?: string; readonly body?: unknown },
) => Promise<Reply>;

export interface CallerOptions {
  /** The sidecar's outbound listener on loopback. */
  readonly outboundPort: number;
}

export function makeCallers(options: CallerOptions): {
  bind(traceHeaders: Readonly<Record<string, string>>): Caller;
  close(): void;
} {
  const agent = new http.Agent({ keepAlive: true, maxSockets: 64 });
  return {
    bind:
      (traceHeaders) =>
      (service, path, sent = {}) =>
        new Promise((resolve) => {
          const body =
            sent.body === undefined ? undefined : JSON.stringify(sent.body);
          const outgoing = http.request(
            {
              agent,
              host: "127.0.0.1",
              port: options.outboundPort,
              path,
              method: sent.method ?? "GET",
              headers: {
                ...traceHeaders,
                host: service,
                ...(body === undefined
                  ? {}
                  : {
                      "content-type": "application/json",
                      "content-length": Buffer.byteLength(body),
                    }),
              },
            },
            (response) => {
              const chunks: Buffer[] = [];
              response.on("data", (chunk: Buffer) => chunks.push(chunk));
              response.on("error", (error) =>
                resolve({
                  status: 0,
                  body: error.message,
                  servedBy: undefined,
                  reason: undefined,
                }),
              );
              response.on("end", () => {
                resolve({
                  status: response.statusCode ?? 0,
                  body: parse(Buffer.concat(chunks).toString()),
                  servedBy: headerOf(response.headers["x-served-by"]),
                  reason: headerOf(response.headers["x-wherry-reason"]),
                });
              });
            },
          );
          outgoing.on("error", (error) =>
            resolve({
              status: 0,
              body: error.message,
              servedBy: undefined,
              reason: undefined,
            }),
          );
          outgoing.end(body);
        }),
    close: () => agent.destroy(),
  };
}

function headerOf(value: string | string[] | undefined): string | undefined {
  return Array.isArray(value) ? value.join(", ") : value;
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return text;
  }
}

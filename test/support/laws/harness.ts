/** What the tests of the laws share: a logger whose lines are kept, and a way past the caller's sidecar onto the link. */
import { pino } from "pino";
import { systemClock } from "../../../src/core/clock.ts";
import { MeshError } from "../../../src/mesh/errors.ts";
import type { Logger } from "../../../src/core/log.ts";
import type { ClientConnection } from "../../../src/wire/exchange.ts";
import { makeField } from "../../../src/wire/fields.ts";
import { connectHttp2 } from "../../../src/wire/http2/client.ts";
import { connectLink } from "../../../src/wire/tls/connect.ts";
import type { Pair } from "../meshes/pair.ts";

/** A line of the sidecar's own log. */
export type LogLine = Readonly<Record<string, unknown>>;

export interface KeptLog {
  readonly logger: Logger;
  readonly lines: readonly LogLine[];
}

export function keptLog(
  onLine: (line: LogLine) => void = () => undefined,
): KeptLog {
  const lines: LogLine[] = [];
  const write = (text: string): void => {
    const line = JSON.parse(text) as LogLine;
    lines.push(line);
    onLine(line);
  };
  const logger = pino({ level: "debug", base: null }, { write });
  return { logger, lines };
}

/** A connection straight to the callee's link, as the sidecar of `as` would make it. */
export async function link(pair: Pair, as: string): Promise<ClientConnection> {
  const { socket } = await connectLink({
    address: "127.0.0.1",
    port: pair.callee.ports.link ?? 0,
    expected: pair.authority.id("orders"),
    credentials: pair.authority.credentials(as),
    timeoutMs: 5000,
    clock: systemClock,
    signal: new AbortController().signal,
  });
  const ignore = (): void => undefined;
  return connectHttp2(
    socket,
    { clock: systemClock },
    { available: ignore, draining: ignore, closed: ignore },
  );
}

/** The status of one request over the link, or what it failed with. */
export function ask(
  connection: ClientConnection,
  request: {
    readonly method?: string;
    readonly path?: string;
    readonly destination?: string;
  } = {},
): Promise<number | MeshError> {
  return new Promise((resolve) => {
    try {
      connection.request(
        {
          method: request.method ?? "GET",
          scheme: "http",
          authority: "orders.shop",
          path: request.path ?? "/",
          protocol: undefined,
          fields: [
            makeField(
              "x-wherry-destination",
              request.destination ?? "orders.shop:80",
            ),
          ],
          contentLength: undefined,
          acceptsTrailers: true,
          absoluteForm: false,
        },
        true,
        {
          informational: () => undefined,
          head: ({ status }) => resolve(status),
          data: () => undefined,
          end: () => undefined,
          abort: resolve,
          drained: () => undefined,
        },
      );
    } catch (thrown) {
      if (!(thrown instanceof MeshError)) throw thrown;
      resolve(thrown);
    }
  });
}

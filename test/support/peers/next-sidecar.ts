/** The sidecar of "orders" as the caller's sees it: it answers everything with one status and remembers one header. */
import { systemClock } from "../../../src/core/clock.ts";
import { joinedValue } from "../../../src/wire/fields.ts";
import { serveHttp2 } from "../../../src/wire/http2/server.ts";
import { testLink } from "./link.ts";
import type { Pair } from "../meshes/pair.ts";

export interface NextSidecar {
  /** Of its link. */
  readonly port: number;
  /** The header of each request; undefined where there was none. */
  readonly heard: readonly (string | undefined)[];
  close(): void;
}

export async function nextSidecar(
  pair: Pair,
  header: string,
  status: number,
): Promise<NextSidecar> {
  const heard: (string | undefined)[] = [];
  const link = await testLink(pair.authority.credentials("orders"), {
    onConnection: (socket) =>
      serveHttp2(
        socket,
        {
          clock: systemClock,
          info: {
            protocol: "h2",
            peer: pair.authority.id("web"),
            remoteAddress: "127.0.0.1",
            remotePort: 1,
            localAddress: "127.0.0.1",
            originalDestination: undefined,
          },
        },
        {
          request(stream) {
            heard.push(joinedValue(stream.head.fields, header));
            stream.respond(
              { status, fields: [], contentLength: undefined },
              true,
            );
          },
        },
      ),
  });
  return { port: link.port, heard, close: () => link.close() };
}

/** Calls straight over the link, past any outbound sidecar: what a peer could send that is not ours. */
import { once } from "node:events";
import { connect, type TLSSocket } from "node:tls";
import { systemClock } from "../../../src/core/clock.ts";
import type { RequestHead } from "../../../src/wire/exchange.ts";
import { connectHttp2 } from "../../../src/wire/http2/client.ts";
import { connectLink } from "../../../src/wire/tls/connect.ts";
import { linkClientContext } from "../../../src/wire/tls/tls-context.ts";
import type { Pair } from "../meshes/pair.ts";

/** A request straight to the callee's link, past any outbound sidecar, as a hostile peer would send it. */
export async function overLink(
  pair: Pair,
  as: string,
  head: Partial<RequestHead> & { fields?: RequestHead["fields"] },
  serverName?: string,
): Promise<{ status: number; reason: string | undefined }> {
  const socket = await (serverName === undefined
    ? plainly(pair, as)
    : named(pair, as, serverName));
  const connection = connectHttp2(
    socket,
    { clock: systemClock },
    {
      available: () => undefined,
      draining: () => undefined,
      closed: () => undefined,
    },
  );
  try {
    return await new Promise((resolve, reject) => {
      connection.request(
        {
          method: "GET",
          scheme: "http",
          authority: "orders.shop",
          path: "/",
          protocol: undefined,
          fields: [],
          contentLength: undefined,
          acceptsTrailers: true,
          absoluteForm: false,
          ...head,
        },
        true,
        {
          informational: () => undefined,
          head: ({ status, fields }) =>
            resolve({
              status,
              reason: fields.find(({ name }) => name === "x-wherry-reason")
                ?.value,
            }),
          data: () => undefined,
          end: () => undefined,
          abort: reject,
          drained: () => undefined,
        },
      );
    });
  } finally {
    connection.destroy();
  }
}

/** As our own sidecars connect. */
async function plainly(pair: Pair, as: string): Promise<TLSSocket> {
  const { socket } = await connectLink({
    address: "127.0.0.1",
    port: pair.callee.ports.link ?? 0,
    expected: pair.authority.id("orders"),
    credentials: pair.authority.credentials(as),
    timeoutMs: 5000,
    clock: systemClock,
    signal: new AbortController().signal,
  });
  return socket;
}

/** With a host in the handshake. */
async function named(
  pair: Pair,
  as: string,
  servername: string,
): Promise<TLSSocket> {
  const socket = connect({
    host: "127.0.0.1",
    port: pair.callee.ports.link ?? 0,
    secureContext: linkClientContext(pair.authority.credentials(as)),
    ALPNProtocols: ["h2"],
    rejectUnauthorized: false,
    checkServerIdentity: () => undefined,
    servername,
  });
  await once(socket, "secureConnect");
  return socket;
}

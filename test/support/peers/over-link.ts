/** Calls straight over the link, past any outbound sidecar: what a peer could send that is not ours. */
import { systemClock } from "../../../src/core/clock.ts";
import type { RequestHead } from "../../../src/wire/exchange.ts";
import { connectHttp2 } from "../../../src/wire/http2/client.ts";
import { connectLink } from "../../../src/wire/tls/connect.ts";
import type { Pair } from "../meshes/pair.ts";

/** A request straight to the callee's link, past any outbound sidecar, as a hostile peer would send it. */
export async function overLink(
  pair: Pair,
  as: string,
  head: Partial<RequestHead> & { fields?: RequestHead["fields"] },
): Promise<{ status: number; reason: string | undefined }> {
  const { socket } = await connectLink({
    address: "127.0.0.1",
    port: pair.callee.ports.link ?? 0,
    expected: pair.authority.id("orders"),
    credentials: pair.authority.credentials(as),
    timeoutMs: 5000,
    clock: systemClock,
    signal: new AbortController().signal,
  });
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

/** HTTP/2's grammar through a whole proxy, judged where it matters: by the octets that reach the application (law 7). */
import t from "tap";
import { ErrorCode, FrameType } from "../../src/wire/http2/frames/frames.ts";
import { withPair } from "../support/meshes/pair.ts";
import { MALFORMED, show } from "../support/http2/malformed.ts";
import { block, headers } from "../support/http2/raw-peer.ts";
import {
  enter,
  http1Backend,
  http2Backend,
  request,
  type Backend,
  type ListenerUnderTest,
} from "../support/hostile/grammar-http2-backends.ts";
import {
  ACCEPTED,
  BROKEN,
  CONNECTION_ERRORS,
} from "../support/hostile/grammar-http2-requests.ts";

const BACKENDS: readonly (readonly [string, () => Backend])[] = [
  ["HTTP/1", http1Backend],
  ["HTTP/2", http2Backend],
];
const LISTENERS: readonly ListenerUnderTest[] = ["outbound", "link"];

for (const [kind, make] of BACKENDS)
  void t.test(`an application that speaks ${kind}`, async (t) => {
    const backend = make();
    await withPair(
      { rawApp: backend.app, appProtocol: backend.protocol },
      async (pair) => {
        for (const listener of LISTENERS) {
          await t.test(
            `${listener}: malformed requests reach it with no octet`,
            async (t) => {
              backend.forget();
              const peer = await enter(pair, listener);
              let id = 1;
              for (const [pairs] of MALFORMED) {
                peer.send(headers(id, pairs));
                t.equal(
                  await peer.resetCode(id),
                  ErrorCode.PROTOCOL_ERROR,
                  show(pairs),
                );
                t.strictSame(backend.seen(), [], show(pairs));
                id += 2;
              }
              peer.send(headers(id, request(listener, "GET", "/good")));
              await peer.next(FrameType.HEADERS, id);
              t.equal(
                backend.seen().length,
                1,
                "but for the good one after them",
              );
              peer.socket.destroy();
            },
          );

          await t.test(
            `${listener}: what breaks on its way never gets there whole`,
            async (t) => {
              const peer = await enter(pair, listener);
              let id = 1;
              for (const [what, frames] of BROKEN) {
                backend.forget();
                peer.send(
                  ...frames(id, (...more) =>
                    request(listener, "POST", `/broken-${id}`, ...more),
                  ),
                );
                t.equal(
                  await peer.resetCode(id),
                  ErrorCode.PROTOCOL_ERROR,
                  what,
                );
                peer.send(headers(id + 2, request(listener, "GET", "/good")));
                await peer.next(FrameType.HEADERS, id + 2);
                const whole = backend.seen().filter((it) => !it.endsWith("…"));
                t.equal(whole.length, 1, what);
                t.match(whole[0], "/good", what);
                id += 4;
              }
              peer.socket.destroy();
            },
          );

          await t.test(
            `${listener}: what is in order gets there as it is`,
            async (t) => {
              const peer = await enter(pair, listener);
              let id = 1;
              for (const [what, frames, http1, http2] of ACCEPTED) {
                backend.forget();
                peer.send(
                  ...frames(id, (method, ...more) =>
                    request(listener, method, "/row", ...more),
                  ),
                );
                const answer = await peer.next(FrameType.HEADERS, id);
                t.equal(peer.fields(answer)[0], ":status: 200", what);
                const expected =
                  kind === "HTTP/1"
                    ? http1
                    : http2.replace(
                        "\n",
                        "\n:scheme: http\n:authority: orders.shop\n:path: /row\n",
                      );
                t.strictSame(backend.seen(), [expected], what);
                id += 2;
              }
              peer.socket.destroy();
            },
          );

          await t.test(
            `${listener}: errors of the connection end it, and nothing whole gets through`,
            async (t) => {
              for (const [what, frames, code] of CONNECTION_ERRORS) {
                backend.forget();
                const peer = await enter(pair, listener);
                peer.send(...frames(block(request(listener, "GET", "/bad"))));
                t.equal((await peer.goaway()).code, code, what);
                await peer.ended;
                const next = await enter(pair, listener);
                next.send(headers(1, request(listener, "GET", "/good")));
                await next.next(FrameType.HEADERS, 1);
                const whole = backend.seen().filter((it) => !it.endsWith("…"));
                t.equal(whole.length, 1, what);
                next.socket.destroy();
              }
            },
          );
        }
      },
    );
  });

void t.test(
  "extended CONNECT for what is no WebSocket is refused at every listener (RFC 8441, law 14)",
  async (t) => {
    for (const [, make] of BACKENDS) {
      const backend = make();
      await withPair(
        { rawApp: backend.app, appProtocol: backend.protocol },
        async (pair) => {
          for (const listener of LISTENERS) {
            for (const [protocol, ends, status] of [
              ["connect-udp", true, 501],
              ["WebSocket", false, 501],
              ["websocket", true, 400],
              ["websocket", false, 426],
            ] as const) {
              backend.forget();
              const peer = await enter(pair, listener);
              peer.send(
                headers(
                  1,
                  request(listener, "CONNECT", "/chat", [
                    ":protocol",
                    protocol,
                  ]),
                  ends,
                ),
              );
              const answer = await peer.next(FrameType.HEADERS, 1);
              t.equal(peer.fields(answer)[0], `:status: ${status}`);
              t.strictSame(backend.seen(), []);
              peer.socket.destroy();
            }
          }
        },
      );
    }
  },
);

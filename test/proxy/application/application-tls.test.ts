/** applicationTls at a real sidecar: an application that listens with TLS gets its calls, and one that is not the right one gets none. */
import { createServer } from "node:https";
import type { Server } from "node:net";
import { createServer as createTls, type TlsOptions } from "node:tls";
import t from "tap";
import type { Resource } from "../../../src/resources/envelope.ts";
import {
  resource,
  withPair,
  type PairOptions,
} from "../../support/meshes/pair.ts";
import { outsideAuthority } from "../../support/peers/outside.ts";

const NAME = "orders.internal.test";
const authority = outsideAuthority();
const leaf = authority.leaf({ dns: [NAME] });
const TLS = { sni: NAME, caBundle: authority.bundle };

function policy(applicationTls: object): Resource {
  return resource("TrafficPolicy", "own", {
    targetRefs: [{ kind: "Service", name: "orders" }],
    applicationTls,
  });
}

/** Speaks TLS on the connections of the pair's application. */
function secure(seen: string[]): NonNullable<PairOptions["rawApp"]> {
  const options: TlsOptions = {
    ...leaf,
    SNICallback(name, done) {
      seen.push(name);
      done(null);
    },
  };
  const https = createServer(options, (request, response) => {
    seen.push(request.url ?? "");
    response.end("secure");
  });
  https.on("tlsClientError", () => undefined);
  return () => (socket) => {
    socket.on("error", () => undefined);
    (https as Server).emit("connection", socket);
  };
}

void t.test(
  "the application's certificate is what lets calls through",
  async (t) => {
    const seen: string[] = [];
    await withPair(
      { rawApp: secure(seen), resources: [policy(TLS)] },
      async (pair) => {
        t.match(await pair.call({ path: "/a" }), {
          status: 200,
          text: "secure",
        });
        t.strictSame(seen, [NAME, "/a"]);
        for (const [title, tls] of [
          ["another name", { ...TLS, subjectAltNames: ["other.test"] }],
          [
            "another authority",
            { ...TLS, caBundle: outsideAuthority().bundle },
          ],
        ] as const) {
          pair.apply([policy(tls)]);
          const refused = await pair.call({ path: "/b" });
          t.equal(refused.status, 503, title);
          t.match(refused.reason, /^APPLICATION_UNREACHABLE/);
        }
        t.strictSame(
          seen.filter((each) => each.startsWith("/")),
          ["/a"],
          "nothing more came",
        );
        pair.apply([policy(TLS)]);
        t.equal((await pair.call({ path: "/c" })).status, 200);
      },
    );
  },
);

void t.test("bytes of a tcp port go to the application over TLS", async (t) => {
  const echo = createTls({ ...leaf }, (socket) => {
    socket.on("error", () => undefined);
    socket.pipe(socket);
  });
  await withPair(
    {
      appProtocol: "tcp",
      rawApp: () => (socket) =>
        void (echo as Server).emit("connection", socket),
      resources: [policy(TLS)],
    },
    async (pair) => {
      const { connect } = await import("node:net");
      const { once } = await import("node:events");
      const tunnel = connect(pair.caller.ports.outbound ?? 0, "127.0.0.1");
      tunnel.write(
        "CONNECT orders.shop:80 HTTP/1.1\r\nhost: orders.shop:80\r\n\r\n",
      );
      const [head] = (await once(tunnel, "data")) as [Buffer];
      t.match(head.toString(), /^HTTP\/1\.1 200 /);
      tunnel.write("hello");
      const [answer] = (await once(tunnel, "data")) as [Buffer];
      t.equal(answer.toString(), "hello");
      tunnel.destroy();
    },
  );
});

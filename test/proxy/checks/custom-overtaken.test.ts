/** What a change of policy does to a request that waits for a provider. */
import { connect } from "node:net";
import t from "tap";
import {
  custom,
  PATIENT,
  withProviders,
} from "../../support/checks/asking-pair.ts";
import { httpScript } from "../../support/checks/providers.ts";
import { resource, until } from "../../support/meshes/pair.ts";
import {
  handshake,
  RawClient,
  WebSocketApplication,
} from "../../support/peers/websocket.ts";

function opaAt(address: string): object {
  return { name: "opa", http: { address }, ...PATIENT };
}

void t.test(
  "a WebSocket that waited while policy changed does not begin against it",
  async (t) => {
    const app = new WebSocketApplication();
    const held: (() => void)[] = [];
    const provider = await httpScript(
      (_request, response) => void held.push(() => response.end()),
    );
    const no = resource("AuthorizationPolicy", "no", {
      action: "DENY",
      rules: [{ to: [{ operation: { paths: ["/no"] } }] }],
    });
    try {
      await withProviders(
        [opaAt(provider.address)],
        {
          caller: { upstream: [{ port: 0, to: "orders.shop" }] },
          rawApp: () => app.accept,
          resources: [custom("opa")],
        },
        async (pair) => {
          const port = pair.caller.ports.upstreams.get("orders.shop") ?? 0;
          for (const [path, status] of [
            ["/no", 403],
            ["/yes", 101],
          ] as const) {
            pair.apply([custom("opa")]);
            const client = await RawClient.open(
              port,
              handshake({}, `GET ${path} HTTP/1.1`),
            );
            await until(() => held.length === 1);
            pair.apply([custom("opa"), no]);
            held.pop()?.();
            await until(() => client.head !== "" || client.closed);
            t.equal(client.status, status, path);
            client.socket.destroy();
          }
          t.equal(app.sessions.length, 1, "the application saw one handshake");
        },
      );
    } finally {
      await provider.close();
    }
  },
);

void t.test(
  "an event stream that waited while policy changed ends once it is known as one",
  async (t) => {
    let release: (() => void) | undefined;
    const provider = await httpScript((_request, response) => {
      release = () => response.end();
    });
    try {
      await withProviders(
        [opaAt(provider.address)],
        {
          resources: [custom("opa")],
          app: () => (_request, response) => {
            response.writeHead(200, { "content-type": "text/event-stream" });
            response.write("data: 1\n\n");
          },
        },
        async (pair) => {
          const socket = connect(pair.caller.ports.outbound ?? 0, "127.0.0.1");
          socket.on("error", () => undefined).resume();
          socket.write("GET / HTTP/1.1\r\nHost: orders.shop\r\n\r\n");
          await until(() => release !== undefined);
          const no = resource("AuthorizationPolicy", "no", {
            action: "DENY",
            rules: [{}],
          });
          pair.apply([custom("opa"), no]);
          release?.();
          await until(() => socket.closed);
          t.match(
            pair.log.find(({ direction }) => direction === "inbound"),
            { reason: "DENIED", policy: "shop/no" },
          );
        },
      );
    } finally {
      await provider.close();
    }
  },
);

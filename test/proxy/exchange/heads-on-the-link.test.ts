/** A head that the first sidecar takes is not too large for the next one by what the mesh has added to it, in either direction; one field or byte more is too much for the first. */
import { connect, type Socket } from "node:net";
import t from "tap";
import { resource, withPair, type Pair } from "../../support/meshes/pair.ts";

const FIELDS = 100;
const BYTES = 64 * 1024;

/** A route that adds as many fields as it may. */
const route = resource("HTTPRoute", "orders", {
  parentRefs: [{ group: "mesh.wherry.dev", kind: "Service", name: "orders" }],
  rules: [
    {
      backendRefs: [{ name: "orders", port: 80 }],
      filters: [
        { type: "RequestHeaderModifier", requestHeaderModifier: added() },
        { type: "ResponseHeaderModifier", responseHeaderModifier: added() },
      ],
    },
  ],
});

function added(): unknown {
  return {
    add: Array.from({ length: 16 }, (_, index) => ({
      name: `x-added-${index}`,
      value: "v".repeat(100),
    })),
  };
}

const GET = "GET / HTTP/1.1\r\nhost: orders.shop\r\nconnection: close\r\n";
const OK = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n";

/** `start` with as many fields as make `count` of them. */
function many(start: string, count: number): string {
  const own = start.split("\r\n").length - 2;
  const more = Array.from({ length: count - own }, (_, at) => `x-${at}: v\r\n`);
  return `${start}${more.join("")}\r\n`;
}

/** `start` with a field that makes `bytes` of it. */
function large(start: string, bytes: number): string {
  const rest = start.length + "x-large: \r\n\r\n".length;
  return `${start}x-large: ${"v".repeat(bytes - rest)}\r\n\r\n`;
}

/** What comes back until the end of the connection. */
async function exchange(pair: Pair, request: string): Promise<string> {
  const socket = connect(pair.caller.ports.outbound ?? 0, "127.0.0.1");
  socket.write(request);
  const chunks = (await socket.toArray()) as Buffer[];
  return Buffer.concat(chunks).toString("latin1");
}

const ROWS: readonly (readonly [
  what: string,
  make: (start: string, size: number) => string,
  most: number,
])[] = [
  ["fields", many, FIELDS],
  ["bytes", large, BYTES],
];

for (const linkProtocol of ["h2", "http/1.1"] as const)
  for (const [what, make, most] of ROWS)
    void t.test(
      `as many ${what} as a head may have, over a link in ${linkProtocol}`,
      async (t) => {
        let arrived = "";
        let response = `${OK}\r\n`;
        const rawApp = () => (socket: Socket) => {
          let text = "";
          socket.on("error", () => undefined);
          socket.setEncoding("latin1").on("data", (chunk: string) => {
            text += chunk;
            if (!text.endsWith("\r\n\r\n")) return;
            arrived = text;
            text = "";
            socket.write(response);
          });
        };
        const options = { linkProtocol, resources: [route], rawApp };
        await withPair(options, async (pair) => {
          const asked = make(GET, most);
          t.match(await exchange(pair, asked), /^HTTP\/1.1 200 /);
          t.ok(arrived.length > asked.length, "with what the mesh has added");
          t.match(arrived, /x-added-15: v+\r\n/);
          arrived = "";
          t.match(await exchange(pair, make(GET, most + 1)), /^HTTP\/1.1 431 /);
          t.equal(arrived, "");
          response = make(OK, most);
          const told = await exchange(pair, `${GET}\r\n`);
          t.match(told, /^HTTP\/1.1 200 /);
          t.ok(told.length > response.length, "with what the mesh has added");
          t.match(told, /x-added-15: v+\r\n/);
          response = make(OK, most + 1);
          t.match(
            await exchange(pair, `${GET}\r\n`),
            /^HTTP\/1.1 502 [^]*UPSTREAM_PROTOCOL/,
          );
        });
      },
    );

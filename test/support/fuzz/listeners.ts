/** The listeners that the fuzzer calls: explicit and captured outbound, captured inbound, published, and the link; each in both versions of HTTP. */
import { connect, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import type { Pair } from "./requests/request.ts";
import type { Target, TargetPorts } from "./target/target-process.ts";

export interface ListenerUnderTest {
  /** Three letters: where, how, and the version of HTTP. */
  readonly name: string;
  readonly version: "http1" | "http2";
  readonly where:
    | "explicit"
    | "captured outbound"
    | "captured"
    | "published"
    | "link";
  /** Fields that a request must have here. */
  readonly more: readonly Pair[];
  open(): Socket;
}

const WHERE: readonly (readonly [
  name: string,
  where: ListenerUnderTest["where"],
  port: keyof TargetPorts,
  network: number,
])[] = [
  ["oe", "explicit", "outbound", 100],
  ["oc", "captured outbound", "outbound", 200],
  ["ci", "captured", "captured", 200],
  ["pu", "published", "published", 100],
  ["li", "link", "link", 100],
];

/** Each connection comes from another address: what one source may do in a second is the floods' business, and none of the grammar's. */
let source = 0;
function nextSource(network: number): string {
  source = (source + 1) % 60_000;
  return `127.${network}.${1 + Math.floor(source / 250)}.${1 + (source % 250)}`;
}

export function listenersOf(target: Target): ListenerUnderTest[] {
  return WHERE.flatMap(([name, where, port, network]) =>
    (["http1", "http2"] as const).map((version): ListenerUnderTest => {
      const raw = (): Socket =>
        connect({
          host: "127.0.0.1",
          port: target.ports[port],
          localAddress: nextSource(network),
          allowHalfOpen: true,
          noDelay: true,
        });
      return {
        name: name + (version === "http1" ? "1" : "2"),
        version,
        where,
        more:
          where === "link" ? [["x-wherry-destination", "orders.shop:80"]] : [],
        open: () =>
          where === "link" ? overTls(raw(), target, version) : raw(),
      };
    }),
  );
}

function overTls(
  raw: Socket,
  { pems }: Target,
  version: ListenerUnderTest["version"],
): Socket {
  raw.on("error", () => undefined);
  return connectTls({
    socket: raw,
    cert: pems.certificateChain,
    key: pems.privateKey,
    ca: pems.trustBundle,
    // The sidecar judges its caller; who it is itself is another test's business.
    rejectUnauthorized: false,
    checkServerIdentity: () => undefined,
    ALPNProtocols: [version === "http1" ? "http/1.1" : "h2"],
    minVersion: "TLSv1.3",
    ecdhCurve: "X25519",
  });
}

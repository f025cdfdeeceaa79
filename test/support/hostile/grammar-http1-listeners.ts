/** The ways into a mesh for HTTP/1, as a peer without manners takes them: octets in, and what came back until the end. */
import { connect, type Socket } from "node:net";
import { systemClock } from "../../../src/core/clock.ts";
import { connectLink } from "../../../src/wire/tls/connect.ts";
import { resource, until, withPair, type Pair } from "../meshes/pair.ts";
import { RecordingBackend } from "../peers/recording-backend.ts";

export interface ListenerUnderTest {
  readonly name: string;
  open(): Promise<Socket>;
}

/** A mesh with a recording backend, open to strangers, whose breaker and ejection do not act. */
export async function withBackend(
  use: (pair: Pair, backend: RecordingBackend) => Promise<void>,
  options: {
    readonly resources?: Parameters<typeof withPair>[0]["resources"];
  } = {},
): Promise<void> {
  const backend = new RecordingBackend();
  await withPair(
    {
      calleePublish: true,
      rawApp: () => backend.accept,
      resources: [
        resource("PeerAuthentication", "open", {
          selector: { matchLabels: { app: "orders" } },
          mtls: { mode: "PERMISSIVE" },
        }),
        resource("TrafficPolicy", "orders", {
          targetRefs: [{ kind: "Service", name: "orders" }],
          circuitBreaker: { volumeThreshold: 1_000_000 },
        }),
        ...(options.resources ?? []),
      ],
    },
    (pair) => use(pair, backend),
  );
}

/** The outbound listener (through both sidecars), the published port, and the link in HTTP/1.1 over mTLS. */
export function listenersOf(pair: Pair): ListenerUnderTest[] {
  const plain = (name: string, port: number): ListenerUnderTest => ({
    name,
    open: () =>
      Promise.resolve(
        connect({ port, host: "127.0.0.1", allowHalfOpen: true }),
      ),
  });
  return [
    plain("outbound", pair.caller.ports.outbound ?? 0),
    plain("published", [...pair.callee.ports.published.values()][0] ?? 0),
    {
      name: "link",
      open: async () => {
        const { socket } = await connectLink({
          address: "127.0.0.1",
          port: pair.callee.ports.link ?? 0,
          expected: pair.authority.id("orders"),
          credentials: pair.authority.credentials("web"),
          alpn: ["http/1.1"],
          timeoutMs: 5000,
          clock: systemClock,
          signal: new AbortController().signal,
        });
        return socket;
      },
    },
  ];
}

/** A peer on a listener: what it has got, and whether the other side has ended. */
export class Peer {
  readonly socket: Socket;
  received = "";
  ended = false;

  constructor(socket: Socket) {
    this.socket = socket;
    const ended = (): void => void (this.ended = true);
    socket.on("data", (chunk: Buffer) => {
      this.received += chunk.toString("latin1");
    });
    socket.on("end", ended);
    socket.on("close", ended);
    socket.on("error", ended);
    socket.resume();
  }

  send(octets: string): void {
    this.socket.write(octets, "latin1");
  }

  /** Everything up to the other side's end, or until `enough`. */
  async all(enough: () => boolean = () => false): Promise<string> {
    await until(() => this.ended || enough());
    this.socket.destroy();
    return this.received;
  }
}

/** Says these octets through a listener, and returns the whole of what came back until the other side ended, or until `enough`. */
export async function say(
  listener: ListenerUnderTest,
  octets: string,
  enough?: () => boolean,
): Promise<string> {
  const peer = new Peer(await listener.open());
  peer.send(octets);
  return await peer.all(enough);
}

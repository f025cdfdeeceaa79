/** The ways by which h2spec, which can say neither a Host nor a field of its own, reaches an application through the mesh. */
import { createServer, type AddressInfo, type Socket } from "node:net";
import { systemClock } from "../../../src/core/clock.ts";
import {
  Flag,
  FRAME_HEADER,
  FrameType,
  PREFACE,
} from "../../../src/wire/http2/frames/frames.ts";
import { connectLink } from "../../../src/wire/tls/connect.ts";
import type { Pair } from "../meshes/pair.ts";
import { block } from "../http2/raw-peer.ts";

export interface OpenListener {
  readonly port: number;
  close(): void;
}

/** What `--upstream` of the caller's sidecar has to be for `plainListener`. */
export const PLAIN_LISTENER = { port: 0, to: "orders.shop:80" };

/** A listener of the caller's sidecar that leads to one Service, whatever the request says of its host. */
export function plainListener(pair: Pair): OpenListener {
  const port = pair.caller.ports.upstreams.get(PLAIN_LISTENER.to) ?? 0;
  return { port, close: () => undefined };
}

/** The callee's link, with the caller's certificate, and the one field that a request needs there. All else is passed on as it is. */
export async function linkListener(pair: Pair): Promise<OpenListener> {
  const server = createServer((plain) => {
    plain.on("error", () => undefined);
    plain.pause();
    void connectLink({
      address: "127.0.0.1",
      port: pair.callee.ports.link ?? 0,
      expected: pair.authority.id("orders"),
      credentials: pair.authority.credentials("web"),
      timeoutMs: 5000,
      clock: systemClock,
      signal: new AbortController().signal,
    }).then(({ socket }) => {
      const addressed = new Addressing();
      pass(plain, socket, (chunk) => addressed.push(chunk));
      pass(socket, plain, (chunk) => chunk);
    });
  });
  await new Promise<void>((resolve) =>
    server.listen(0, "127.0.0.1", () => resolve()),
  );
  const { port } = server.address() as AddressInfo;
  return { port, close: () => server.close() };
}

function pass(
  from: Socket,
  to: Socket,
  change: (chunk: Buffer) => Buffer,
): void {
  from.on("data", (chunk: Buffer) => to.write(change(chunk)));
  from.on("end", () => to.end());
  from.on("error", () => undefined);
  from.on("close", () => to.destroySoon());
  from.resume();
}

const DESTINATION = block([["x-wherry-destination", "orders.shop:80"]]);

/** Adds the destination at the end of the first field block of each stream. */
class Addressing {
  private bytes: Buffer = Buffer.alloc(0);
  private preface = PREFACE.length;
  private readonly addressed = new Set<number>();

  push(chunk: Buffer): Buffer {
    this.bytes = Buffer.concat([this.bytes, chunk]);
    const out: Buffer[] = [];
    if (this.preface > 0) {
      out.push(this.take(this.preface));
      this.preface -= out[0]?.length ?? 0;
    }
    while (this.bytes.length >= FRAME_HEADER) {
      const end = FRAME_HEADER + this.bytes.readUIntBE(0, 3);
      if (this.bytes.length < end) break;
      out.push(this.address(this.take(end)));
    }
    return Buffer.concat(out);
  }

  private take(octets: number): Buffer {
    const taken = this.bytes.subarray(0, octets);
    this.bytes = this.bytes.subarray(taken.length);
    return taken;
  }

  private address(frame: Buffer): Buffer {
    const type = frame[3] ?? 0;
    const flags = frame[4] ?? 0;
    const id = frame.readUInt32BE(5);
    const fields =
      type === FrameType.HEADERS || type === FrameType.CONTINUATION;
    if (!fields || (flags & Flag.END_HEADERS) === 0 || this.addressed.has(id))
      return frame;
    this.addressed.add(id);
    const padding =
      type === FrameType.HEADERS && (flags & Flag.PADDED) !== 0
        ? (frame[FRAME_HEADER] ?? 0)
        : 0;
    const end = Math.max(FRAME_HEADER, frame.length - padding);
    const longer = Buffer.concat([
      frame.subarray(0, end),
      DESTINATION,
      frame.subarray(end),
    ]);
    longer.writeUIntBE(longer.length - FRAME_HEADER, 0, 3);
    return longer;
  }
}

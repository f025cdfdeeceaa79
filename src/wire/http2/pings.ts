/** PINGs that wait for their acknowledgements (RFC 9113 6.7). */
import { MeshError } from "../../mesh/errors.ts";
import type { Sender } from "./write/sender.ts";

/** More askers than this share the last PING. */
const OUTSTANDING = 8;

interface Ping {
  readonly number: number;
  readonly promise: Promise<void>;
  readonly settle: (error?: MeshError) => void;
}

export class Pings {
  #waiting: Ping[] = [];
  #sent = 0;

  /** Sends a PING; resolves with its acknowledgement, rejects when the connection ends before it. */
  send(sender: Sender): Promise<void> {
    const last = this.#waiting.at(-1);
    if (last !== undefined && this.#waiting.length >= OUTSTANDING)
      return last.promise;
    const number = ++this.#sent;
    const { promise, resolve, reject } = Promise.withResolvers<undefined>();
    // Nobody may be listening any more when the connection dies; that must not end the process.
    promise.catch(() => undefined);
    const settle = (error?: MeshError): void => {
      if (error === undefined) resolve(undefined);
      else reject(error);
    };
    const waits: Promise<void> = promise;
    this.#waiting.push({ number, promise: waits, settle });
    const payload = Buffer.alloc(8);
    payload.writeUInt32BE(number >>> 0, 4);
    sender.ping(payload, 0, false);
    return waits;
  }

  /** An acknowledgement came: of the PING it names and, as they keep their order, of those before it. Others mean nothing. */
  answered(bytes: Buffer, start: number): void {
    if (bytes.readUInt32BE(start) !== 0) return;
    const number = bytes.readUInt32BE(start + 4);
    const at = this.#waiting.findIndex((ping) => ping.number === number);
    for (const ping of this.#waiting.splice(0, at + 1)) ping.settle();
  }

  /** The connection is gone. */
  fail(): void {
    for (const ping of this.#waiting.splice(0))
      ping.settle(
        new MeshError(
          "UPSTREAM_RESET",
          "the connection ended before it acknowledged a PING",
          { source: "upstream" },
        ),
      );
  }
}

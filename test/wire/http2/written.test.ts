/** When an output may use its memory again: at once where the kernel took everything, otherwise once the socket says so. */
import type { Socket } from "node:net";
import { Duplex } from "node:stream";
import t from "tap";
import { UNBOUNDED } from "../../../src/wire/buffers.ts";
import { FrameType } from "../../../src/wire/http2/frames/frames.ts";
import { Output } from "../../../src/wire/http2/write/output.ts";

/** A socket that takes each write at once as long as `open`, and then only when it is told to. */
class Peer {
  open = true;
  drained = 0;
  readonly took: number[] = [];
  /** Writes that Node had to tell about. */
  asked = 0;
  readonly output: Output;
  #then: (() => void) | undefined;

  constructor(encrypted: boolean) {
    const socket = new Duplex({
      read: () => undefined,
      write: (chunk: Buffer, _encoding, then) => {
        this.took.push(chunk.length);
        // What is empty waits for nobody.
        if (this.open || chunk.length === 0) then();
        else this.#then = then;
      },
    });
    const write = socket.write.bind(socket);
    socket.write = ((chunk: Buffer, then?: () => void): boolean => {
      if (then !== undefined) this.asked += 1;
      return write(chunk, then);
    }) as typeof socket.write;
    this.output = new Output(
      Object.assign(
        socket,
        encrypted ? { encrypted } : {},
      ) as unknown as Socket,
      65_536,
      () => (this.drained += 1),
      UNBOUNDED,
    );
  }

  send(): void {
    this.output.frames.header(0, FrameType.SETTINGS, 0, 0);
    this.output.flush();
  }

  take(): void {
    this.open = true;
    this.#then?.();
  }
}

const turn = (): Promise<void> =>
  new Promise((resolve) => void setImmediate(resolve));

void t.test("a write that is taken at once is not asked about", async (t) => {
  const peer = new Peer(false);
  peer.send();
  peer.send();
  t.notOk(peer.output.busy);
  await turn();
  t.equal(peer.asked, 0);
  t.equal(peer.drained, 0);
  t.same(peer.took, [9, 9]);
});

void t.test("with TLS each one is: none is over at once", async (t) => {
  const peer = new Peer(true);
  peer.open = false;
  peer.send();
  t.ok(peer.output.busy);
  peer.take();
  await turn();
  t.notOk(peer.output.busy);
  t.equal(peer.asked, 1);
  t.equal(peer.drained, 1);
  t.same(peer.took, [9]);
});

void t.test(
  "what is left is waited for, once, behind any number",
  async (t) => {
    const peer = new Peer(false);
    for (let round = 1; round <= 3; round += 1) {
      peer.send();
      t.notOk(peer.output.busy);
      peer.open = false;
      peer.send();
      t.ok(peer.output.busy);
      await turn();
      t.ok(peer.output.busy, "the write before it says nothing of it");
      peer.send();
      t.equal(peer.output.size, 9, "nothing is written meanwhile");
      peer.take();
      await turn();
      t.notOk(peer.output.busy);
      t.equal(peer.drained, round);
      peer.output.flush();
      t.equal(peer.output.size, 0);
    }
    t.equal(peer.asked, 3);
  },
);

void t.test("an output that is closed says nothing more", async (t) => {
  const peer = new Peer(false);
  peer.open = false;
  peer.send();
  t.ok(peer.output.busy);
  peer.output.close();
  peer.take();
  await turn();
  t.notOk(peer.output.busy);
  t.equal(peer.drained, 0);
});

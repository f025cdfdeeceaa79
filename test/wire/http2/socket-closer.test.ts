/** The orderly end of a socket whose peer takes its time. */
import type { Socket } from "node:net";
import { Duplex } from "node:stream";
import t from "tap";
import { UNBOUNDED } from "../../../src/wire/buffers.ts";
import { FrameType } from "../../../src/wire/http2/frames/frames.ts";
import { resolveLimits } from "../../../src/wire/http2/limits.ts";
import { SocketCloser } from "../../../src/wire/http2/socket-closer.ts";
import { Output } from "../../../src/wire/http2/write/output.ts";
import { fakeClock } from "../../support/clocks/fake-clock.ts";

const turn = (): Promise<void> =>
  new Promise((resolve) => void setImmediate(resolve));

void t.test(
  "a peer that takes one write a minute gets all of them, then the end",
  async (t) => {
    const clock = fakeClock();
    const took: string[] = [];
    let take: () => void = () => undefined;
    const socket = new Duplex({
      read: () => undefined,
      write: (chunk: Buffer, _encoding, then) => {
        // What is empty waits for nobody.
        if (chunk.length === 0) then();
        else
          take = () => {
            took.push(`type ${chunk[3] ?? 0}`);
            then();
          };
      },
      final: (then) => {
        took.push("end");
        then();
      },
    }) as unknown as Socket;
    const drained = (): void => {
      output.flush();
      closer.drained();
    };
    const output = new Output(socket, 65_536, drained, UNBOUNDED);
    const sender = { output, flush: () => output.flush() };
    const limits = resolveLimits({});
    const closer = new SocketCloser(socket, sender, clock, limits);
    output.frames.header(0, FrameType.PING, 0, 0);
    output.flush();
    output.frames.header(0, FrameType.GOAWAY, 0, 0);
    closer.close(true);
    for (let write = 1; write <= 2; write += 1) {
      clock.advance(59_000);
      t.notOk(socket.destroyed);
      take();
      await turn();
    }
    const { PING, GOAWAY } = FrameType;
    t.strictSame(took, [`type ${PING}`, `type ${GOAWAY}`, "end"]);
    clock.advance(limits.closeTimeout);
    t.ok(socket.destroyed, "it does not wait for ever for the peer's end");
  },
);

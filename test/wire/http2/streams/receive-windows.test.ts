/** The connection's window, withheld for one reason and then for another. */
import t from "tap";
import { Buffers } from "../../../../src/wire/buffers.ts";
import { resolveLimits } from "../../../../src/wire/http2/limits.ts";
import {
  ReceiveWindows,
  type ReceivingHalf,
} from "../../../../src/wire/http2/streams/receive-windows.ts";
import type { Sender } from "../../../../src/wire/http2/write/sender.ts";

const stalled = (id: number): ReceivingHalf => ({
  id,
  receiveWindow: 65_535,
  windowSize: 65_535,
  uncredited: 0,
  held: 0,
  creditedAt: 0,
  paused: true,
  remoteEnded: false,
  over: false,
});

void t.test(
  "what was withheld for stalled streams, and then for want of memory, comes back with room",
  async (t) => {
    const buffers = new Buffers(1_000_000);
    const limits = resolveLimits({
      connectionWindow: 65_535,
      heldBytes: 40_000,
    });
    const given: number[][] = [];
    const sender = {
      windowUpdate: (...update: number[]) => void given.push(update),
    } as Partial<Sender> as Sender;
    let withheld = 0;
    const onWithheld = (): void => void (withheld += 1);
    const windows = new ReceiveWindows(limits, sender, buffers, onWithheld);
    const [stays, goes] = [stalled(1), stalled(3)];
    windows.received(stays, 30_000, 0);
    windows.received(goes, 11_000, 0);
    buffers.change(600_000);
    windows.released(goes);
    t.strictSame(given, []);
    buffers.change(-600_000);
    await new Promise((resolve) => setImmediate(resolve));
    t.strictSame(given, [[0, 41_000]]);
    t.equal(withheld, 1);
  },
);

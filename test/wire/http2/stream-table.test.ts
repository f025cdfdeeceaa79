/** The table of open streams, against a map that does the same. */
import { Socket } from "node:net";
import fc from "fast-check";
import t from "tap";
import { resolveLimits } from "../../../src/wire/http2/limits.ts";
import { ReceiveWindows } from "../../../src/wire/http2/receive-windows.ts";
import { Sender } from "../../../src/wire/http2/sender.ts";
import { StreamTable } from "../../../src/wire/http2/stream-table.ts";
import { Stream, type StreamHost } from "../../../src/wire/http2/stream.ts";

const limits = resolveLimits();
const sender = new Sender(new Socket(), limits, () => undefined);
const host: StreamHost = {
  sender,
  windows: new ReceiveWindows(limits, sender),
  reset: () => undefined,
  failed: () => undefined,
  settle: () => undefined,
};

class PlainStream extends Stream {
  onFields(): void {
    // None comes.
  }
  onReset(): void {
    // None comes.
  }
  onMalformed(): void {
    // None comes.
  }
  abort(): void {
    // None comes.
  }
}

function same(table: StreamTable, map: ReadonlyMap<number, Stream>): boolean {
  const ids = table.values().map(({ id }) => id);
  return (
    table.size === map.size &&
    ids.length === map.size &&
    [...map].every(([id, stream]) => table.get(id) === stream)
  );
}

void t.test(
  "finds what was put in, and only that, whatever came and went",
  (t) => {
    // Identifiers far apart fall on the same slots; those in a row do not.
    const id = fc.oneof(
      fc.nat(40).map((it) => 2 * it + 1),
      fc.nat(40).map((it) => 4096 * it + 1),
    );
    const step = fc.record({ id, add: fc.boolean() });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
        const table = new StreamTable();
        const map = new Map<number, Stream>();
        for (const { id, add } of steps) {
          if (add) {
            const stream = new PlainStream(host, id, 0);
            table.set(id, stream);
            map.set(id, stream);
          } else {
            table.delete(id);
            map.delete(id);
          }
          if (table.get(id) !== map.get(id)) return false;
        }
        return same(table, map);
      }),
    );
    t.end();
  },
);

void t.test("grows with what it holds, and is empty after clear", (t) => {
  const table = new StreamTable();
  const map = new Map<number, Stream>();
  for (let id = 1; id < 3000; id += 2) {
    const stream = new PlainStream(host, id, 0);
    table.set(id, stream);
    map.set(id, stream);
  }
  t.ok(same(table, map));
  table.clear();
  t.equal(table.size, 0);
  t.equal(table.get(1), undefined);
  t.strictSame(table.values(), []);
  t.end();
});

/** Each socket that was handed over has a worker, and each worker has one of each place. */
import t from "tap";
import type { ListeningSocket } from "../../../src/proxy/downstream/handed-listeners.ts";
import {
  shareOut,
  takeApart,
} from "../../../src/sidecar/handover/share-out.ts";

function socketOf(port: number, descriptor: number): ListeningSocket {
  return { key: "link", host: "::", port, descriptor };
}

function shared(
  sockets: readonly ListeningSocket[],
  workers: number,
): readonly (readonly string[])[] {
  const made = new Map<number, number>();
  const duplicate = (descriptor: number): number => {
    const count = (made.get(descriptor) ?? 0) + 1;
    made.set(descriptor, count);
    return descriptor * 100 + count;
  };
  return shareOut(sockets, workers, duplicate).map((share) =>
    share.map(({ port, descriptor }) => `${port} ${descriptor}`),
  );
}

void t.test("as many workers as sockets of each place", (t) => {
  const sockets = [socketOf(1, 3), socketOf(2, 4), socketOf(1, 5)];
  t.same(shared(sockets, 2), [
    ["1 3", "2 4"],
    ["1 5", "2 401"],
  ]);
  t.end();
});

void t.test("more workers", (t) => {
  t.same(shared([socketOf(1, 3)], 3), [["1 3"], ["1 301"], ["1 302"]]);
  const two = [socketOf(1, 3), socketOf(1, 4)];
  t.same(shared(two, 3), [["1 3"], ["1 4"], ["1 301"]]);
  t.end();
});

void t.test("fewer workers: what waits in a socket is not lost", (t) => {
  const three = [socketOf(1, 3), socketOf(1, 4), socketOf(1, 5)];
  t.same(shared(three, 1), [["1 3", "1 4", "1 5"]]);
  t.same(shared(three, 2), [["1 3", "1 5"], ["1 4"]]);
  t.end();
});

void t.test("what no worker listens on is apart", (t) => {
  const keys = ["link", "admin", "metrics", "dns", "dns datagrams"];
  const sockets = keys.map((key, port) => ({ ...socketOf(port, port), key }));
  const { pages, naming, workers } = takeApart(sockets, 1);
  t.same(
    [pages, naming, ...workers],
    [sockets.slice(1, 3), sockets.slice(3), sockets.slice(0, 1)],
  );
  t.end();
});

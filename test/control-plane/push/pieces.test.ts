/** A push of many bytes leaves the control plane in pieces that keep the buffers of its connections small. */
import { subscribe, unsubscribe } from "node:diagnostics_channel";
import type { ServerHttp2Stream } from "node:http2";
import t from "tap";
import { PIECE } from "../../../src/runtime/stream-pieces.ts";
import {
  route,
  startWithOrders,
} from "../../support/control-plane/push-control-plane.ts";
import { enrolRaw, openRaw } from "../../support/control-plane/raw-sidecar.ts";

const CREATED = "http2.server.stream.created";

void t.test("no write of a push is longer than a piece", async (t) => {
  const writes: number[] = [];
  // Before the server sees the stream, so that what it puts in front of it ends here.
  const watch = (message: unknown): void => {
    const { stream } = message as { readonly stream: ServerHttp2Stream };
    const write = stream._write.bind(stream);
    stream._write = (chunk: Buffer, encoding, done) => {
      writes.push(chunk.length);
      write(chunk, encoding, done);
    };
  };
  subscribe(CREATED, watch);
  t.teardown(() => unsubscribe(CREATED, watch));
  const plane = await startWithOrders(t);
  for (let index = 0; index < 400; index += 1)
    await plane.store.put(route(`route-${index}`, "orders"), "absent");
  const sidecar = openRaw(t, plane.address, await enrolRaw(plane, "web-1"));
  const push = await sidecar.push();
  t.equal(push.names.length, 402);
  const bytes = writes.reduce((sum, length) => sum + length, 0);
  t.ok(bytes > 4 * PIECE, `${bytes} bytes in all`);
  t.ok(Math.max(...writes) <= PIECE, `${Math.max(...writes)} at most`);
});

/** Filters of bodies that stand before each other: what one of them refuses reaches the relay, once, and nothing behind it. */
import t from "tap";
import {
  FilteredStream,
  type RequestBodyReceiver,
} from "../../../src/proxy/exchange/body-filter.ts";
import { limitBody } from "../../../src/proxy/filters/body-limit.ts";
import { Tee } from "../../../src/proxy/filters/shadow.ts";
import { SlowResponse } from "../../../src/proxy/filters/slow-response.ts";
import type { BodyReceiver, ServerStream } from "../../../src/wire/exchange.ts";
import { fakeClock } from "../../support/clocks/fake-clock.ts";

const never = (): never => {
  throw new Error("nobody asks for it");
};

void t.test("a refusal passes the filters between it and the relay", (t) => {
  const heard: string[] = [];
  let caller: BodyReceiver | undefined;
  const stream: ServerStream = {
    head: {
      method: "POST",
      scheme: "http",
      authority: "orders.shop",
      path: "/",
      protocol: undefined,
      fields: [],
      contentLength: undefined,
      acceptsTrailers: false,
      absoluteForm: false,
    },
    ended: false,
    connection: {
      protocol: "http/1.1",
      peer: undefined,
      remoteAddress: "127.0.0.1",
      remotePort: 1,
      localAddress: "127.0.0.1",
      originalDestination: undefined,
    },
    receive: (receiver) => (caller = receiver),
    informational: never,
    respond: never,
    write: never,
    end: never,
    abort: never,
    pause: never,
    resume: never,
  };
  const relay: RequestBodyReceiver = {
    data: (chunk) => heard.push(`data ${chunk.length}`),
    end: () => heard.push("end"),
    abort: () => heard.push("abort"),
    drained: () => heard.push("drained"),
    refused: ({ code }) => heard.push(code),
  };
  const tee = new Tee(false, {
    keep: () => true,
    send: () => heard.push("a copy was sent"),
    drop: (reason) => heard.push(`no copy: ${reason}`),
  });
  tee.open();
  const limit = limitBody({ bytes: 5, policy: "shop/orders" });
  const slow = new SlowResponse(fakeClock(), 100);
  const filtered = [limit, slow, tee].reduce(
    (inner: ServerStream, filter) => new FilteredStream(inner, filter),
    stream,
  );
  filtered.receive(relay);
  caller?.data(Buffer.alloc(5));
  caller?.data(Buffer.alloc(1));
  caller?.data(Buffer.alloc(1));
  caller?.end(undefined);
  t.same(heard, ["data 5", "BODY_TOO_LARGE", "no copy: broken-off"]);
  t.end();
});

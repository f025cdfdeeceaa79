// The report of load as a NOTICE (a frame type of our own, RFC 9113 5.5).
import t from "tap";
import {
  decodeLoadNotice,
  encodeLoadNotice,
} from "../../src/wire/load-notice.ts";

void t.test("what was encoded is decoded", (t) => {
  const notice = {
    port: 8080,
    age: 12,
    inFlight: 7,
    latency: 10.5,
    limit: 40,
  };
  t.strictSame(decodeLoadNotice(encodeLoadNotice(notice)), notice);
  t.end();
});

void t.test("what is too large is said as the largest there is", (t) => {
  const bytes = encodeLoadNotice({
    port: 1,
    age: 1e9,
    inFlight: 1e12,
    latency: 1e12,
    limit: -1,
  });
  t.strictSame(decodeLoadNotice(bytes), {
    port: 1,
    age: 65_535,
    inFlight: 4_294_967_295,
    latency: 4_294_967.295,
    limit: 0,
  });
  t.end();
});

void t.test("another kind, and what cannot be read, is none", (t) => {
  const bytes = encodeLoadNotice({
    port: 1,
    age: 0,
    inFlight: 0,
    latency: 0,
    limit: 0,
  });
  t.equal(decodeLoadNotice(Buffer.alloc(0)), undefined);
  t.equal(decodeLoadNotice(bytes.subarray(0, 16)), undefined);
  t.equal(decodeLoadNotice(Buffer.concat([bytes, Buffer.alloc(1)])), undefined);
  bytes[0] = 2;
  t.equal(decodeLoadNotice(bytes), undefined);
  t.end();
});

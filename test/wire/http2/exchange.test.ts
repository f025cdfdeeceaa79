/** Both ends of ours together: whole exchanges, large bodies both ways, many at once, relayed as the proxy does it. */
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import type { AddressInfo, Socket } from "node:net";
import { connect, createServer } from "node:tls";
import t from "tap";
import { MeshError } from "../../../src/mesh/errors.ts";
import type {
  ClientConnection,
  ServerStream,
} from "../../../src/wire/exchange.ts";
import { fakeAuthority } from "../../support/certificates/certificate-authority.ts";
import { socketPair } from "../../support/http2/raw-peer.ts";
import {
  bothEnds,
  fields,
  lines,
  OK,
  Recorder,
  requestHead,
} from "../../support/http2/ends.ts";

const refusal = new MeshError("STREAM_REFUSED", "", {
  source: "upstream",
  unprocessed: true,
});

/** Answers with what comes, as fast as it is taken. */
function echo(stream: ServerStream): void {
  stream.receive({
    data: (chunk) => {
      if (!stream.write(chunk)) stream.pause();
    },
    end: (trailers) => stream.end(trailers),
    abort: () => undefined,
    drained: () => stream.resume(),
  });
  stream.respond({ ...OK, fields: stream.head.fields }, stream.ended);
}

/** Passes each request on over `upstream`. */
function relay(stream: ServerStream, upstream: ClientConnection): void {
  const request = upstream.request(stream.head, stream.ended, {
    informational: (head) => stream.informational(head),
    head: (head, ended) => stream.respond(head, ended),
    data: (chunk) => {
      if (!stream.write(chunk)) request.pause();
    },
    end: (trailers) => stream.end(trailers),
    abort: (error) => stream.abort(error),
    drained: () => stream.resume(),
  });
  stream.receive({
    data: (chunk) => {
      if (!request.write(chunk)) stream.pause();
    },
    end: (trailers) => request.end(trailers),
    abort: (error) => request.abort(error),
    drained: () => request.resume(),
  });
}

/** Sends `body` in chunks as the stream takes them, and gives the answer. */
async function post(
  client: ClientConnection,
  body: Buffer,
  chunk: number,
): Promise<Recorder> {
  const recorder = new Recorder();
  const stream = client.request(
    requestHead({ method: "POST", fields: fields("x-kind: echo") }),
    false,
    recorder,
  );
  let at = 0;
  const pump = (): void => {
    while (at < body.length) {
      const more = stream.write(body.subarray(at, (at += chunk)));
      if (!more) return;
    }
    stream.end(fields("x-sum: 1"));
  };
  recorder.drained = pump;
  pump();
  await recorder.until("end");
  return recorder;
}

/** Two ends of one TLS 1.3 connection: accepted and dialled. */
async function tlsPair(): Promise<[Socket, Socket]> {
  const { certificateChain, privateKey } = fakeAuthority().issue();
  const server = createServer({ cert: certificateChain, key: privateKey });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  // Who the peer is, is judged elsewhere.
  const dialled = connect({ port, rejectUnauthorized: false });
  const [[accepted]] = (await Promise.all([
    once(server, "secureConnection"),
    once(dialled, "secureConnect"),
  ])) as [[Socket], unknown[]];
  server.close();
  return [accepted, dialled];
}

for (const [hops, pair] of [
  [1, socketPair],
  [2, socketPair],
  [2, tlsPair],
] as const)
  void t.test(
    `bodies of any size come back whole, many at once, over ${hops} hop(s) by ${pair.name}`,
    async (t) => {
      const last = await bothEnds(t, {}, pair);
      last.requests.onRequest = echo;
      let { client } = last;
      if (hops === 2) {
        const upstream = client;
        const first = await bothEnds(t, {}, pair);
        first.requests.onRequest = (stream) => relay(stream, upstream);
        client = first.client;
      }
      const sizes = [
        0, 1, 4095, 4096, 16_384, 16_385, 65_535, 65_536, 300_000, 2_000_000,
      ];
      const bodies = sizes.map((size) => randomBytes(size));
      const answers = await Promise.all(
        bodies.map((body, i) =>
          post(client, body, i % 2 === 0 ? 10_000 : 70_000),
        ),
      );
      answers.forEach((answer, i) => {
        t.ok(bodies[i]?.equals(answer.body), `${sizes[i]} octets`);
        t.strictSame(lines(answer.trailers), ["x-sum: 1"]);
        t.strictSame(lines(answer.heads[0]?.fields), ["x-kind: echo"]);
      });
      t.equal(client.active, 0);
    },
  );

void t.test(
  "a slow reader holds the sender back, and gets everything",
  async (t) => {
    const { client, requests } = await bothEnds(t);
    let written = 0;
    let refused = 0;
    const total = 8_000_000;
    requests.onRequest = (stream) => {
      stream.respond(OK, false);
      const pump = (): void => {
        while (written < total) {
          written += 50_000;
          if (!stream.write(Buffer.alloc(50_000))) {
            refused += 1;
            return;
          }
        }
        stream.end();
      };
      stream.receive({
        data: () => undefined,
        end: () => undefined,
        abort: () => undefined,
        drained: pump,
      });
      pump();
    };
    const recorder = new Recorder();
    const stream = client.request(requestHead(), true, recorder);
    await recorder.until("data");
    stream.pause();
    await client.ping();
    const held = recorder.body.length;
    t.ok(written < 2_000_000, `${written} written while ${held} were read`);
    t.ok(refused > 0);
    stream.resume();
    await recorder.until("end");
    t.equal(recorder.body.length, total);
  },
);

void t.test("thousands of small exchanges, a hundred at a time", async (t) => {
  const { client, requests, observer } = await bothEnds(t, {
    concurrentStreams: 100,
  });
  requests.onRequest = (stream) => {
    echo(stream);
  };
  let done = 0;
  const one = async (i: number): Promise<void> => {
    const recorder = new Recorder();
    client.request(
      requestHead({
        path: `/${i}`,
        fields: fields(`x-id: ${i}`, "user-agent: probe"),
      }),
      true,
      recorder,
    );
    await recorder.until("end");
    if (recorder.heads[0]?.fields[0]?.value === String(i)) done += 1;
  };
  await client.ping();
  for (let round = 0; round < 20; round++)
    await Promise.all(
      Array.from({ length: 100 }, (_, i) => one(round * 100 + i)),
    );
  t.equal(done, 2000);
  t.strictSame(observer.events, []);
});

void t.test(
  "an abort on one side reaches the other, through a relay",
  async (t) => {
    const last = await bothEnds(t);
    const first = await bothEnds(t);
    first.requests.onRequest = (stream) => relay(stream, last.client);
    const recorder = new Recorder();
    const stream = first.client.request(
      requestHead({ method: "POST" }),
      false,
      recorder,
    );
    const far = new Recorder();
    (await last.requests.get()).receive(far);
    stream.abort(refusal);
    await far.until("abort");
    t.match(far.error, { code: "CLIENT_CLOSED" });
    const second = new Recorder();
    first.client.request(requestHead(), true, second);
    (await last.requests.get(1)).abort(refusal);
    await second.until("abort");
    t.match(second.error, { code: "STREAM_REFUSED", unprocessed: true });
  },
);

/** What a peer does not read is bounded: it gets nothing more in, or is left. */
import t from "tap";
import { MeshError } from "../../../../src/mesh/errors.ts";
import { FrameType } from "../../../../src/wire/http2/frames/frames.ts";
import {
  OK,
  rawClient,
  rawServer,
  Recorder,
  requestHead,
} from "../../../support/http2/ends.ts";
import { frame, GET, headers } from "../../../support/http2/raw-peer.ts";

function longField(
  name: string,
  length: number,
): (typeof OK)["fields"][number] {
  return {
    name,
    value: "\xff".repeat(length),
    bits: 0,
    indexing: "without",
    line: undefined,
    literal: undefined,
  };
}

void t.test(
  "a client that does not read its answers gets no more requests in",
  async (t) => {
    const { peer, requests, socket, limited } = await rawClient(t, {
      outputBytesMax: 50_000,
    });
    const large = { ...OK, fields: [{ ...longField("x-large", 8000) }] };
    requests.onRequest = (stream) => stream.respond(large, true);
    peer.socket.pause();
    let id = 1;
    while (!socket.isPaused()) {
      for (let i = 0; i < 20; i++, id += 2) peer.send(headers(id, GET));
      await new Promise((resolve) => setImmediate(resolve));
    }
    t.strictSame(limited, ["output"]);
    const served = requests.streams.length;
    t.ok(served > 0);
    peer.socket.resume();
    await peer.settle();
    t.equal(
      requests.streams.length,
      (id - 1) / 2,
      "all were served in the end",
    );
  },
);

void t.test(
  "a server that floods a client and does not read is left",
  async (t) => {
    const { peer, connection, observer, limited } = await rawServer(t, {
      outputBytesMax: 1000,
      pingsPerSecond: 1e9,
    });
    const recorder = new Recorder();
    connection.request(requestHead(), true, recorder);
    await peer.next(FrameType.HEADERS, 1);
    peer.socket.pause();
    const pings = Buffer.concat(
      Array.from({ length: 5000 }, () =>
        frame(FrameType.PING, 0, 0, "12345678"),
      ),
    );
    while (!observer.events.includes("closed")) {
      peer.send(pings);
      await new Promise((resolve) => setImmediate(resolve));
    }
    t.match(recorder.error, {
      code: "UPSTREAM_PROTOCOL",
      message: /does not read/,
    });
    t.strictSame(limited, ["output"]);
    t.equal(connection.capacity, 0);
  },
);

void t.test(
  "a client's backlog takes its capacity, and gives it back",
  async (t) => {
    const { peer, connection, observer } = await rawServer(t, {
      outputBytesMax: 20_000,
    });
    await peer.settle();
    peer.socket.pause();
    const fields = [longField("x-large", 10_000)];
    let made = 0;
    while (connection.capacity > 0) {
      connection.request(requestHead({ fields }), true, new Recorder());
      made += 1;
      if (made % 10 === 0)
        await new Promise((resolve) => setImmediate(resolve));
    }
    t.ok(made < 1000, "the backlog ended it");
    peer.socket.resume();
    await observer.until("available");
    t.ok(connection.capacity > 0);
    connection.destroy(new MeshError("DRAINING", "", { source: "proxy" }));
  },
);

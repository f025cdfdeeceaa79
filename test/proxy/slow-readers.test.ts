/** A body that its reader takes by and by does not lie in the sidecar, down or up: what comes next waits where it comes from. */
import { once } from "node:events";
import { request as httpRequest, type IncomingMessage } from "node:http";
import { Readable } from "node:stream";
import t, { type Test } from "tap";
import { call, closeCalls } from "../support/peers/call.ts";
import { startLoneSidecar } from "../support/processes/lone-sidecar.ts";

const MIB = 1_048_576;
const BODY = 128 * MIB;
/** After so much the reader stops, and others call so often before it goes on: what can come meanwhile has come. */
const STEP = 8 * MIB;
const CALLS = 10;
/** Half of what would lie there. */
const GROWTH = 64 * MIB;
const CHUNK = Buffer.alloc(MIB / 4, "x");

function body(): Readable {
  let left = BODY;
  return new Readable({
    read() {
      this.push(left > 0 ? CHUNK : null);
      left -= CHUNK.length;
    },
  });
}

/** Reads all of it in steps; gives how many bytes that were. */
async function readSlowly(
  from: Readable,
  between: () => Promise<void>,
): Promise<number> {
  let octets = 0;
  let next = STEP;
  for await (const chunk of from as AsyncIterable<Buffer>) {
    octets += chunk.length;
    if (octets < next) continue;
    next += STEP;
    await between();
  }
  return octets;
}

for (const direction of ["down", "up"] as const)
  void t.test(direction, { timeout: 300_000 }, async (t: Test) => {
    let highest = 0;
    let stops = 0;
    let uploaded: Promise<number> | undefined;
    const sidecar = await startLoneSidecar((request, response) => {
      if (request.url === "/down") body().pipe(response);
      else if (request.url === "/up") {
        uploaded = readSlowly(request, look);
        void uploaded.then(() => response.end("ok"));
      } else response.end("ok");
    });
    t.teardown(async () => {
      closeCalls();
      await sidecar.stop();
    });
    const others = async (): Promise<void> => {
      for (let index = 0; index < CALLS; index += 1) {
        const { status } = await call(
          `http://127.0.0.1:${sidecar.published}/`,
          {
            headers: { host: "orders.shop" },
          },
        );
        if (status !== 200) t.fail(`another call got ${status}`);
      }
    };
    async function look(): Promise<void> {
      await others();
      highest = Math.max(highest, sidecar.resident());
      stops += 1;
    }
    await others();
    const quiet = sidecar.resident();
    const request = httpRequest({
      ...{ host: "127.0.0.1", port: sidecar.published, agent: false },
      ...{ path: `/${direction}`, method: direction === "up" ? "PUT" : "GET" },
      headers: { host: "orders.shop" },
    });
    if (direction === "up") body().pipe(request);
    else request.end();
    const [response] = (await once(request, "response")) as [IncomingMessage];
    t.equal(response.statusCode, 200);
    if (direction === "up") {
      response.resume();
      t.equal(await uploaded, BODY);
    } else t.equal(await readSlowly(response, look), BODY);
    t.equal(stops, BODY / STEP);
    t.ok(
      highest - quiet < GROWTH,
      `resident memory grew by ${(highest - quiet) / MIB} MiB`,
    );
  });

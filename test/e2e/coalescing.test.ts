// Thousands of calls a second of the local application, in a process of its own: they wait for each other, and each has its answer.
import { once } from "node:events";
import { connect } from "node:net";
import t, { type Test } from "tap";
import { startLoneSidecar, type LoneSidecar } from "../harness/lone-sidecar.ts";

/** Calls of each number of callers. */
const CALLS = 4096;
/** Callers, each with one call at a time: with some number of them, calls come by the thousand and one by one on every machine. */
const CALLERS = [1, 2, 3, 4, 8];
/** Calls a second from which they may wait, with room for a machine that is slow for a moment. */
const OFTEN_ENOUGH = 5000;
const WAITS = "wherry_coalescing_waits_total";

/** One call after the other on a connection; the bodies of the answers. */
async function caller(
  { outbound, appPort }: LoneSidecar,
  calls: () => number | undefined,
): Promise<string[]> {
  const socket = connect(outbound, "127.0.0.1");
  await once(socket, "connect");
  const bodies: string[] = [];
  let received = "";
  const ended = Promise.withResolvers<undefined>();
  const next = (): void => {
    const call = calls();
    if (call === undefined) socket.end();
    else
      socket.write(
        `GET /${call} HTTP/1.1\r\nHost: 127.0.0.1:${appPort}\r\n\r\n`,
      );
  };
  socket.on("data", (chunk: Buffer) => {
    received += chunk.toString("latin1");
    const answer = /^HTTP\/1\.1 (\d+) [^]*?\r\n\r\n(\d*)\n/.exec(received);
    if (answer === null) return;
    received = "";
    bodies.push(answer[1] === "200" ? (answer[2] ?? "") : answer[0]);
    next();
  });
  socket.on("error", ended.reject);
  socket.on("close", () => ended.resolve(undefined));
  next();
  await ended.promise;
  return bodies;
}

/** Calls a second that were made, each of them answered as it should be. */
async function load(
  t: Test,
  sidecar: LoneSidecar,
  callers: number,
): Promise<number> {
  let made = 0;
  const calls = (): number | undefined => (made < CALLS ? made++ : undefined);
  const begun = performance.now();
  const bodies = await Promise.all(
    Array.from({ length: callers }, () => caller(sidecar, calls)),
  );
  const seconds = (performance.now() - begun) / 1000;
  const answered = bodies.flat().map(Number);
  t.same(
    answered.sort((one, other) => one - other),
    Array.from({ length: CALLS }, (_, call) => call),
    `${callers} callers: each call has its answer`,
  );
  return CALLS / seconds;
}

for (const coalescing of [true, false])
  void t.test(
    `calls that come one by one ${coalescing ? "wait for each other" : "are served at once with --no-coalescing"}`,
    process.platform === "linux" ? {} : { skip: "Linux alone" },
    async (t) => {
      const sidecar = await startLoneSidecar(
        ({ url = "" }, answer) => answer.end(`${url.slice(1)}\n`),
        coalescing ? [] : ["--no-coalescing"],
      );
      t.teardown(() => sidecar.stop());
      let most = 0;
      for (const callers of CALLERS)
        most = Math.max(most, await load(t, sidecar, callers));
      const waits = await sidecar.metric(WAITS);
      t.comment(`${most.toFixed(0)} calls/s at most, ${waits} waits`);
      if (!coalescing) t.equal(waits, 0);
      else if (most >= OFTEN_ENOUGH) t.ok(waits > 0, `${waits} waits`);
      else t.comment("too slow a machine for calls to wait");
    },
  );

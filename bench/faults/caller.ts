/** The caller's process: so many calls a second at the moments that a schedule has, through the sidecar on its host, each written down. */
import { appendFileSync } from "node:fs";
import { createServer } from "node:net";
import { Pool } from "undici";
import { systemClock } from "../../src/core/clock.ts";
import { messageOf } from "../../src/core/errors.ts";
import { formatRecord, NOBODY, type Method } from "./calls.ts";
import { DEADLINE, PORTS, type Mix } from "./layout.ts";

/** Milliseconds between two looks at the schedule, and between two writes. */
const STEP = 1;
const WRITE = 200;

const [file = "", host = "", rate = "200", mix = "get"] = process.argv.slice(2);
const clock = systemClock;
const pool = new Pool(`http://127.0.0.1:${PORTS.outbound}`, {
  connections: null,
  pipelining: 1,
  // Each call has a deadline of its own.
  headersTimeout: 0,
  bodyTimeout: 0,
});
const BODY = "x".repeat(200);

let next = clock.now();
let count = 0;
let open = 0;
let over = false;
let lines = "";

function methodOf(index: number): Method {
  const wanted = mix as Mix;
  return wanted === "get" || (wanted === "mixed" && index % 2 === 0)
    ? "GET"
    : "POST";
}

async function call(due: number, method: Method): Promise<void> {
  open += 1;
  const { by, fault } = await callOnce(method);
  open -= 1;
  lines += formatRecord({ due, took: clock.now() - due, method, by, fault });
}

async function callOnce(
  method: Method,
): Promise<{ readonly by: string; readonly fault: string }> {
  let by = NOBODY;
  try {
    const { statusCode, headers, body } = await pool.request({
      method,
      path: "/",
      headers: { host },
      ...(method === "POST" ? { body: BODY } : {}),
      signal: AbortSignal.timeout(DEADLINE),
    });
    by = String(headers["x-answered-by"] ?? NOBODY);
    // Not dump(), which takes a body that breaks off for a whole one.
    await body.bytes();
    const reason = String(headers["x-wherry-reason"] ?? "");
    return {
      by,
      fault: statusCode === 200 ? "" : `${statusCode} ${reason}`.trim(),
    };
  } catch (thrown) {
    const late = thrown instanceof Error && thrown.name === "TimeoutError";
    const what = by === NOBODY ? "no answer" : "no end of the answer";
    return {
      by,
      fault: late
        ? `${what} within ${DEADLINE / 1000} s`
        : messageOf(thrown).replaceAll(/\s+/g, " "),
    };
  }
}

function write(): void {
  if (lines === "") return;
  appendFileSync(file, lines);
  lines = "";
}

function step(): void {
  const now = clock.now();
  for (; !over && next <= now; next += 1000 / Number(rate)) {
    void call(next, methodOf(count));
    count += 1;
  }
  if (over && open === 0) {
    stopSteps();
    stopWriting();
    write();
    process.stdout.write("all calls are over\n");
    alive.close();
    void pool.close();
  }
}

process.once("SIGTERM", () => (over = true));
const stopSteps = clock.every(STEP, step);
const stopWriting = clock.every(WRITE, write);
// The clock's own timers keep no process alive.
const alive = createServer().listen(0, "127.0.0.1");
process.stdout.write("calls begin\n");

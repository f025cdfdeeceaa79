/** A callee's application: answers with its name, or hangs or drips once it is told to. */
import { createServer, type ServerResponse } from "node:http";
import { systemClock } from "../../src/core/clock.ts";
import { PORTS, type Behaviour } from "./layout.ts";

/** Milliseconds between two bytes of one that drips. */
const DRIP = 1000;
const BODY = "x".repeat(130);

const [name = "callee"] = process.argv.slice(2);
let behaviour: Behaviour = "answers";

function drip(response: ServerResponse): void {
  response.writeHead(200, { "content-length": BODY.length });
  let at = 0;
  const stop = systemClock.every(DRIP, () => {
    if (at < BODY.length) response.write(BODY.charAt((at += 1) - 1));
    else response.end();
  });
  response.on("close", stop);
}

createServer((request, response) => {
  request.resume();
  request.on("error", () => undefined);
  response.setHeader("x-answered-by", name);
  if (behaviour === "hangs") return;
  request.on("end", () => {
    if (behaviour === "drips") drip(response);
    else response.end(BODY);
  });
}).listen(PORTS.application, "127.0.0.1");

// "/hangs" makes it hang from now on.
createServer((request, response) => {
  behaviour = (request.url ?? "/").slice(1) as Behaviour;
  response.end();
}).listen(PORTS.orders, "0.0.0.0", () => {
  process.stdout.write("the application listens\n");
});

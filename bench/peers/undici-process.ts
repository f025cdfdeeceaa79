/** node:http in front, undici behind, as a process: plain to plain. */
import { createServer, type IncomingHttpHeaders } from "node:http";
import { Pool } from "undici";

const [port = "0", target = ""] = process.argv.slice(2);
const pool = new Pool(target, { connections: 256 });
/** Of one connection: neither side's are the other's. */
function endToEnd({
  connection: _connection,
  "keep-alive": _keepAlive,
  "transfer-encoding": _transferEncoding,
  ...rest
}: IncomingHttpHeaders): IncomingHttpHeaders {
  return rest;
}

const server = createServer((request, response) => {
  const method = request.method ?? "GET";
  pool
    .request({
      path: request.url ?? "/",
      method,
      headers: endToEnd(request.headers),
      body: method === "GET" || method === "HEAD" ? null : request,
    })
    .then((answer) => {
      response.writeHead(answer.statusCode, endToEnd(answer.headers));
      answer.body.pipe(response);
      answer.body.on("error", () => response.destroy());
    })
    .catch(() => {
      if (response.headersSent) response.destroy();
      else response.writeHead(502).end();
    });
});
server.listen(Number(port), "127.0.0.1");
process.on("SIGTERM", () => {
  server.closeAllConnections();
  server.close(() => void pool.destroy());
});

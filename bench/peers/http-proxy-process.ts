/** One http-proxy as a process: plain to plain, as its README shows it. */
import { Agent, createServer } from "node:http";
import httpProxy from "http-proxy";

const [port = "0", target = ""] = process.argv.slice(2);
const proxy = httpProxy.createProxyServer({
  target,
  agent: new Agent({ keepAlive: true }),
});
proxy.on("error", (_error, _request, response) => {
  if ("writeHead" in response) response.writeHead(502).end();
  else response.destroy();
});
const server = createServer((request, response) =>
  proxy.web(request, response),
);
server.listen(Number(port), "127.0.0.1");
process.on("SIGTERM", () => {
  server.closeAllConnections();
  server.close(() => {
    proxy.close();
  });
});

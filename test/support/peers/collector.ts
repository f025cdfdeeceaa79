/** A collector of spans on a port of its own: takes OTLP over HTTP as Jaeger does, and keeps what it got. */
import { once } from "node:events";
import {
  createServer,
  type IncomingHttpHeaders,
  type ServerResponse,
} from "node:http";
import type { AddressInfo } from "node:net";
import type { Test } from "tap";
import { readExport, type ReceivedSpan } from "../../../src/demo/otlp.ts";

export interface Collector {
  readonly endpoint: string;
  readonly spans: readonly ReceivedSpan[];
  /** "POST /v1/traces", one for each export that was taken or refused. */
  readonly paths: readonly string[];
  readonly headers: readonly IncomingHttpHeaders[];
}

/** Until the test ends. `answer` takes the place of a 200, whatever it does with the response. */
export async function startCollector(
  t: Pick<Test, "teardown">,
  answer: (response: ServerResponse) => void = (response) =>
    void response.writeHead(200).end(),
): Promise<Collector> {
  const spans: ReceivedSpan[] = [];
  const paths: string[] = [];
  const headers: IncomingHttpHeaders[] = [];
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => void chunks.push(chunk));
    request.on("end", () => {
      paths.push(`${request.method ?? ""} ${request.url ?? ""}`);
      headers.push(request.headers);
      spans.push(...readExport(Buffer.concat(chunks)));
      answer(response);
    });
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  return { endpoint: `http://127.0.0.1:${port}`, spans, paths, headers };
}

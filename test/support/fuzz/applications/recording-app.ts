/** The application behind the sidecars: it reads every byte by the letter of the grammar, keeps each request under the number of its case, and says 200. */
import type { Socket } from "node:net";
import { AppServers } from "./app-servers.ts";
import type { Arrived } from "../policy.ts";

export interface Recorded extends Arrived {
  readonly body: string;
  readonly trailers: readonly string[];
  /** Everything that must not depend on the listener, in one text. */
  readonly canonical: string;
  readonly app: "http" | "canary" | "open";
}

/** The field that carries a case's number: a fixed width, so that it can be blotted out wherever it stands. */
export const CASE_FIELD = "x-case";
const CASE = /#\d{8}\.[a-z0-9]{3}\.\d{3}#/g;

/** What each hop adds or owns, or what differs between versions without meaning anything: framing. */
const HOP =
  /^(?:x-case|connection|te|content-length|transfer-encoding|traceparent|tracestate|b3|x-b3-.*|x[-_]forwarded[-_].*|x-wherry-.*|forwarded|x[-_]real[-_]ip|via|max-forwards)$/;
const OK = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
const VALUE = /^[\t\x20-\x7e\x80-\xff]*$/;

export class RecordingApp {
  /** By case number and listener, as `x-case` had it; removed by whoever takes it. */
  readonly requests: Map<string, Recorded[]> = new Map<string, Recorded[]>();
  /** Bytes that are no request by the letter, and requests that nobody sent. */
  readonly violations: string[] = [];
  readonly #servers = new AppServers();

  listen(app: Recorded["app"]): Promise<number> {
    return this.#servers.listen((socket) => this.#serve(socket, app));
  }

  close(): void {
    this.#servers.close();
  }

  /** Takes what came under this number. */
  take(id: string): readonly Recorded[] {
    const found = this.requests.get(id);
    if (found === undefined) return [];
    this.requests.delete(id);
    return found;
  }

  #serve(socket: Socket, app: Recorded["app"]): void {
    let text = "";
    socket.on("data", (chunk: Buffer) => {
      text += chunk.toString("latin1");
      while (text !== "") {
        const end = this.#request(text, app);
        if (end === undefined) return;
        if (end === -1) {
          socket.destroy();
          return;
        }
        text = text.slice(end);
        socket.write(OK);
      }
    });
  }

  /** Where the request at the beginning of `text` ends; undefined where it has not come to its end, -1 where it is none. */
  #request(text: string, app: Recorded["app"]): number | undefined {
    const headEnd = text.indexOf("\r\n\r\n");
    if (headEnd === -1) return undefined;
    const [first = "", ...lines] = text.slice(0, headEnd).split("\r\n");
    const [method = "", target = "", version = "", more] = first.split(" ");
    const flaw = (why: string): -1 => {
      this.violations.push(`${why}: ${JSON.stringify(text.slice(0, 2000))}`);
      return -1;
    };
    if (!TOKEN.test(method) || more !== undefined || version !== "HTTP/1.1")
      return flaw("not a request line");
    if (!/^[\x21-\x22\x24-\x7e]+$/.test(target)) return flaw("not a target");
    const fields: (readonly [string, string])[] = [];
    for (const line of lines) {
      const colon = line.indexOf(":");
      const name = line.slice(0, colon).toLowerCase();
      const value = line.slice(colon + 1).replace(/^ /, "");
      if (colon < 1 || !TOKEN.test(name) || !VALUE.test(value))
        return flaw("not a field line");
      fields.push([name, value]);
    }
    const all = (wanted: string): string[] =>
      fields.filter(([name]) => name === wanted).map(([, value]) => value);
    const hosts = all("host");
    if (hosts.length !== 1) return flaw(`${hosts.length} hosts`);
    const lengths = all("content-length");
    const codings = all("transfer-encoding");
    if (lengths.length + codings.length > 1) return flaw("two framings");
    const start = headEnd + 4;
    let end = start;
    let body = "";
    const trailers: string[] = [];
    if (lengths[0] !== undefined) {
      // Sixteen digits at most (decision 009).
      if (!/^\d{1,16}$/.test(lengths[0])) return flaw("not a length");
      end = start + Number(lengths[0]);
      if (text.length < end) return undefined;
      body = text.slice(start, end);
    } else if (codings[0] !== undefined) {
      if (codings[0] !== "chunked") return flaw("not chunked");
      const read = readChunks(text, start, trailers);
      if (read === undefined) return undefined;
      if (typeof read === "string") return flaw(read);
      ({ end, body } = read);
    }
    this.#keep(
      all(CASE_FIELD),
      { method, target, host: hosts[0] ?? "", fields, body, trailers, app },
      text.slice(0, end),
    );
    return end;
  }

  #keep(
    ids: readonly string[],
    request: Omit<Recorded, "canonical">,
    text: string,
  ): void {
    const [id] = ids;
    if (id === undefined || ids.length > 1) {
      this.violations.push(
        `a request that no case is: ${JSON.stringify(text.slice(0, 2000))}`,
      );
      return;
    }
    const recorded = { ...request, canonical: canonicalOf(request) };
    const there = this.requests.get(id);
    if (there === undefined) this.requests.set(id, [recorded]);
    else there.push(recorded);
  }
}

function canonicalOf({
  method,
  target,
  host,
  fields,
  body,
  trailers,
}: Omit<Recorded, "canonical">): string {
  const lines: string[] = [];
  const cookies: string[] = [];
  for (const [name, value] of fields)
    if (name === "cookie") cookies.push(value);
    else if (name !== "host" && !HOP.test(name))
      lines.push(`${name}: ${value}`);
  // HTTP/2 may cut a cookie into crumbs (RFC 9113 8.2.3).
  if (cookies.length > 0) lines.push(`cookie: ${cookies.join("; ")}`);
  // The order of fields with different names means nothing (RFC 9110 5.3).
  lines.sort((a, b) => {
    const left = a.slice(0, a.indexOf(":"));
    const right = b.slice(0, b.indexOf(":"));
    return left < right ? -1 : left > right ? 1 : 0;
  });
  return `${method} ${target}\nhost: ${host}\n${lines.join("\n")}\n\n${body}\n${trailers.join("\n")}`.replaceAll(
    CASE,
    "#",
  );
}

/** Chunks by the letter; undefined where more must come, a text where it is none. */
export function readChunks(
  text: string,
  start: number,
  trailers: string[],
): { readonly end: number; readonly body: string } | string | undefined {
  let at = start;
  let body = "";
  for (;;) {
    const lineEnd = text.indexOf("\r\n", at);
    if (lineEnd === -1) return undefined;
    const line = text.slice(at, lineEnd);
    if (!/^[0-9a-fA-F]{1,8}$/.test(line)) return "not a chunk size";
    const size = Number.parseInt(line, 16);
    at = lineEnd + 2;
    if (size === 0) break;
    if (text.length < at + size + 2) return undefined;
    if (text.slice(at + size, at + size + 2) !== "\r\n")
      return "not the end of a chunk";
    body += text.slice(at, at + size);
    at += size + 2;
  }
  for (;;) {
    const lineEnd = text.indexOf("\r\n", at);
    if (lineEnd === -1) return undefined;
    const line = text.slice(at, lineEnd);
    at = lineEnd + 2;
    if (line === "") return { end: at, body };
    const colon = line.indexOf(":");
    if (colon < 1 || !TOKEN.test(line.slice(0, colon))) return "not a trailer";
    trailers.push(line);
  }
}

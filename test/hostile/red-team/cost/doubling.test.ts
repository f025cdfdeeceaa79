/** Each field that the sidecar reads, each form of path, query, body and trailer, and each byte by itself: twice the size costs at most about twice the CPU, at every listener and from the application (law 15). */
import { connect as connectH2, type OutgoingHttpHeaders } from "node:http2";
import { connect } from "node:net";
import t from "tap";
import { closeCalls } from "../../../support/peers/call.ts";
import { startLoneSidecar } from "../../../support/processes/lone-sidecar.ts";

/** Bytes of the smaller one; twice that is within what a head may have. */
const SIZE = 28_000;
const LINE = 7000;
/** Quadratic work takes four times as much. */
const MOST = 3;
/** Milliseconds of CPU that are no reason to look closer: what else the process does in the meantime. */
const NOISE = 6;
const TRIES = 6;

const ROUTES = (appPort: number): string => `
---
apiVersion: mesh.wherry.dev/v1alpha1
kind: Service
metadata: { name: web, namespace: shop }
spec:
  ports: [{ name: http, port: 80, appProtocol: http }]
  selector: { app: web }
---
apiVersion: mesh.wherry.dev/v1alpha1
kind: Workload
metadata: { name: web-1, namespace: shop, labels: { app: web } }
spec:
  address: 127.0.0.1
  ports: { http: ${appPort} }
  serviceAccount: web
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: web, namespace: shop }
spec:
  parentRefs: [{ group: mesh.wherry.dev, kind: Service, name: web, port: 80 }]
  rules:
    - matches:
        - { path: { type: RegularExpression, value: "/(a+)+/.*x" } }
        - { headers: [{ name: x-re, type: RegularExpression, value: "(a|a)*b" }] }
        - { headers: [{ name: x-re, value: "1" }], queryParams: [{ name: p, value: "1" }] }
        - { queryParams: [{ name: q, value: "1" }, { name: r, type: RegularExpression, value: "(a+)+b" }] }
        - { queryParams: [{ name: q, value: "2" }, { name: s, value: "1" }] }
        - { queryParams: [{ name: q, value: "3" }, { name: t, value: "1" }] }
      backendRefs: [{ name: web, port: 80 }]
    - matches: [{ path: { type: PathPrefix, value: /a/a/a } }]
      filters:
        - type: CORS
          cors: { allowOrigins: ["https://*.shop.example"], allowMethods: [GET], allowHeaders: [x-token], maxAge: 600 }
      backendRefs: [{ name: web, port: 80 }]
    - backendRefs: [{ name: web, port: 80 }]
---
apiVersion: mesh.wherry.dev/v1alpha1
kind: TrafficPolicy
metadata: { name: web, namespace: shop }
spec:
  targetRefs: [{ kind: Service, name: web }]
  loadBalancer: { consistentHash: { httpCookie: { name: basket, path: /, ttl: 1h } } }
---
apiVersion: mesh.wherry.dev/v1alpha1
kind: TrafficPolicy
metadata: { name: orders, namespace: shop }
spec:
  targetRefs: [{ kind: Service, name: orders }]
  rateLimit: { requests: 100000, interval: 1s, key: "request.headers[x-user]" }
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: no-admin, namespace: shop }
spec:
  action: DENY
  rules:
    - to:
        - operation: { paths: ["/{*}/admin/{**}", "/%C3/*", "*/secret"], hosts: ["admin.*"] }
`;

/** What the application says, byte for byte, where it is asked for it. */
let said = "";
const sidecar = await startLoneSidecar(
  (request, response) => {
    request.resume();
    if (request.headers["x-say"] === "1") request.socket.end(said, "latin1");
    else response.end("ok");
  },
  [],
  ROUTES,
);
t.teardown(async () => {
  closeCalls();
  await sidecar.stop();
});

/** Sends it, in pieces of `piece` bytes, and resolves once the other side has closed. */
function send(port: number, text: string, piece = text.length): Promise<void> {
  return new Promise((resolve) => {
    const socket = connect({ port, host: "127.0.0.1", noDelay: true });
    socket.on("error", () => undefined);
    socket.on("close", () => resolve());
    socket.resume();
    let at = 0;
    const next = (): void => {
      if (at >= text.length || socket.destroyed) return;
      socket.write(text.slice(at, at + piece), "latin1", next);
      at += piece;
    };
    socket.on("connect", next);
  });
}

/**
 * What `run` costs the sidecar's event loop: the median with the smaller, and the least with the larger. Not the least of both: the kernel
 * may hand over in one piece what was sent byte by byte, and a single run is then cheaper than any other.
 */
async function isLinear(
  run: (size: number) => Promise<void>,
  size: number,
): Promise<string | undefined> {
  const small: number[] = [];
  let once = Number.POSITIVE_INFINITY;
  let twice = Number.POSITIVE_INFINITY;
  const cost = async (of: number): Promise<number> => {
    const before = sidecar.loopCpu();
    await run(of);
    return sidecar.loopCpu() - before;
  };
  for (let attempt = 0; attempt < TRIES; attempt += 1) {
    small.push(await cost(size));
    small.sort((one, other) => one - other);
    once = small[small.length >> 1] ?? once;
    twice = Math.min(twice, await cost(size * 2));
    if (twice < NOISE || twice < once * MOST) return undefined;
  }
  return `${once.toFixed(1)} ms of CPU, and ${twice.toFixed(1)} ms with twice the size`;
}

const REQUEST_FIELDS: readonly string[] = [
  ..."Accept Accept-Encoding Authorization Baggage B3 Cache-Control".split(" "),
  ..."Connection Content-Length Content-Type Cookie Date Expect".split(" "),
  ..."Forwarded Grpc-Timeout Idempotency-Key Keep-Alive Origin".split(" "),
  ..."Max-Forwards Proxy-Connection Range Referer TE Traceparent".split(" "),
  ..."Tracestate Trailer Transfer-Encoding Upgrade User-Agent Via".split(" "),
  ..."X-Forwarded-Client-Cert X-Forwarded-For X-Re X-Request-Id".split(" "),
  ..."X-User X-Wherry-Destination X-Wherry-Deadline X-B3-TraceId".split(" "),
  ..."Access-Control-Request-Headers Access-Control-Request-Method".split(" "),
];
const RESPONSE_FIELDS: readonly string[] = [
  ..."Age Cache-Control Connection Content-Length Content-Type Date".split(" "),
  ..."Grpc-Status Keep-Alive Location Retry-After Server Set-Cookie".split(" "),
  ..."Trailer Transfer-Encoding Vary Via X-Wherry-Reason".split(" "),
  ..."X-Wherry-Load X-Wherry-Level Access-Control-Allow-Origin".split(" "),
];

const SHAPES: Readonly<Record<string, (size: number) => string>> = {
  blanks: (size) => `a${" ".repeat(size)}b`,
  tabs: (size) => `a${"\t ".repeat(size / 2)};`,
  commas: (size) => ",".repeat(size),
  members: (size) => "a,".repeat(size / 2),
  "members with blanks": (size) => "a ,\t".repeat(size / 4),
  pairs: (size) => "a=b;".repeat(size / 4),
  semicolons: (size) => ";".repeat(size),
  quotes: (size) => `"${'\\"'.repeat(size / 2)}`,
  digits: (size) => "9".repeat(size),
  letters: (size) => "a".repeat(size),
  escapes: (size) => "%ff".repeat(size / 3),
  colons: (size) => ":1".repeat(size / 2),
};

const LISTENERS = [
  { listener: "published", port: sidecar.published, host: "orders.shop" },
  { listener: "outbound", port: sidecar.outbound, host: "web.shop" },
] as const;

/** Runs the table with as few tests as it has fields: a failure names all that failed. */
function table(
  what: string,
  rows: Readonly<Record<string, (size: number) => Promise<void>>>,
  size: number,
): void {
  void t.test(what, { timeout: 120_000 }, async (t) => {
    for (const [name, run] of Object.entries(rows))
      t.equal(await isLinear(run, size), undefined, name);
  });
}

const END = "Connection: close\r\n\r\n";

for (const { listener, port, host } of LISTENERS) {
  const ask = (line: string, fields = ""): string =>
    `${line} HTTP/1.1\r\nHost: ${host}\r\n${fields}${END}`;

  for (const field of REQUEST_FIELDS)
    table(
      `${field} at the ${listener} port`,
      Object.fromEntries(
        Object.entries(SHAPES).map(([shape, make]) => [
          shape,
          (size) => send(port, ask("GET /", `${field}: ${make(size)}\r\n`)),
        ]),
      ),
      SIZE,
    );

  const path = (make: (size: number) => string) => (size: number) =>
    send(port, ask(`GET ${make(size)}`));
  table(
    `the target at the ${listener} port`,
    {
      slashes: path((size) => "/".repeat(size)),
      elements: path((size) => "/a".repeat(size / 2)),
      dots: path((size) => `/a${"/..".repeat(size / 3)}`),
      "dots and elements": path((size) => "/a/..".repeat(size / 5)),
      "single dots": path((size) => "/.".repeat(size / 2)),
      escapes: path((size) => `/${"%61".repeat(size / 3)}`),
      "escaped slashes": path((size) => `/a${"%2f".repeat(size / 3)}`),
      "escapes that stay": path((size) => `/${"%C3".repeat(size / 3)}`),
      backslashes: path((size) => `/${"\\".repeat(size)}`),
      "a regular expression": path((size) => `/${"a".repeat(size)}`),
      parameters: path((size) => `/?${"a&".repeat(size / 2)}`),
      "parameters with values": path((size) => `/?${"a=b&".repeat(size / 4)}`),
      "parameters that are escaped": path(
        (size) => `/?${"%ff&".repeat(size / 4)}`,
      ),
      "one parameter": path((size) => `/?q=${"a".repeat(size)}`),
      "a parameter for a regular expression": path(
        (size) => `/?q=1&r=${"a".repeat(size)}`,
      ),
      "equals signs": path((size) => `/?${"=".repeat(size)}`),
      "absolute form": path((size) => `http://${host}${"/?".repeat(size / 2)}`),
      "absolute form without a path": path(
        (size) => `http://${"a".repeat(size)}`,
      ),
    },
    LINE,
  );

  const fields = (make: (index: number) => string) => (size: number) =>
    send(
      port,
      ask(
        "GET /",
        Array.from({ length: size }, (_each, index) => make(index)).join(""),
      ),
    );
  table(
    `many fields at the ${listener} port`,
    {
      "names that are new": fields((index) => `x-${index}: a\r\n`),
      "the same name": fields(() => "x-user: a\r\n"),
      cookies: fields(() => "cookie: basket=a; b=c\r\n"),
      "options of the connection": fields(
        (index) => `connection: x-${index}\r\n`,
      ),
      "long values": fields((index) => `x-${index}: ${"a".repeat(500)}\r\n`),
    },
    45,
  );

  const chunked = (make: (size: number) => string) => (size: number) =>
    send(port, ask("POST /", "Transfer-Encoding: chunked\r\n") + make(size));
  table(
    `a chunked body at the ${listener} port`,
    {
      "one byte a chunk": chunked(
        (size) => `${"1\r\na\r\n".repeat(size / 6)}0\r\n\r\n`,
      ),
      extensions: chunked(
        (size) => `${'1;a="b";c\r\na\r\n'.repeat(size / 15)}0\r\n\r\n`,
      ),
      "a trailer": chunked((size) => `0\r\nx: ${"a".repeat(size / 8)}\r\n\r\n`),
    },
    SIZE,
  );

  const pieces = (make: (size: number) => string) => (size: number) =>
    send(port, make(size), 1);
  table(
    `byte by byte at the ${listener} port`,
    {
      "short lines": pieces(
        (size) => `GET / HTTP/1.1\r\n${"a\r\n".repeat(size / 3)}\r\n`,
      ),
      "a long line": pieces((size) =>
        ask("GET /", `x: ${"a".repeat(size)}\r\n`),
      ),
      "a long first line": pieces((size) => ask(`GET /${"a".repeat(size)}`)),
      "a trailer": pieces(
        (size) =>
          `${ask("POST /", "Transfer-Encoding: chunked\r\n")}0\r\nx: ${"a".repeat(size)}\r\n\r\n`,
      ),
    },
    3000,
  );
}

/** One request over HTTP/2 on a connection of its own; resolves once it has its response, or was reset. */
function sendH2(port: number, headers: OutgoingHttpHeaders): Promise<void> {
  return new Promise((resolve) => {
    const session = connectH2(`http://127.0.0.1:${port}`);
    const over = (): void => session.destroy();
    session.on("error", over);
    session.on("close", () => resolve());
    const stream = session.request(headers);
    stream.on("error", over);
    stream.on("close", over);
    stream.resume();
    stream.end();
  });
}

for (const { listener, port, host } of LISTENERS) {
  const ask =
    (make: (size: number) => OutgoingHttpHeaders) =>
    (size: number): Promise<void> =>
      sendH2(port, { ":path": "/", ":authority": host, ...make(size) });
  table(
    `over HTTP/2 at the ${listener} port`,
    {
      "a long value": ask((size) => ({ "x-re": "a".repeat(size) })),
      "a value of escapes": ask((size) => ({ "x-user": "\\".repeat(size) })),
      "cookies in one": ask((size) => ({ cookie: "a=b; ".repeat(size / 5) })),
      "cookies in crumbs": ask((size) => ({
        cookie: Array.from({ length: size / 500 }, () => "a".repeat(490)),
      })),
      elements: ask((size) => ({ ":path": "/a".repeat(size / 4) })),
      dots: ask((size) => ({ ":path": "/a/..".repeat(size / 10) })),
      parameters: ask((size) => ({ ":path": `/?${"a&".repeat(size / 4)}` })),
      "new names": ask((size) =>
        Object.fromEntries(
          Array.from({ length: size / 400 }, (_each, index) => [
            `x-${index}`,
            "same",
          ]),
        ),
      ),
      "a preflight": ask((size) => ({
        ":method": "OPTIONS",
        ":path": "/a/a/a",
        origin: "https://a.shop.example",
        "access-control-request-method": "GET",
        "access-control-request-headers": "a, ".repeat(size / 3) + "b",
      })),
    },
    20_000,
  );
}

const saying = (make: (size: number) => string) => (size: number) => {
  said = make(size);
  return send(
    sidecar.published,
    `GET / HTTP/1.1\r\nHost: orders.shop\r\nX-Say: 1\r\n${END}`,
  );
};
for (const field of RESPONSE_FIELDS)
  table(
    `${field} from the application`,
    Object.fromEntries(
      Object.entries(SHAPES).map(([shape, make]) => [
        shape,
        saying(
          (size) =>
            `HTTP/1.1 200 OK\r\n${field}: ${make(size)}\r\nContent-Length: 0\r\n\r\n`,
        ),
      ]),
    ),
    SIZE,
  );
table(
  "bodies and trailers from the application",
  {
    "one byte a chunk": saying(
      (size) =>
        `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n${"1\r\na\r\n".repeat(size / 6)}0\r\n\r\n`,
    ),
    "a trailer": saying(
      (size) =>
        `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nx: ${"a".repeat(size / 8)}\r\n\r\n`,
    ),
    "a reason phrase": saying(
      (size) =>
        `HTTP/1.1 200 ${" a".repeat(size / 2)}\r\nContent-Length: 0\r\n\r\n`,
    ),
  },
  SIZE,
);

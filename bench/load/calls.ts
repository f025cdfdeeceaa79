/** The calls that are made: what a small API gets, what a browser or a gateway sends along, and a body. */
import { READS_BODY } from "../application.ts";
import { HOST } from "../peer.ts";

export type CallName = "get" | "headers" | "post";

export const CALLS: Readonly<Record<CallName, string>> = {
  get: "GET, 130 bytes back",
  headers: "GET with 14 real headers, a path of its own and traceparent",
  post: "POST of 4 KiB, 130 bytes back",
};

/** Fields beside Host, x-request-id and traceparent, with which they are fourteen. */
const REAL_FIELDS: readonly (readonly [string, string])[] = [
  [
    "user-agent",
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36",
  ],
  ["accept", "application/json, text/plain, */*"],
  ["accept-language", "en-GB,en;q=0.9,de;q=0.8"],
  ["accept-encoding", "gzip, deflate, br, zstd"],
  ["cache-control", "no-cache"],
  [
    "cookie",
    "session=7d1c0f4be2a94c0fa1c55f5f0f6f0b8e; theme=dark; _ga=GA1.1.1417332208.1763981234",
  ],
  [
    "authorization",
    `Bearer eyJhbGciOiJFUzI1NiIsInR5cCI6IkpXVCIsImtpZCI6IjIwMjUifQ.${"eyJzdWIiOiI0MiIsImF1ZCI6InNob3AifQ".repeat(4)}.${"k3J9".repeat(21)}`,
  ],
  ["referer", "https://shop.example.com/orders"],
  ["origin", "https://shop.example.com"],
  ["x-forwarded-proto", "https"],
  ["sec-fetch-mode", "cors"],
  ["sec-fetch-site", "same-site"],
];

export const POSTED: string = JSON.stringify({
  items: Array.from({ length: 4096 }, (_, index) => index),
}).slice(0, 4096);

/**
 * A script for wrk that makes the call. Traced: what a caller says in traceparent decides, since both peers heed it; so that
 * of 100 callers as many say "sampled" as the percentage has it.
 */
export function wrkScript(
  call: CallName | BodyCall | TokenCall,
  tracing: number,
): string {
  const host = `wrk.headers["Host"] = "${HOST}"\n`;
  const post = `wrk.method = "POST"\nwrk.path = "${READS_BODY}"\n`;
  if (typeof call === "object")
    switch (call.kind) {
      case "download":
        return `${host}wrk.path = "${call.path}"\n`;
      case "upload":
        return `${host}${post}wrk.body = string.rep("x", ${call.bytes})\nwrk.headers["Content-Type"] = "application/octet-stream"\n`;
      case "token":
        return `${host}wrk.headers["Authorization"] = "Bearer ${call.token}"\n`;
    }
  switch (call) {
    case "get":
      return host;
    case "post":
      return `${host}${post}wrk.headers["Content-Type"] = "application/json"\nwrk.body = [[${POSTED}]]\n`;
    case "headers": {
      const fields = REAL_FIELDS.map(
        ([name, value]) => `${name}: ${value}\\r\\n`,
      ).join("");
      return `local n = 0
local fields = " HTTP/1.1\\r\\nHost: ${HOST}\\r\\n${fields}"
local format = string.format
function request()
  n = n + 1
  local a, b = n * 2654435761 % 4294967296, n * 2246822519 % 4294967296
  return format("GET /shops/7/orders/%d/items?page=%d%sx-request-id: %08x-4bf9-4f35-77b3-%012x\\r\\ntraceparent: 00-%08x%08x%08x%08x-%08x%08x-%s\\r\\n\\r\\n",
    n, n % 50, fields, a, n, a, b, b, a, b, a, n % 100 < ${tracing} and "01" or "00")
end
`;
    }
  }
}

/** A GET with this token. */
export interface TokenCall {
  readonly kind: "token";
  readonly token: string;
}

export type BodyCall =
  | { readonly kind: "download"; readonly path: string }
  | { readonly kind: "upload"; readonly bytes: number };

/** The same call for fortio: the path is new each time, the fields are not. */
export function fortioArguments(call: CallName, tracing: number): string[] {
  const host = ["-H", `Host: ${HOST}`];
  switch (call) {
    case "get":
      return host;
    case "post":
      return [...host, "-content-type", "application/json", "-payload", POSTED];
    case "headers":
      return [
        ...host,
        ...REAL_FIELDS.flatMap(([name, value]) => ["-H", `${name}: ${value}`]),
        "-H",
        "x-request-id: 5c0b7c1e-4bf9-4f35-77b3-0000000000a7",
        "-H",
        `traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-${tracing >= 50 ? "01" : "00"}`,
      ];
  }
}

export function fortioPath(call: CallName): string {
  switch (call) {
    case "get":
      return "/";
    case "headers":
      return "/shops/7/orders/{uuid}/items?page=1";
    case "post":
      return READS_BODY;
  }
}

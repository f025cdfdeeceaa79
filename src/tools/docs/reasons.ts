/** `config/reference/reasons.md`: every reason of the proxy and of the control plane's API. */
import { API_REASONS } from "../../control-plane/api/errors.ts";
import type { Code } from "../../mesh/reasons.ts";
import { GRPC_STATUSES } from "../../mesh/grpc-status.ts";
import { REASONS } from "../../mesh/reasons.ts";
import { REFUSALS } from "../../wire/refusal.ts";
import { code, table, type Page } from "./markdown.ts";

export function reasonsPage(): Page {
  return {
    file: "reasons.md",
    title: "Reasons",
    body: `## Of the proxy

A refused or failed request has one of these reasons. Callers inside the mesh get it as \`x-wherry-reason: CODE; policy=NAMESPACE/NAME\`, with a body that says what to do.
The same code is in the access log, in \`wherry_requests_total\` and on the span (\`wherry.reason\`).
Callers outside the mesh get the status and the sentence in the column "why". They get no names, and the code only where the request cannot be parsed.
The column "fault" says on which side it is: the caller's (downstream), the upstream's, or a decision of the proxy by its policies and limits.
A gRPC call gets HTTP 200 and the gRPC status. A FaultInjection may set another status.

${proxyReasons()}
## Of the API

The control plane's API responds with a \`Status\` object. Its \`reason\` is one of Kubernetes' words.

${apiReasons()}`,
  };
}

function proxyReasons(): string {
  return table(
    ["code", "HTTP", "gRPC", "fault", "why", "what to do"],
    keysOf(REASONS).map((reason) => [
      code(reason),
      statusesOf(reason).join(", "),
      `${GRPC_STATUSES[REASONS[reason].response.grpc]} ${REASONS[reason].response.grpc}`,
      REASONS[reason].fault,
      REASONS[reason].text,
      REASONS[reason].hint,
    ]),
  );
}

function apiReasons(): string {
  return table(
    ["reason", "HTTP", "when"],
    keysOf(API_REASONS).map((reason) => [
      code(reason),
      String(API_REASONS[reason].status),
      API_REASONS[reason].text,
    ]),
  );
}

/** The proxy's status, then those that the codec of HTTP/1 has for single faults of the request. */
function statusesOf(reason: Code): readonly number[] {
  const own = Object.values(REFUSALS)
    .filter((refusal) => refusal.code === reason)
    .map(({ status }) => status);
  return [...new Set([REASONS[reason].response.status, ...own])];
}

function keysOf<K extends string>(record: Readonly<Record<K, unknown>>): K[] {
  return Object.keys(record) as K[];
}

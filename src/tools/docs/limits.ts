/** `config/reference/limits.md`: every limit of sidecar and control plane. */
import { HTTP1_LIMITS, HTTP2_LIMITS } from "./limits/codecs.ts";
import { API_LIMITS, PUSH_LIMITS } from "./limits/control-plane.ts";
import type { Limit } from "./limits/limit.ts";
import {
  CONNECTION_LIMITS,
  MEMORY_LIMITS,
  TIME_LIMITS,
} from "./limits/sidecar.ts";
import { code, codes, table, type Page } from "./markdown.ts";

const SIDECAR: Readonly<Record<string, readonly Limit[]>> = {
  "Connections and requests": CONNECTION_LIMITS,
  "Memory and sizes": MEMORY_LIMITS,
  Time: TIME_LIMITS,
  "HTTP/1.1": HTTP1_LIMITS,
  "HTTP/2": HTTP2_LIMITS,
};

const CONTROL_PLANE: Readonly<Record<string, readonly Limit[]>> = {
  API: API_LIMITS,
  "Push and enrolment": PUSH_LIMITS,
};

export function limitsPage(): Page {
  return {
    file: "limits.md",
    title: "Limits",
    body: `What callers and peers can cost is bounded, and a limit that acts is seen.
Connections are closed without a response where a response would cost more than the caller paid.

- A rate a second is counted over all connections of a source. A source is an identity, or an address without one (IPv6: a /64); see [decision 028](../../src/decisions/028-floods-are-counted-by-source.md).
- Memory is what the container may use, or \`--max-memory\`. V8's heap and the bytes of messages count against limits of their own; the largest share sets the level.
- A memory level ends five points below where it begins. One level ends a second.
- [Decision 014](../../src/decisions/014-limits-and-overload.md) says why the defaults are what they are.

## Sidecar

${sections(SIDECAR)}
## Control plane

${sections(CONTROL_PLANE)}`,
  };
}

function sections(groups: Readonly<Record<string, readonly Limit[]>>): string {
  return Object.entries(groups)
    .map(([title, limits]) => `### ${title}\n\n${tableOf(limits)}`)
    .join("\n");
}

function tableOf(limits: readonly Limit[]): string {
  return table(
    ["limit", "default", "set by", "beyond it", "reason", "seen in"],
    limits.map((limit) => [
      limit.name,
      limit.default,
      limit.setBy ?? "",
      limit.beyond,
      codes(limit.reasons ?? []),
      (limit.seen ?? [])
        .map((where) => (where.startsWith("wherry_") ? code(where) : where))
        .join(", "),
    ]),
  );
}

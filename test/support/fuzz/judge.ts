/** The oracle: one request, one verdict and one message at the application, whatever the listener and the version of HTTP. */
import type { ListenerUnderTest } from "./listeners.ts";
import { isKnown } from "./known.ts";
import type { Outcome } from "./outcome.ts";
import { deniedBy, goesToCanary, HOSTS, ROUTED_HOSTS } from "./policy.ts";
import type { FuzzRequest } from "./requests/request.ts";

export interface Seen {
  readonly listener: ListenerUnderTest;
  readonly outcome: Outcome;
}

/** What is wrong with it, a sentence each; none where nothing is. */
export function judge(request: FuzzRequest, all: readonly Seen[]): string[] {
  const wrong: string[] = [];
  for (const { listener, outcome } of all) {
    const flaw = flawOf(request, listener, outcome);
    if (flaw !== undefined) wrong.push(`${listener.name}: ${flaw}`);
  }
  const compared = all.filter((seen) => !leadsElsewhere(request, seen, all));
  const [first] = compared;
  if (first === undefined) return wrong;
  for (const other of compared.slice(1)) {
    const difference = differenceOf(request, first.outcome, other.outcome);
    if (difference !== undefined && !isKnown(request, first, other))
      wrong.push(
        `${first.listener.name} and ${other.listener.name}: ${difference}`,
      );
  }
  return wrong;
}

/** What must not be, without looking at another listener. */
function flawOf(
  { http2 }: FuzzRequest,
  listener: ListenerUnderTest,
  outcome: Outcome,
): string | undefined {
  const { kind, arrived, flaw, status } = outcome;
  if (flaw !== undefined) return flaw;
  if (kind === "tunnel") return "a tunnel to a port for HTTP (law 14)";
  if (kind === "unfinished") return "no response, and no end";
  if (status >= 500 && outcome.code === "INTERNAL") return "a defect";
  const [request] = arrived;
  if (kind === "refused")
    // What is too much of it may come when the application has all that was declared.
    return request === undefined || http2.surplus !== ""
      ? undefined
      : `refused (${status} ${outcome.code}), and yet it came to the application: ${JSON.stringify(request.canonical)}`;
  if (request === undefined || arrived.length > 1)
    return `allowed, and ${arrived.length} requests came to the application`;
  if (request.app === "open") return undefined;
  const denied = deniedBy(request);
  if (denied !== undefined)
    return `the policy denies the ${denied}, and it came to the application: ${JSON.stringify(request.canonical)}`;
  // A captured request that names no Service goes to the instance that was dialled, past routes.
  const routed =
    (listener.where === "explicit" || listener.where === "captured outbound") &&
    ROUTED_HOSTS.includes(hostOf(request.host));
  const app = routed && goesToCanary(request) ? "canary" : "http";
  return request.app === app
    ? undefined
    : `the route leads to ${app}, and it came to ${request.app}: ${JSON.stringify(request.canonical)}`;
}

/** An explicit call to a name that the mesh does not know goes nowhere, where other listeners know their application. */
function leadsElsewhere(
  request: FuzzRequest,
  { listener, outcome }: Seen,
  all: readonly Seen[],
): boolean {
  if (listener.where !== "explicit" || outcome.code !== "UNKNOWN_DESTINATION")
    return false;
  const hosts = all.flatMap(({ outcome: { arrived } }) =>
    arrived.map(({ host }) => host),
  );
  const authority = request.absolute?.authority ?? request.hosts[0] ?? "";
  return !(hosts.length > 0 ? hosts : [authority]).some(
    (host) => HOSTS.includes(hostOf(host)) && /^[^:]*(?::0*80)?$/.test(host),
  );
}

function hostOf(authority: string): string {
  return authority.toLowerCase().replace(/:\d+$/, "").replace(/\.$/, "");
}

function differenceOf(
  request: FuzzRequest,
  one: Outcome,
  two: Outcome,
): string | undefined {
  if (one.kind !== two.kind) return `${said(one)}, but ${said(two)}`;
  if (one.kind === "allowed") {
    const left = one.arrived[0]?.canonical;
    const right = two.arrived[0]?.canonical;
    return left === right
      ? undefined
      : `the application got ${JSON.stringify(left)}, but ${JSON.stringify(right)}`;
  }
  // What is wrong with its content may be seen before or after the policy has judged its head; of two faults, either is told.
  if (hasContent(request) || request.notes.length > 1) return undefined;
  const alike =
    one.status === two.status &&
    (one.code === two.code || one.code === "" || two.code === "");
  return alike ? undefined : `${said(one)}, but ${said(two)}`;
}

function hasContent(request: FuzzRequest): boolean {
  const { chunks, trailers, length, http1 } = request;
  return (
    chunks.length > 0 ||
    trailers.length > 0 ||
    length !== undefined ||
    // A line may announce some.
    http1.lines.length > 0 ||
    http1.after !== ""
  );
}

export function said({ kind, status, code, arrived }: Outcome): string {
  return kind === "allowed"
    ? `allowed as ${JSON.stringify(arrived[0]?.canonical)}`
    : `${kind} ${status} ${code}`;
}

/** `config/reference/api.md`: every route of the control plane's API, and its callers. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  CALLERS,
  type Callers,
} from "../../control-plane/api/rights/callers.ts";
import { startControlPlane } from "../../control-plane/control-plane.ts";
import type { Principal, Role } from "../../control-plane/tokens.ts";
import { systemClock } from "../../core/clock.ts";
import { silentLogger } from "../../core/log.ts";
import { ROOT_NAMESPACE } from "../../resources/envelope.ts";
import { code, table, type Page } from "./markdown.ts";

interface Operation {
  readonly summary?: string;
  readonly operationId: string;
  readonly "x-wherry-callers": Callers;
}

interface Document {
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
}

export async function apiPage(): Promise<Page> {
  const document = await readDocument();
  return {
    file: "api.md",
    title: "API",
    body: `The control plane's API, by default at \`http://127.0.0.1:15080\`. \`/openapi.json\` describes it whole.
A request without a token, or with one that is unknown, revoked or expired, gets 401. One that the table does not allow gets 403, before its body is read.

## Callers

A token has a role, and it may be bound to a list of namespaces. ${code("own")}: in those namespaces.
A client certificate counts as a token with the role and the namespaces that ${code("--api-client")} gives to its name.

${rights()}
Some writes act on others, so the namespace does not suffice for them:

- the address of a Workload, and a Workload that its sidecar registered, are for administrators that are not bound;
- to export the hosts of an external Service needs the right to write in each namespace that sees them;
- the Mesh is changed, and never deleted.

## Routes

The column "callers" has the rows of the table above.

${routes(document)}`,
  };
}

/** As the control plane itself gives it, on a port that is free. */
async function readDocument(): Promise<Document> {
  const stateDirectory = await mkdtemp(join(tmpdir(), "wherry-docs-"));
  const loopback = { host: "127.0.0.1", port: 0 };
  const running = await startControlPlane({
    stateDirectory,
    store: "memory",
    trustDomain: "cluster.local",
    api: loopback,
    push: loopback,
    clock: systemClock,
    logger: silentLogger,
    profile: "production",
  });
  try {
    const response = await fetch(`${running.apiUrl}/openapi.json`);
    return (await response.json()) as Document;
  } finally {
    await running.close();
    await rm(stateDirectory, { recursive: true });
  }
}

const ROLES: readonly Role[] = ["admin", "editor", "viewer"];
const BOUND = "shop";

function rights(): string {
  const holders: readonly (readonly [string, Principal])[] = ROLES.flatMap(
    (role) => [
      [role, { tokenId: "", role }],
      [`${role}, bound`, { tokenId: "", role, namespaces: [BOUND] }],
    ],
  );
  return table(
    ["callers", "tokens", "no token", ...holders.map(([title]) => title)],
    keysOf(CALLERS).map((callers) => [
      code(callers),
      CALLERS[callers].tokens,
      CALLERS[callers].needsToken ? "no" : "yes",
      ...holders.map(([, principal]) => rightOf(callers, principal)),
    ]),
  );
}

function rightOf(callers: Callers, principal: Principal): string {
  const may = (namespace: string): boolean =>
    CALLERS[callers].refusal(principal, namespace) === undefined;
  if (!may(BOUND)) return "no";
  if (may("other")) return may(ROOT_NAMESPACE) ? "yes" : "not in the root";
  return may(ROOT_NAMESPACE) ? "own and root" : "own";
}

function routes({ paths }: Document): string {
  const rows = Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => [
      code(`${method.toUpperCase()} ${path}`),
      code(operation["x-wherry-callers"]),
      code(operation.operationId),
      operation.summary ?? "",
    ]),
  );
  return table(["route", "callers", "operation", "what it does"], rows);
}

function keysOf<K extends string>(record: Readonly<Record<K, unknown>>): K[] {
  return Object.keys(record) as K[];
}

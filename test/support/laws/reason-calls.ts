/** How the rows of reasons call: resources in short, and calls below the level of a client. */
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import type { Code } from "../../../src/mesh/reasons.ts";
import { makeField, type Field } from "../../../src/wire/fields.ts";
import { httpScript } from "../checks/providers.ts";
import {
  resource,
  type Answer,
  type CallOptions,
  type Pair,
  type PairOptions,
} from "../meshes/pair.ts";

export type Resources = NonNullable<PairOptions["resources"]>;

export function route(
  spec: Record<string, unknown>,
  name = "orders",
): Resources[number] {
  return resource("HTTPRoute", name, {
    parentRefs: [{ group: "mesh.wherry.dev", kind: "Service", name }],
    rules: [{ backendRefs: [{ name, port: 80 }], ...spec }],
  });
}

export function traffic(spec: Record<string, unknown>): Resources[number] {
  return resource("TrafficPolicy", "orders", {
    targetRefs: [{ kind: "Service", name: "orders" }],
    ...spec,
  });
}

export const forOrders = { selector: { matchLabels: { app: "orders" } } };

/** Everything is asked about. */
export function asking(provider: string): Resources[number] {
  return resource("AuthorizationPolicy", "ask", {
    ...forOrders,
    ...{ action: "CUSTOM", provider: { name: provider }, rules: [{}] },
  });
}

/** A call that a provider denies. */
export async function askDenied(pair: Pair): Promise<Answer> {
  const denies = await httpScript((_request, response) =>
    response.writeHead(404).end(),
  );
  const provider = {
    ...{ name: "denies", http: { address: denies.address } },
    timeout: "20s",
  };
  try {
    pair.apply([
      resource("Mesh", "default", {
        authorization: { defaultAction: "ALLOW", providers: [provider] },
      }),
      asking("denies"),
    ]);
    return await pair.call();
  } finally {
    await denies.close();
  }
}

export type Told = Pick<Answer, "status" | "reason">;

export interface Row {
  readonly code: Code;
  readonly status: number;
  readonly pair?: PairOptions;
  readonly call?: CallOptions;
  readonly policy?: string;
  /** Whose account it is in: the caller's sidecar's, unless the call goes past it. */
  readonly side?: "inbound";
  before?(pair: Pair): Promise<void> | void;
  /** In place of a call through the caller's sidecar. */
  ask?(pair: Pair): Promise<Told>;
}

export const raw =
  (act: (socket: Socket) => void): (() => (socket: Socket) => void) =>
  () =>
  (socket) => {
    socket.on("error", () => undefined);
    socket.once("data", () => act(socket));
  };

/** RFC 9113 7. */
export const REFUSED_STREAM = 7;

export function to(destination: string): Field {
  return makeField("x-wherry-destination", destination);
}

/** What is told first of so many calls at once; the others wait for what does not come. */
export function firstOf(pair: Pair, count: number): Promise<Answer> {
  const calls = Array.from({ length: count }, () => pair.call());
  for (const call of calls) call.catch(() => undefined);
  return Promise.race(calls);
}

/** Calls a service whose only link is said to be at that port. */
export function payments(
  pair: Pair,
  port: number | undefined,
  more: Resources = [],
): Promise<Answer> {
  pair.apply([
    ...more,
    resource("Service", "payments", {
      ports: [{ name: "http", port: 80 }],
      selector: { app: "payments" },
    }),
    resource(
      "Workload",
      "payments-1",
      {
        address: "127.0.0.1",
        ports: { http: 8080 },
        serviceAccount: "payments",
        link: { port },
      },
      { labels: { app: "payments" } },
    ),
  ]);
  return pair.call({ host: "payments.shop" });
}

/** A connection of its own to the caller's sidecar; sends once and reads the head of the answer. */
export async function open(
  pair: Pair,
): Promise<(text: string) => Promise<Told>> {
  const socket = connect(pair.caller.ports.outbound ?? 0, "127.0.0.1");
  await once(socket, "connect");
  return async (text) => {
    socket.write(text);
    const [chunk] = (await once(socket, "data")) as [Buffer];
    socket.destroy();
    const head = chunk.toString("latin1");
    return {
      status: Number(/^HTTP\/1.1 (\d+)/.exec(head)?.[1] ?? 0),
      reason: /^x-wherry-reason: (.*)\r$/m.exec(head)?.[1],
    };
  };
}

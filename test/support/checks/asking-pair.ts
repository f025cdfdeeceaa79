/** Two sidecars whose callee asks scripted providers of authorization. */
import type { RequestListener } from "node:http";
import type { Resource } from "../../../src/resources/envelope.ts";
import {
  resource,
  withPair,
  type Answer,
  type Pair,
  type PairOptions,
} from "../meshes/pair.ts";
import {
  grpcScript,
  httpScript,
  type ScriptedGrpc,
  type ScriptedHttp,
} from "./providers.ts";

export function custom(
  provider: string,
  rules: readonly object[] = [{}],
  name = `ask-${provider}`,
): Resource {
  return resource("AuthorizationPolicy", name, {
    selector: { matchLabels: { app: "orders" } },
    action: "CUSTOM",
    provider: { name: provider },
    rules,
  });
}

export function withProviders(
  providers: readonly object[],
  options: PairOptions,
  use: (pair: Pair) => Promise<void>,
): Promise<void> {
  return withPair(
    {
      ...options,
      mesh: { authorization: { defaultAction: "ALLOW", providers } },
    },
    use,
  );
}

export interface Echo {
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

export function echoed(answer: Answer): Echo {
  return JSON.parse(answer.text) as Echo;
}

/** Long enough for a machine that has much to do, and for none of the failures below. */
export const PATIENT: { readonly timeout: string } = { timeout: "20s" };

export const allow: RequestListener = (_request, response) => {
  response.setHeader("x-user", "alice");
  response.setHeader("x-other", "secret");
  response.setHeader("set-cookie", ["a=1", "b=2"]);
  response.end("a page that nobody reads");
};

export async function withHttp(
  answer: RequestListener,
  more: object,
  use: (pair: Pair, script: ScriptedHttp) => Promise<void>,
  options: PairOptions = {},
  http: object = {},
): Promise<void> {
  const script = await httpScript(answer);
  const provider = {
    ...{ name: "opa", http: { address: script.address, ...http } },
    ...PATIENT,
    ...more,
  };
  try {
    await withProviders(
      [provider],
      { resources: [custom("opa")], ...options },
      (pair) => use(pair, script),
    );
  } finally {
    await script.close();
  }
}

export async function withGrpc(
  answer: ScriptedGrpc["answer"],
  more: object,
  use: (pair: Pair, script: ScriptedGrpc) => Promise<void>,
  options: PairOptions = {},
): Promise<void> {
  const script = await grpcScript(answer);
  const provider = {
    ...{ name: "opa", grpc: { address: script.address } },
    ...PATIENT,
    ...more,
  };
  try {
    await withProviders(
      [provider],
      { resources: [custom("opa")], ...options },
      (pair) => use(pair, script),
    );
  } finally {
    script.close();
  }
}

/** What `wherry explain` says of a request is what two real sidecars then do with it: 1,000 random requests under 20 random sets of policy. */
import t from "tap";
import {
  calleesOf,
  callerFor,
  explainRequest,
  type World,
} from "../../src/cli/explaining.ts";
import { httpScript } from "../support/checks/providers.ts";
import { systemClock } from "../../src/core/clock.ts";
import type { Decision, Outcome } from "../../src/policy/explain/decision.ts";
import type { Resource } from "../../src/resources/envelope.ts";
import { isKind } from "../../src/resources/kind.ts";
import { TRAFFIC_POLICY } from "../../src/resources/traffic-policy/schema.ts";
import { TELEMETRY } from "../../src/resources/telemetry/schema.ts";
import {
  resource,
  send,
  until,
  withPair,
  type Answer,
  type Pair,
} from "../support/meshes/pair.ts";
import {
  BACKENDS,
  randomMesh,
  randomPolicies,
  randomRequest,
  seeded,
  type Draw,
} from "../support/resources/random-policy.ts";
import { randomClaims } from "../support/resources/random-tokens.ts";
import { keySetText, testKey, token } from "../support/tokens/issuer.ts";

const key = await testKey("ES256", "k1");
/** Explanations hold where it allows, and it always does. */
const provider = await httpScript((_request, response) => response.end());
t.teardown(() => provider.close());

const SETS = 20;
const REQUESTS = 50;

/** What is compared, said the same way of the explanation and of what was seen. */
interface Facts {
  readonly status: number | undefined;
  readonly reason: string | undefined;
  readonly policy: string | undefined;
  /** What policies would do that change no verdict. */
  readonly shadow: string | undefined;
  readonly route: string | undefined;
  readonly location: string | undefined;
  /** The Service as which the application's sidecar took the request. */
  readonly backend: string | undefined;
  readonly sent: SentFacts | undefined;
  /** Fields that the route gave to the answer. */
  readonly answer: Readonly<Record<string, string>>;
}

interface SentFacts {
  readonly method: string;
  readonly host: string;
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
}

const ANSWER_FIELDS = /^(x-(?!wherry-)|access-control-|vary$)/;

function expected(outcome: Outcome, plaintext: boolean): Facts {
  const { route, rule, sent, reason } = outcome;
  const reached = outcome.answeredBy === "application";
  return {
    status: outcome.status ?? 200,
    reason,
    policy: outcome.allowed ? undefined : outcome.by,
    shadow: outcome.shadow
      ?.map(({ policy, effect }) => `${policy}: ${effect}`)
      .join(", "),
    route: route === undefined ? undefined : `${route}#${rule ?? ""}`,
    location: outcome.location,
    // A port of the application that was called itself goes by the name of the oldest Service that has it.
    backend: reached && !plaintext ? outcome.backend : undefined,
    sent:
      reached && sent !== undefined
        ? {
            method: sent.method,
            host: sent.authority,
            url: sent.target,
            headers: fieldsOf(
              sent.fields.map(({ name, value }) => [name, value]),
              /^x-/,
            ),
          }
        : undefined,
    answer:
      reached || reason === undefined
        ? fieldsOf(
            (outcome.answerFields ?? []).map(({ name, value }) => [
              name,
              value,
            ]),
            ANSWER_FIELDS,
          )
        : {},
  };
}

/** Several of one name as one list. */
function fieldsOf(
  fields: readonly (readonly [name: string, value: string])[],
  of: RegExp,
): Record<string, string> {
  const found: Record<string, string> = {};
  for (const [name, value] of fields)
    if (of.test(name))
      found[name] =
        found[name] === undefined ? value : `${found[name]}, ${value}`;
  return found;
}

function shadowOf({ spans }: Pair): string | undefined {
  for (const { attributes } of spans) {
    const shadow = attributes["wherry.shadow"];
    if (typeof shadow === "string") return shadow;
  }
  return undefined;
}

function observed(pair: Pair, answer: Answer, plaintext: boolean): Facts {
  const record = pair.log.find(
    ({ direction }) => direction === (plaintext ? "inbound" : "outbound"),
  );
  const inbound = pair.log.find(({ direction }) => direction === "inbound");
  const reached =
    answer.status === 200 &&
    answer.headers["content-type"] === "application/json";
  const echo = reached
    ? (JSON.parse(answer.text) as {
        readonly method: string;
        readonly url: string;
        readonly headers: Readonly<Record<string, string>>;
      })
    : undefined;
  const { location } = answer.headers;
  return {
    status: answer.status,
    reason: record?.reason,
    policy: record?.policy,
    shadow: shadowOf(pair),
    route: record?.route,
    location,
    backend: reached && !plaintext ? inbound?.destination : undefined,
    sent:
      echo === undefined
        ? undefined
        : {
            method: echo.method,
            host: echo.headers["host"] ?? "",
            url: echo.url,
            headers: fieldsOf(Object.entries(echo.headers), /^x-/),
          },
    answer:
      reached || record?.reason === undefined
        ? fieldsOf(
            Object.entries(answer.headers).map(([name, value]) => [
              name,
              String(value),
            ]),
            ANSWER_FIELDS,
          )
        : {},
  };
}

/** What the explanation says of the way must lead where it says that the request goes. */
function inconsistency(
  { route, rule, backend, shares = {}, answeredBy }: Outcome,
  decisions: readonly Decision[],
): string | undefined {
  const source = decisions.find(({ step }) => step === "route")?.source;
  const taken = route === undefined ? undefined : `HTTPRoute/${route}`;
  if (source?.resource !== taken)
    return `${String(taken)} takes it by the word of ${String(source?.resource)}`;
  const field = source?.field ?? "spec.rules[]";
  if (rule !== undefined && !field.startsWith(`spec.rules[${rule}]`))
    return `rule ${rule} takes it by the word of ${field}`;
  const denied = decisions
    .flatMap(({ notMatched }) => notMatched)
    .find(
      (each) =>
        each.source.resource === taken && each.source.field === source?.field,
    );
  if (denied !== undefined) return `what takes it does not: ${denied.why}`;
  if (answeredBy === "application" && taken !== undefined)
    return (shares[backend ?? ""] ?? 0) > 0
      ? undefined
      : `${backend ?? "none"} is among no shares: ${JSON.stringify(shares)}`;
  return undefined;
}

/** All that both sidecars know, as files would say it. */
function worldOf(
  pair: Pair,
  mesh: Readonly<Record<string, unknown>>,
  resources: readonly Resource[],
): World {
  const port = pair.instances[0]?.appPort ?? 0;
  return {
    resources: [
      resource("Mesh", "default", mesh),
      resource("Service", "orders", {
        ports: [{ name: "http", port: 80, appProtocol: "http" }],
        selector: { app: "orders" },
      }),
      resource(
        "Workload",
        "orders-1",
        {
          address: "127.0.0.1",
          ports: { http: port },
          serviceAccount: "orders",
          link: { port: pair.callee.ports.link ?? 0 },
        },
        { labels: { app: "orders" } },
      ),
      ...resources,
    ],
    version: { store: "test", revision: 1, digest: "" },
  };
}

const extra: readonly Resource[] = [
  ...BACKENDS.filter((name) => name !== "orders").map((name) =>
    resource("Service", name, {
      ports: [{ name: "http", port: 80, appProtocol: "http" }],
      selector: { app: "orders" },
    }),
  ),
  resource(
    "Workload",
    "web-1",
    { address: "127.0.0.1", serviceAccount: "web" },
    { labels: { app: "web" } },
  ),
];

/** The application here speaks no TLS. */
function inTheClear(drawn: Resource): Resource {
  if (!isKind(TRAFFIC_POLICY, drawn)) return drawn;
  const { applicationTls: _tls, ...spec } = drawn.spec;
  return { ...drawn, spec };
}

/** With the provider where it listens. */
function reachable(
  mesh: Readonly<Record<string, unknown>>,
): Readonly<Record<string, unknown>> {
  const authorization = mesh["authorization"] as {
    readonly providers?: readonly object[];
  };
  const { address } = provider;
  const providers = authorization.providers?.map((each) => ({
    ...each,
    ...{ http: { address }, timeout: "20s" },
  }));
  return providers === undefined
    ? mesh
    : { ...mesh, authorization: { ...authorization, providers } };
}

/** No token mostly, or one, in one of the places; seldom two, or none that could be one. */
async function withTokens(
  draw: Draw,
  { path, headers }: { path: string; headers: Record<string, string> },
): Promise<{ path: string; headers: Record<string, string> }> {
  const found = { ...headers };
  let at = path;
  const some = async (): Promise<string> =>
    draw() < 0.1 ? "abc" : token(key, { claims: randomClaims(draw) });
  if (draw() < 0.4) found["authorization"] = `Bearer ${await some()}`;
  if (draw() < 0.1) found["x-token"] = await some();
  if (draw() < 0.1)
    at += `${at.includes("?") ? "&" : "?"}access_token=${await some()}`;
  if (draw() < 0.1) found["x-sub"] = "mallory";
  return { path: at, headers: found };
}

/** How often each thing happened: draws that never refuse would agree with anything. */
const seen = new Map<string, number>();

function count(outcome: Outcome): void {
  for (const what of [
    outcome.reason ?? outcome.answeredBy,
    ...(outcome.route === undefined ? [] : ["routed"]),
    ...(outcome.shadow ?? []).map(({ effect }) => effect),
  ])
    seen.set(what, (seen.get(what) ?? 0) + 1);
}

for (let set = 1; set <= SETS; set += 1)
  void t.test(`set ${set} of policies`, async (t) => {
    const draw = seeded(set * 7927);
    const mesh = reachable(randomMesh(draw));
    // What a Telemetry keeps out of the log and of the spans could not be compared.
    const resources = [...extra, ...randomPolicies(draw, keySetText(key))]
      .filter(({ kind }) => kind !== TELEMETRY.kind)
      .map(inTheClear);
    // The split is drawn from what the explanation is given too.
    let chance = 0;
    const clock = { ...systemClock, random: () => chance };
    await withPair(
      { mesh, resources, calleePublish: true, caller: { clock } },
      async (pair) => {
        const world = worldOf(pair, mesh, resources);
        const callerOf = callerFor(world);
        const calleeOf = calleesOf(world);
        const published = [...pair.callee.ports.published.values()][0] ?? 0;
        let wrong = 0;
        for (let index = 0; index < REQUESTS; index += 1) {
          const request = randomRequest(draw);
          const plaintext = draw() < 0.1;
          const { method } = request;
          const { path, headers } = await withTokens(draw, request);
          const host = plaintext ? "orders.shop" : request.host;
          chance = draw();
          const url = `http://${host}${path}`;
          const { outcome, decisions } = explainRequest({
            request: {
              ...{ method, url, headers: Object.entries(headers) },
              fromIp: plaintext ? "127.0.0.1" : undefined,
            },
            caller: callerOf(plaintext ? undefined : "shop/web", url),
            calleeOf,
            workload: undefined,
            wall: systemClock.wall(),
            draw: chance,
          });
          pair.log.length = 0;
          pair.spans.length = 0;
          const call = { method, path, host, headers };
          const answer = plaintext
            ? await send(published, call)
            : await pair.call(call);
          // What the callee's sidecar let in it has logged before the caller's sidecar ends the answer, or soon after.
          await until(() =>
            pair.log.some(
              ({ direction }) =>
                direction === (plaintext ? "inbound" : "outbound"),
            ),
          );
          if (outcome.answeredBy === "application" && !plaintext)
            await until(() => pair.log.length > 1 || answer.status !== 200);
          count(outcome);
          const odd = inconsistency(outcome, decisions);
          if (odd !== undefined) t.fail(`${method} ${url}: ${odd}`);
          const said = expected(outcome, plaintext);
          if (said.shadow !== undefined)
            await until(() => shadowOf(pair) !== undefined);
          const was = observed(pair, answer, plaintext);
          if (JSON.stringify(said) === JSON.stringify(was)) continue;
          wrong += 1;
          t.strictSame(
            was,
            said,
            `${method} ${url} ${JSON.stringify(headers)}, drawn ${chance}`,
          );
        }
        t.equal(wrong, 0, `${REQUESTS} requests went as explained`);
      },
    );
  });

void t.test("the draws have something of everything", (t) => {
  for (const what of [
    "application",
    "redirect",
    "preflight",
    "routed",
    "NO_ROUTE",
    "BACKEND_INVALID",
    "UNKNOWN_DESTINATION",
    "FAULT_INJECTED",
    "DENIED",
    "NOT_ALLOWED",
    "MTLS_REQUIRED",
    "TOKEN_INVALID",
    "TOKEN_AUDIENCE",
    "PROVIDER_FAILED",
    "matched",
    "refused",
  ])
    t.ok((seen.get(what) ?? 0) > 0, `${what}: ${seen.get(what) ?? 0}`);
  t.ok(provider.asked.length > 0, `asked: ${provider.asked.length}`);
  t.end();
});

/** `wherry explain METHOD URL`: each decision that the sidecars make of a request, in order, by the evaluator that they run. */
import type { Command } from "commander";
import { UserError } from "../../core/errors.ts";
import { isObject } from "../../core/text/json.ts";
import type { SelfDescription } from "../../policy/snapshot.ts";
import { questionsOf } from "../../proxy/destination.ts";
import type { Resource } from "../../resources/envelope.ts";
import type { Located } from "../../resources/lint.ts";
import { KINDS } from "../../resources/registry.ts";
import {
  connectApi,
  withServer,
  type ApiClient,
  type ServerOptions,
} from "../client.ts";
import { withAssumedWorkloads } from "../asked/assumed-workloads.ts";
import { sayingOf } from "../asked/origin.ts";
import type { CliContext } from "../context.ts";
import {
  decisionLines,
  dependenceLines,
  elsewhereLines,
  outcomeText,
  placeIn,
  withPlaces,
} from "../explain-text.ts";
import {
  calleesOf,
  callerFor,
  explainRequest,
  headOf,
  sideOf,
  type Asked,
  type AskedRequest,
  type Caller,
  type Explained,
  type World,
} from "../explaining.ts";
import { listResources } from "./get.ts";
import { findingLine, readManifests } from "../manifests.ts";
import { outputOption, printOutput } from "../output.ts";
import { plainListOption, plainOption } from "../settings.ts";
import { painter } from "../table.ts";

interface ExplainOptions extends ServerOptions {
  readonly from?: string;
  readonly header?: readonly string[];
  readonly claims?: string;
  readonly fromIp?: string;
  readonly serverName?: string;
  readonly trustedProxy?: readonly string[];
  readonly at?: string;
  readonly to?: string;
  readonly filename?: readonly string[];
  readonly output?: string;
}

/** The response of `GET /sidecars/NAMESPACE/NAME/config`. */
interface SidecarConfig {
  readonly sidecar: SelfDescription;
  readonly version: World["version"];
  readonly latest: boolean;
  readonly storeRevision: number;
  readonly resources: readonly Resource[];
  /** How many of them the sidecar does not hold: it would get them when it makes that call. Absent from an older control plane. */
  readonly added?: number;
}

/** Where each side's decisions come from, for people. */
interface Origin {
  readonly caller: string;
  readonly callee: string;
}

type Question = Pick<Asked, "caller" | "calleeOf" | "workload"> & {
  readonly origin: Origin;
  readonly files: readonly Located[];
};

export function registerExplain(program: Command, context: CliContext): void {
  withOrigin(withServer(program.command("explain")))
    .description(
      "show what the sidecars would decide for a request, step by step, by which rules, and why others do not match",
    )
    .argument("<method>", "GET, POST …; CONNECT for bytes other than HTTP")
    .argument(
      "<url>",
      "http://SERVICE.NAMESPACE[:PORT]/PATH?QUERY, or HOST:PORT",
    )
    .addOption(
      plainOption(
        "--from <account>",
        "NAMESPACE/SERVICEACCOUNT of the caller; default: the sidecar of --at, or a caller without a sidecar",
      ),
    )
    .option(
      "-H, --header <field>",
      "request header, such as 'x-user: qa'; may be repeated",
      (value: string, previous: readonly string[] | undefined) => [
        ...(previous ?? []),
        value,
      ],
    )
    .addOption(
      plainOption(
        "--claims <json>",
        "claims of a verified token that the request is taken to have, as JSON",
      ),
    )
    .addOption(
      plainOption(
        "--at <sidecar>",
        "NAMESPACE/NAME of a connected sidecar whose config decides; it is the caller, or with --from the callee",
      ),
    )
    .addOption(
      plainOption(
        "--to <workload>",
        "NAMESPACE/NAME of the instance that is called",
      ),
    )
    .addOption(
      plainListOption(
        "-f, --filename <file>",
        "resource files that decide, without a mesh; may be repeated",
      ),
    )
    .addOption(outputOption("text", "json"))
    .action((method: string, url: string, options: ExplainOptions) =>
      explain(context, method, url, options),
    );
}

/** What the callee's sidecar would know of the connection. */
function withOrigin(command: Command): Command {
  return command
    .addOption(
      plainOption(
        "--from-ip <address>",
        "IP address that the callee's sidecar sees; default: that of the caller's Workload",
      ),
    )
    .addOption(
      plainOption(
        "--server-name <host>",
        "host that TLS of the connection names; '' for one that names none",
      ),
    )
    .addOption(
      plainListOption(
        "--trusted-proxy <ranges>",
        "what the callee's sidecar has as --trusted-proxy",
      ),
    );
}

async function explain(
  context: CliContext,
  method: string,
  url: string,
  options: ExplainOptions,
): Promise<void> {
  const request: AskedRequest = {
    method: method.toUpperCase(),
    url,
    headers: (options.header ?? []).map(headerOf),
    claims: options.claims === undefined ? undefined : claimsOf(options.claims),
    fromIp: options.fromIp,
    serverName: options.serverName,
    trustedProxies: options.trustedProxy,
  };
  const question =
    options.filename === undefined
      ? await fromMesh(context, options, request)
      : await fromFiles(context, options, options.filename, url);
  const { caller, calleeOf, workload, origin } = question;
  const explanation = explainRequest({
    caller,
    calleeOf,
    request,
    workload,
    wall: context.clock.wall(),
  });
  const places = withPlaces(explanation, placeIn(question.files));
  printOutput(context, options, { ...origin, ...places }, () =>
    render(request, explanation, question, context.colours),
  );
}

function claimsOf(text: string): Record<string, unknown> {
  try {
    const claims: unknown = JSON.parse(text);
    if (isObject(claims)) return claims;
  } catch {
    // Said below.
  }
  throw new UserError(
    `--claims: expected a JSON object such as '{"iss":"https://idp.example.com","sub":"alice"}'`,
  );
}

function headerOf(text: string): readonly [string, string] {
  const colon = text.indexOf(":");
  if (colon <= 0)
    throw new UserError(`--header: "${text}" is not of the form NAME: VALUE`);
  return [text.slice(0, colon), text.slice(colon + 1)];
}

async function fromFiles(
  context: CliContext,
  { from, at, to }: ExplainOptions,
  names: readonly string[],
  url: string,
): Promise<Question> {
  if (at !== undefined)
    throw new UserError(
      "--at asks a running sidecar, --filename asks files: give one of the two",
    );
  const { resources, warnings } = await readManifests(context, names);
  for (const warning of warnings)
    context.complain(`warning: ${findingLine(warning)}\n`);
  const world = {
    resources: withAssumedWorkloads(resources.map(({ resource }) => resource)),
    version: { store: "files", revision: 0, digest: "" },
  };
  const said = `by ${names.join(", ")}`;
  return {
    caller: callerFor(world)(from, url),
    calleeOf: calleesOf(world),
    workload: to,
    origin: { caller: said, callee: said },
    files: resources,
  };
}

async function fromMesh(
  context: CliContext,
  { from, at, to, ...options }: ExplainOptions,
  request: AskedRequest,
): Promise<Question> {
  const api = await connectApi(context, options);
  const world = await storedWorld(api);
  const stored = `by what the control plane has at revision ${world.version.revision}`;
  const general = {
    caller: callerFor(world)(from, request.url),
    calleeOf: calleesOf(world),
    workload: to,
    origin: { caller: stored, callee: stored },
    files: [],
  };
  if (at === undefined) return general;
  const config = await configAt(api, at, request);
  const { sidecar, version, resources } = config;
  const side = sideOf({ resources, version }, sidecar);
  const own = `${sidecar.namespace}/${sidecar.serviceAccount}`;
  const said = `by what is in force at ${at}: ${inForceText(config)}`;
  if (from === undefined || from === own) {
    const caller: Caller = { side, plaintext: false };
    return { ...general, caller, origin: { caller: said, callee: stored } };
  }
  return {
    ...general,
    calleeOf: (called) => (called === at ? side : general.calleeOf(called)),
    workload: at,
    origin: { caller: stored, callee: said },
  };
}

async function storedWorld(api: ApiClient): Promise<World> {
  // Read before the resources: they are of that revision or newer.
  const { body } = await api.call("GET", "/store");
  const { id, revision } = body as { id: string; revision: number };
  const lists = await Promise.all(
    KINDS.map((kind) => listResources(api, kind, undefined)),
  );
  return {
    resources: lists.flat().map(({ status: _status, ...resource }) => resource),
    version: { store: id, revision, digest: "" },
  };
}

/** What is in force there, and what that sidecar would ask for before it makes the call. */
async function configAt(
  api: ApiClient,
  at: string,
  request: AskedRequest,
): Promise<SidecarConfig> {
  if (!/^[^/]+\/[^/]+$/.test(at))
    throw new UserError(
      `--at: "${at}" is not NAMESPACE/NAME; "wherry status" lists the sidecars`,
    );
  const arrival = { originalDestination: undefined };
  const asked = questionsOf(headOf(request), arrival, undefined).join(",");
  const query = `ask=${encodeURIComponent(asked)}`;
  const { body } = await api.call("GET", `/sidecars/${at}/config?${query}`);
  return body as SidecarConfig;
}

function inForceText(config: SidecarConfig): string {
  const { version, latest, storeRevision, added = 0 } = config;
  const rest =
    added === 0
      ? ""
      : `; it does not hold ${added} resources of this call, and would ask for them`;
  return latest
    ? `revision ${version.revision}, the last there is for it${rest}`
    : `revision ${version.revision}, NOT the last: the control plane is at ${storeRevision} and has something else for it ("wherry status" says whether it was refused)${rest}`;
}

function render(
  { method, url }: AskedRequest,
  explanation: Explained,
  { origin, files, caller }: Question,
  colours: boolean,
): string {
  const paint = painter(colours);
  const place = placeIn(files);
  const { decisions, outcome } = explanation;
  const { namespace, serviceAccount } = caller.side.snapshot.self;
  const who = caller.plaintext
    ? " from a caller without a sidecar"
    : ` from ${namespace}/${serviceAccount}`;
  const part = (side: "caller" | "callee"): string[] => {
    const own = decisions.filter((each) => each.side === side);
    return own.length === 0
      ? []
      : [
          paint("dim", `the ${side}'s side, ${origin[side]}`),
          ...decisionLines(own, place, paint).map((line) => `  ${line}`),
          "",
        ];
  };
  return [
    paint("bold", `${method} ${url}${who}`),
    "",
    ...part("caller"),
    ...part("callee"),
    paint(outcome.allowed ? "green" : "red", outcomeText(outcome)),
    ...dependenceLines(
      explanation.outcome,
      (attribute) => sayingOf(attribute).option,
    ).map((line) => paint("yellow", line)),
    ...elsewhereLines(explanation).map((line) => paint("yellow", line)),
    ...explanation.warnings.map(
      (warning) => `${paint("yellow", "warning:")} ${warning}`,
    ),
  ]
    .map((line) => `${line}\n`)
    .join("");
}

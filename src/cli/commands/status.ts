/** `wherry status`: each sidecar, what it has in force, what it refused and why. */
import { Option, type Command } from "commander";
import type { ActiveFault } from "../../control-plane/faults.ts";
import type { Unconfirmed } from "../../control-plane/registry/lease.ts";
import type { SidecarStatus } from "../../control-plane/push/status.ts";
import type { Instead } from "../../push/stand-in.ts";
import { itemsIn } from "../answers.ts";
import { connectApi, withServer, type ServerOptions } from "../client.ts";
import type { CliContext } from "../context.ts";
import { inOneLine, outputOption, printOutput } from "../output.ts";
import { egressText, type EgressStatus } from "../observed/egress-text.ts";
import {
  plaintextText,
  type PlaintextStatus,
} from "../observed/plaintext-text.ts";
import { age, painter, table, type Paint } from "../table.ts";

/** The response of `GET /status`. */
interface MeshStatus {
  /** The control plane's wall clock, in milliseconds. */
  readonly now: number;
  readonly trustDomain: string;
  readonly store: {
    readonly id: string;
    readonly revision: number;
    readonly kind: string;
    readonly accepted: boolean;
  };
  readonly sidecars: readonly SidecarStatus[];
  /** Absent from a control plane that does not tell. */
  readonly unconfirmed?: readonly (Unconfirmed & {
    readonly workload: string;
  })[];
  /** Absent from a control plane that knows no faults. */
  readonly faults?: readonly ActiveFault[];
}

/** Workloads that are shown with the reason. */
const MOST_UNCONFIRMED = 20;

type StatusOptions = ServerOptions & {
  readonly output?: string;
  readonly plaintext?: boolean;
  readonly egress?: boolean;
};

export function registerStatus(program: Command, context: CliContext): void {
  withServer(program.command("status"))
    .description(
      "show each sidecar: config in force, refused config with the reason, certificate, age of config",
    )
    .option(
      "--plaintext",
      "show callers that still come in plaintext to PERMISSIVE ports",
    )
    .addOption(
      new Option(
        "--egress",
        "show what workloads call outside the mesh, let through or refused",
      ).conflicts("plaintext"),
    )
    .addOption(outputOption("json"))
    .action(async (options: StatusOptions) => {
      const api = await connectApi(context, options);
      if (options.plaintext === true) {
        const response = await api.call("GET", "/status/plaintext");
        const seen = response.body as PlaintextStatus;
        printOutput(context, options, seen, () =>
          plaintextText(seen, painter(context.colours)),
        );
        return;
      }
      if (options.egress === true) {
        const response = await api.call("GET", "/status/egress");
        const seen = response.body as EgressStatus;
        printOutput(context, options, seen, () =>
          egressText(seen, painter(context.colours)),
        );
        return;
      }
      const { body } = await api.call("GET", "/status");
      itemsIn(body, "sidecars");
      const status = body as MeshStatus;
      printOutput(context, options, status, () =>
        render(status, painter(context.colours)),
      );
    });
}

function render(status: MeshStatus, paint: Paint): string {
  const { store, sidecars, now } = status;
  const head = `${faultsOf(status, paint)}${paint("bold", "store")} ${store.id} (${store.kind}) at revision ${store.revision}, trust domain ${status.trustDomain}\n`;
  if (sidecars.length === 0)
    return `${head}no sidecar is known: start one with "wherry sidecar"; its token comes from "wherry token create"\n`;
  const rows = sidecars.map((sidecar) => [
    `${sidecar.namespace}/${sidecar.name}`,
    sidecar.connected
      ? paint("green", "connected")
      : paint("red", `gone for ${age(now - (sidecar.disconnectedAt ?? now))}`),
    workloadOf(sidecar, paint),
    sidecar.acknowledged === undefined
      ? "-"
      : String(sidecar.acknowledged.revision),
    configOf(sidecar, paint),
    holdsOf(sidecar),
    sidecar.configReceivedAt === undefined
      ? "-"
      : age(now - sidecar.configReceivedAt),
    `in ${age(sidecar.certificateExpiresAt - now)}`,
  ]);
  const refusals = sidecars.flatMap(({ namespace, name, refused }) =>
    refused === undefined
      ? []
      : [
          `${paint("red", `${namespace}/${name}`)} refused revision ${refused.version.revision} of store ${refused.version.store}, ${age(now - refused.at)} ago:\n  ${inOneLine(refused.reason)}\n`,
        ],
  );
  return `${head}\n${table(["SIDECAR", "STATE", "WORKLOAD", "REVISION", "CONFIG", "HOLDS", "AGE", "CERTIFICATE ENDS"], rows)}${refusals.length === 0 ? "" : `\n${refusals.join("")}`}${copiesOf(status, paint)}${unreadyOf(status, paint)}${unreadOf(status, paint)}${unconfirmedOf(status, paint)}${adviceOf(status)}`;
}

/** Before everything else: a search for the cause of trouble shall not miss what was made on purpose. */
function faultsOf({ faults = [], now }: MeshStatus, paint: Paint): string {
  return faults
    .map(
      ({ namespace, name, targets, what, expiresAt }) =>
        `${paint("red", "FAULTS ARE INJECTED")} into calls to ${targets.join(", ")} by ${namespace}/${name}: ${what}; ends in ${age(expiresAt - now)}, or with: wherry delete faultinjection ${name} -n ${namespace}\n`,
    )
    .join("");
}

function workloadOf(sidecar: SidecarStatus, paint: Paint): string {
  if (sidecar.lease === undefined) return paint("yellow", "not registered");
  if (sidecar.lease.unconfirmed === true) return paint("yellow", "unconfirmed");
  if (!sidecar.lease.ready) return paint("yellow", "not ready");
  return sidecar.lease.unreadyPorts === undefined
    ? "ready"
    : paint("yellow", "partly ready");
}

/** Two hosts with one state directory take turns. */
function copiesOf({ sidecars }: MeshStatus, paint: Paint): string {
  const lines = sidecars.flatMap(({ namespace, name, peer, copy }) =>
    copy === undefined
      ? []
      : [
          `${paint("red", `${namespace}/${name}`)} calls from ${peer} and from ${copy} with the same certificate: if these are two hosts, its state directory was copied; delete the state directory on one of them, and enrol it anew under another name\n`,
        ],
  );
  return lines.length === 0 ? "" : `\n${lines.join("")}`;
}

/** What sidecars say of applications that they cannot reach. */
function unreadyOf({ sidecars }: MeshStatus, paint: Paint): string {
  const lines = sidecars.flatMap(({ namespace, name, lease }) =>
    Object.entries(lease?.unreadyPorts ?? {}).map(
      ([port, why]) =>
        `${paint("yellow", `${namespace}/${name}`)} cannot reach its application on port ${port}: ${inOneLine(why)}\n`,
    ),
  );
  return lines.length === 0 ? "" : `\n${lines.join("")}`;
}

function configOf(sidecar: SidecarStatus, paint: Paint): string {
  if (sidecar.refused !== undefined) return paint("red", "refused");
  if (sidecar.acknowledged === undefined) return paint("yellow", "none yet");
  return sidecar.pending ? paint("yellow", "pending") : "acknowledged";
}

/** All that it may use, or how many Services of it. */
function holdsOf({ holds }: SidecarStatus): string {
  if (holds === undefined) return "-";
  if (holds.everything) return "all";
  return `${holds.services} ${holds.services === 1 ? "service" : "services"}`;
}

const INSTEAD_TEXT: Readonly<Record<Instead, string>> = {
  older: "the version that it has stays in force",
  closed: "what it could refuse is refused",
  rest: "the rest of it is in force",
  nothing: "it goes without",
};

/** What sidecars of older versions do not know, and what they do in its place. */
function unreadOf({ sidecars }: MeshStatus, paint: Paint): string {
  const lines = sidecars.flatMap((sidecar) =>
    [sidecar.withheld, sidecar.unread].flatMap((report) => {
      if (report === undefined) return [];
      const { namespace, name, agent } = sidecar;
      const { count, resources } = report;
      const more = count - resources.length;
      const noun = count === 1 ? "resource" : "resources";
      return [
        `${paint("yellow", `${namespace}/${name}`)} (version ${inOneLine(agent.version)}, schema ${agent.schema}) does not know all of ${count} ${noun}:\n`,
        ...resources.map(
          ({ resource, fields, instead }) =>
            `  ${inOneLine(`${resource}: ${fields.join(", ")}`)}; ${INSTEAD_TEXT[instead]}\n`,
        ),
        more > 0 ? `  and ${more} more\n` : "",
      ];
    }),
  );
  return lines.length === 0 ? "" : `\n${lines.join("")}`;
}

/** Many at once are a fault of the network or of the control plane, and callers still have them. */
function unconfirmedOf(
  { unconfirmed = [], now }: MeshStatus,
  paint: Paint,
): string {
  if (unconfirmed.length === 0) return "";
  const rows = unconfirmed
    .slice(0, MOST_UNCONFIRMED)
    .map(({ workload, since, why, reached, unreached }) => [
      paint("yellow", workload),
      age(now - since),
      String(reached),
      String(unreached),
      why,
    ]);
  const more = unconfirmed.length - rows.length;
  return `\nThe control plane hears nothing of these sidecars. Callers keep the workloads, and prefer others where some serve:\n${table(["WORKLOAD", "FOR", "REACHED BY", "NOT BY", "WHY IT IS KEPT"], rows)}${more === 0 ? "" : `and ${more} more\n`}`;
}

/** Sidecars that hold on to another store's config need a word from an operator. */
function adviceOf({ store, sidecars }: MeshStatus): string {
  const elsewhere = sidecars.filter(
    ({ refused, acknowledged }) =>
      refused !== undefined &&
      acknowledged !== undefined &&
      acknowledged.store !== store.id,
  );
  if (elsewhere.length === 0) return "";
  return `\n${elsewhere.length} of ${sidecars.length} sidecars serve from another store's config. If this store holds what the mesh shall have: wherry store accept ${store.id}\n`;
}

/** What the sidecar of the callee knows of a call, and a question about it may leave out: no rule that reads it is passed over in silence. */
import {
  DESTINATION_IP,
  SERVER_NAME,
  SOURCE_IP,
} from "../authorization/attributes.ts";
import {
  callOf,
  destinationAddress,
  remoteAddress,
  sourceAddress,
  type AuthorizationFacts,
  type AuthorizedConnection,
} from "../authorization/call.ts";
import type { NotGiven } from "../authorization/tests.ts";
import type { InboundPort } from "../snapshot.ts";

/** The callee's end of the connection, as far as the question says it. */
export interface AskedConnection extends AuthorizedConnection {
  /** Undefined: nobody has said it. "": TLS names no host. */
  readonly serverName?: string | undefined;
  /** "NAMESPACE/NAME" of the caller's Workload, where its address is taken for the connection's. */
  readonly addressOf?: string | undefined;
}

const FORWARDED = "x-forwarded-for";
const REMOTE_IP = "remote.ip";

/** As the sidecar would know it: the link of a sidecar names no host, and in plaintext a name is read on ports declared `tls` alone. */
export function connectionOf(
  { remoteAddress: from, localAddress, serverName = "" }: AskedConnection,
  plaintext: boolean,
  { appProtocol, takesBytes }: InboundPort,
): AuthorizedConnection {
  const isRead = !plaintext || (takesBytes && appProtocol === "tls");
  return {
    remoteAddress: from,
    localAddress,
    serverName: isRead && serverName !== "" ? serverName : undefined,
  };
}

/** `connection`: as it was asked about. `trustedHops`: the Mesh's. */
export function notGivenOf(
  facts: AuthorizationFacts,
  connection: AskedConnection,
  { appProtocol, takesBytes }: InboundPort,
  trustedHops: number,
): NotGiven {
  const call = callOf(facts);
  const plaintext = facts.peer === undefined;
  const names = new Set<string>();
  if (sourceAddress(call) === undefined) {
    names.add(SOURCE_IP.name);
    // The sidecar writes it, of a caller without an identity.
    if (plaintext && call.request?.header(FORWARDED) === undefined)
      names.add(`header ${FORWARDED}`);
  }
  if (remoteAddress(call, trustedHops) === undefined) names.add(REMOTE_IP);
  if (destinationAddress(call) === undefined) names.add(DESTINATION_IP.name);
  if (
    connection.serverName === undefined &&
    plaintext &&
    takesBytes &&
    appProtocol === "tls"
  )
    names.add(SERVER_NAME.name);
  return names;
}

const ADDRESSES: NotGiven = new Set([SOURCE_IP.name, REMOTE_IP]);

/** Whose address the caller's is taken to be, where rules are asked that would need it said. */
export function addressNote(
  port: InboundPort,
  facts: AuthorizationFacts,
  { addressOf, remoteAddress: address }: AskedConnection,
): readonly string[] {
  if (addressOf === undefined || address === undefined) return [];
  const reads =
    port
      .explain(facts, ADDRESSES)
      .considered.some(({ dependsOn }) => dependsOn !== undefined) ||
    (port.shadow?.open(facts, ADDRESSES) ?? []).length > 0 ||
    (port.custom?.explain(facts, ADDRESSES) ?? []).some(
      ({ dependsOn }) => dependsOn !== undefined,
    );
  return reads
    ? [`the caller's address is ${address}, that of Workload ${addressOf}`]
    : [];
}

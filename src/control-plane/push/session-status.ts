/** What is shown of one sidecar: who it is, what it says of itself, and how far its config is. */
import type { WallMs } from "../../core/units.ts";
import type { Node, UnreadReport } from "../../push/messages.ts";
import { NODE } from "../../push/names.ts";
import { BACKDATED } from "../authority/authority.ts";
import type { ResourceKey } from "../../resources/envelope.ts";
import type { Entry } from "./catalogue/item.ts";
import type { View } from "./catalogue/scopes.ts";
import { saidIn, type HeldConfig } from "./held-config.ts";
import type { Peer } from "./peer.ts";
import type { Holds, Refusing, SidecarStatus } from "./status.ts";
import type { Subscriptions } from "./asked/subscriptions.ts";
import type { TrustStatus } from "./trust-push.ts";

export interface SessionState extends Pick<
  SidecarStatus,
  "pending" | "connected" | "connectedSince"
> {
  readonly peer: Peer;
  readonly known: HeldConfig;
  /** Undefined until the sidecar has said what it is, as are the others. */
  readonly node: Node | undefined;
  readonly holds: Holds | undefined;
  readonly withheld: UnreadReport | undefined;
  readonly trust: TrustStatus;
}

export function holdsOf(
  { scope }: View,
  { everything }: Pick<Subscriptions, "everything">,
): Holds {
  return {
    everything,
    services: scope.services,
    questions: scope.questions,
  };
}

/** The authority sets each certificate back. */
function issuedAt({ certificateNotBefore }: Peer): WallMs {
  return certificateNotBefore + BACKDATED;
}

/** `wanted`: the newest version of a resource, where the sidecar should hold it. */
export function refusingOf(
  { namespace, name }: Pick<Peer, "namespace" | "name">,
  { refusal, inForce }: Pick<HeldConfig, "refusal" | "inForce">,
  wanted: (key: ResourceKey) => Entry | undefined,
): Refusing | undefined {
  if (refusal === undefined) return undefined;
  const { set, reason } = refusal;
  return {
    ...{ namespace, name, reason },
    has(key) {
      const entry = wanted(key);
      return (
        entry !== undefined &&
        set.entries.get(entry.slot)?.whole === entry &&
        inForce?.entries.get(entry.slot)?.whole !== entry
      );
    },
  };
}

export function statusOf(state: SessionState): SidecarStatus {
  const { peer, known, node, holds, withheld } = state;
  const { name, namespace, serviceAccount, labels, identity } = peer;
  const { acknowledged, receivedAt, refusal, unread } = known;
  return {
    name,
    namespace,
    serviceAccount,
    labels,
    identity,
    connected: state.connected,
    connectedSince: state.connectedSince,
    peer: peer.address,
    ...(acknowledged === undefined ? {} : { acknowledged }),
    ...(receivedAt === undefined ? {} : { configReceivedAt: receivedAt }),
    ...(refusal === undefined
      ? {}
      : {
          refused: {
            version: refusal.version,
            reason: refusal.reason,
            at: refusal.at,
          },
        }),
    ...(withheld === undefined ? {} : { withheld }),
    ...(unread === undefined ? {} : { unread }),
    pending: state.pending,
    certificateSerial: peer.serial,
    certificateExpiresAt: peer.certificateExpiresAt,
    trust: { ...state.trust, root: peer.root, issuedAt: issuedAt(peer) },
    ...(holds === undefined ? {} : { holds }),
    agent: {
      version: saidIn(node?.metadata ?? {}, NODE.version) ?? "",
      schema: Number(node?.metadata[NODE.schema] ?? 0),
    },
  };
}

/** The addresses that sidecars register: a claim until the connection or an administrator proves it, and one identity's at a time (law 13). */
import { wait, type Clock } from "../../core/clock.ts";
import { messageOf } from "../../core/errors.ts";
import { interfacesHere } from "../../core/interfaces.ts";
import type { Logger } from "../../core/log.ts";
import {
  canonicalAddress,
  isLoopback,
  isWithin,
  unreachable,
} from "../../core/text/network.ts";
import { formatName, keyOf, type Resource } from "../../resources/envelope.ts";
import { isKind } from "../../resources/kind.ts";
import {
  WORKLOAD,
  type WorkloadResource,
} from "../../resources/workload/schema.ts";
import {
  makeAddressBook,
  type AddressBook,
  type AddressConflict,
} from "./address-book.ts";
import type { Peer } from "../push/peer.ts";
import { holderOf } from "./registered-workload.ts";
import { RegistrationError } from "./registration-error.ts";
import type { Change, Store } from "../store/store.ts";

export interface Claims {
  /** The address in its one form. Throws RegistrationError where the peer may not register it. */
  check(peer: Peer, address: string): string;
  /** The owner of an address that the Workload is to have, where it is another identity. */
  conflict(workload: WorkloadResource): AddressConflict | undefined;
  /** Takes the places of the Workload. Throws RegistrationError where another identity has one. */
  take(workload: WorkloadResource): void;
  /** What the store has of the Workload is what it claims. */
  put(workload: WorkloadResource): void;
  /** What the Workload claimed is free. */
  release(workload: string): void;
  close(): Promise<void>;
}

const RETRY = 1000;

export interface ClaimsOptions {
  readonly store: Store;
  readonly clock: Clock;
  readonly logger: Logger;
  /** What a lease has is known from its registration, before the store tells. */
  readonly isLeased: (workload: string) => boolean;
  /** A leased Workload is not in the store any more, or a person's is in its place. */
  readonly onReplaced: (workload: string) => void;
}

export async function startClaims(options: ClaimsOptions): Promise<Claims> {
  const { store, clock, logger } = options;
  const book = makeAddressBook();
  const closing = new AbortController();

  const read = async (): Promise<number> => {
    const { resources, revision } = await store.list(WORKLOAD.kind);
    for (const resource of resources)
      if (isKind(WORKLOAD, resource)) book.put(resource);
    return revision;
  };
  /** What persons apply and delete. */
  const follow = async (after: number): Promise<void> => {
    for await (const change of store.watch(after, closing.signal))
      note(change, book, options);
  };
  const run = async (start: number): Promise<void> => {
    let revision = start;
    while (!closing.signal.aborted)
      try {
        await follow(revision);
        // The store closed.
        return;
      } catch (thrown) {
        logger.debug(
          { reason: messageOf(thrown) },
          "the Workloads are read anew",
        );
        await wait(clock, RETRY, closing.signal);
        revision = await read().catch(() => revision);
      }
  };
  const running = run(await read()).catch((thrown: unknown) => {
    if (!closing.signal.aborted)
      logger.error(
        { reason: messageOf(thrown) },
        "the Workloads are not followed any more: a defect",
      );
  });

  return {
    check: checkAddress,
    conflict: (workload) => book.conflict(workload),
    take(workload) {
      const conflict = book.conflict(workload);
      if (conflict !== undefined)
        throw new RegistrationError(
          "taken",
          `${conflict.place} belongs to Workload ${conflict.workload} of ${conflict.account}: register another address or port, or remove that Workload first`,
        );
      book.put(workload);
    },
    put: (workload) => book.put(workload),
    release: (workload) => book.remove(workload),
    async close() {
      closing.abort(new Error("the registry is closing"));
      await running;
    },
  };
}

function note(
  { type, resource }: Change,
  book: AddressBook,
  { isLeased, onReplaced }: ClaimsOptions,
): void {
  if (!isKind(WORKLOAD, resource)) return;
  const name = nameOf(resource);
  if (isLeased(name)) {
    if (type !== "put" || holderOf(resource) === undefined) onReplaced(name);
    return;
  }
  if (type === "put") book.put(resource);
  else book.remove(name);
}

function nameOf(resource: Resource): string {
  const { namespace, name } = keyOf(resource);
  return formatName(namespace, name);
}

function checkAddress({ source, addresses }: Peer, address: string): string {
  const plain = canonicalAddress(address);
  if (plain === undefined)
    throw new RegistrationError(
      "invalid",
      `spec.address: invalid address ${JSON.stringify(address)}: expected an IP address; a sidecar registers no name of a host`,
    );
  const why = unreachable(plain);
  if (why !== undefined)
    throw new RegistrationError(
      "invalid",
      `spec.address: ${plain} is ${why}: register one that others can call`,
    );
  if (
    plain === canonicalAddress(source) ||
    isWithin(plain, addresses) ||
    (isLoopback(source) && isOfThisMachine(plain))
  )
    return plain;
  throw new RegistrationError(
    "forbidden",
    `spec.address: ${plain} is not the address that this sidecar calls from (${source}), and its token allows no such: start it with --address ${source}, or with a token that \`wherry token create --allow-address ${plain}\` made`,
  );
}

function isOfThisMachine(address: string): boolean {
  const all = interfacesHere();
  // It is tried again, as what is refused is not.
  if (all === undefined)
    throw new Error("this machine does not tell its addresses now");
  return all.some((own) => canonicalAddress(own.address) === address);
}

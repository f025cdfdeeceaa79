/** The sidecar's resolver: what it goes by, where it listens and which servers it asks. */
import { readFile } from "node:fs/promises";
import type { Clock } from "../../core/clock.ts";
import { interfacesHere } from "../../core/interfaces.ts";
import { defectIn, type Logger } from "../../core/log.ts";
import type {
  VirtualAddresses,
  VirtualFamily,
} from "../../proxy/dns/virtual-addresses.ts";
import {
  CONNECTIONS,
  DATAGRAMS,
  listenForQuestions,
  type OpenResolver,
} from "../../proxy/dns/listen.ts";
import {
  HandedListeners,
  type ListeningSocket,
} from "../../proxy/downstream/handed-listeners.ts";
import { NameServers, type NameServer } from "../../proxy/dns/name-servers.ts";
import { HEARD_BEFORE, Resolver } from "../../proxy/dns/resolver.ts";
import { nameServersIn, RESOLV_CONF } from "../../wire/dns/resolv-conf.ts";
import type { DnsSettings } from "../settings.ts";
import type { ProxyWorker } from "../workers/worker.ts";

export interface NamingOptions {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly settings: DnsSettings;
  readonly worker: ProxyWorker;
  /** As of `ResolverOptions`. */
  readonly share: (host: string, address: string) => Promise<string>;
  readonly names: VirtualAddresses;
  /** What the process before this one listened on for questions. */
  readonly handed: readonly ListeningSocket[];
}

export interface Naming extends OpenResolver {
  view(): unknown;
}

/** Milliseconds between two looks at resolv.conf, which changes with the network. */
const LOOK = 5000;
const DNS_PORT = 53;

/** Throws UserError where it cannot listen. */
export async function startNaming(options: NamingOptions): Promise<Naming> {
  const { clock, logger, settings, worker, names } = options;
  const { host, port } = settings;
  // One port is for both.
  const handed = {
    [CONNECTIONS]: handedFor(CONNECTIONS, options),
    [DATAGRAMS]: handedFor(DATAGRAMS, options),
  };
  const servers = await surroundings(options);
  const nameServers = new NameServers({ clock, servers: servers.now });
  const began = clock.now();
  const resolver = new Resolver({
    clock,
    snapshot: worker.snapshot,
    lookups: {
      get value() {
        return worker.lookups;
      },
    },
    addresses: names,
    heardBefore: () => clock.now() - began < HEARD_BEFORE,
    family: servers.family,
    share: options.share,
    nameServers,
    count: (outcome) => worker.meters.dnsQuestions.with(outcome).add(),
  });
  const open = await listenForQuestions({
    ...{ clock, logger, host, port, resolver },
    takeHanded: (key, ...where) => handed[key].take(key, ...where)[0],
  }).catch((thrown: unknown) => {
    servers.close();
    throw thrown;
  });
  // What is at another port than this process's: questions would wait in it for ever.
  await Promise.all(Object.values(handed).map((each) => each.begin()));
  return {
    port: open.port,
    get sockets() {
      return open.sockets;
    },
    get waiting() {
      return open.waiting;
    },
    retire: () => open.retire(),
    view: () => ({
      ...{ host, port: open.port, names: names.size },
      nameServers: servers.now(),
      asking: nameServers.asking,
    }),
    close() {
      open.close();
      nameServers.close();
      servers.close();
    },
  };
}

function handedFor(key: string, { handed }: NamingOptions): HandedListeners {
  return new HandedListeners(handed.filter((each) => each.key === key));
}

interface Surroundings {
  readonly now: () => readonly NameServer[];
  readonly family: () => VirtualFamily;
  close(): void;
}

/** What may change on this machine while the sidecar runs, looked at again and again. */
async function surroundings({
  clock,
  logger,
  settings,
}: NamingOptions): Promise<Surroundings> {
  let known = settings.servers ?? [];
  let family: VirtualFamily = "ipv4";
  const look = async (): Promise<void> => {
    family = familyHere() ?? family;
    if (settings.servers !== undefined) return;
    const text = await readFile(RESOLV_CONF, "utf8").catch(() => undefined);
    // A file that is being written anew is there again soon.
    if (text === undefined) return;
    known = nameServersIn(text)
      .map((host) => ({ host, port: DNS_PORT }))
      .filter((server) => !isOwn(server, settings));
  };
  await look();
  if (known.length === 0)
    logger.warn(
      { file: RESOLV_CONF },
      "there is no name server for what is not in the mesh: name one with --dns-upstream",
    );
  const failed = defectIn(logger, "the look at the machine's name servers");
  const close = clock.every(LOOK, () => {
    look().catch(failed);
  });
  return { now: () => known, family: () => family, close };
}

/** Asking itself it would ask for ever. */
function isOwn(server: NameServer, { host, port }: DnsSettings): boolean {
  return (
    server.port === port &&
    (server.host === host || (host === "127.0.0.1" && server.host === "::1"))
  );
}

/**
 * A machine with IPv4 alone has no route to an address of IPv6, and the other way round. Undefined where the machine does not tell: it
 * opens a socket to look.
 */
function familyHere(): VirtualFamily | undefined {
  const all = interfacesHere();
  if (all === undefined) return undefined;
  const outer = all.filter(({ internal }) => !internal);
  const six = outer.some(
    ({ family, scopeid }) => family === "IPv6" && scopeid === 0,
  );
  return six && outer.every(({ family }) => family !== "IPv4")
    ? "ipv6"
    : "ipv4";
}

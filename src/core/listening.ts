/** How a server begins to listen, on a machine that may have no handle for it at the moment, and what a person reads where it cannot. */
import type { Socket as Datagrams } from "node:dgram";
import type { AddressInfo, ListenOptions, Server } from "node:net";
import type { Clock } from "./clock.ts";
import { messageOf, systemCode, UserError } from "./errors.ts";
import { again } from "./machine/again.ts";
import { countMachineError } from "./machine/machine-counts.ts";
import { formatHostPort } from "./text/host-port.ts";

/** Where to listen: by an address, or by a socket that has one. */
export type ListenWhere =
  | ListenOptions
  | { readonly fd: number; readonly backlog: number };

export interface ListenFault {
  /** "the admin pages" */
  readonly what: string;
  readonly host: string;
  readonly port: number;
  /** The option that chooses the port: "--admin-port". */
  readonly option: string;
  /** The option that chooses the address, where there is one. */
  readonly hostOption?: string;
}

/** The error of a `listen` that failed. */
export function cannotListen(fault: ListenFault, thrown: unknown): UserError {
  const { what, host, port } = fault;
  return new UserError(
    `${what} cannot listen on ${formatHostPort(host, port)}: ${whyAndWhatToDo(fault, thrown)}`,
    { cause: thrown },
  );
}

function whyAndWhatToDo(fault: ListenFault, thrown: unknown): string {
  const { option, hostOption = option } = fault;
  const code = systemCode(thrown);
  switch (code) {
    case "EADDRINUSE":
      return `the port is in use (${code}); stop what listens there, or choose another with ${option}`;
    case "EACCES":
      return `this user may not (${code}); choose a port from 1024 on with ${option}, or start with the privilege`;
    case "EADDRNOTAVAIL":
    case "EAFNOSUPPORT":
    case "ENOTFOUND":
    case "EAI_AGAIN":
      return `this machine has no such address (${code}); choose another with ${hostOption}`;
    default:
      return `${messageOf(thrown)}; choose another port with ${option}`;
  }
}

/**
 * Listens by `server`, and tries again where the machine fails for a moment. Rejects as `net.Server` does. From then on each connection
 * that the machine does not let in is counted, and `onError` hears of it: an error that nobody hears would end the process.
 */
export async function listenOn(
  clock: Clock,
  server: Server,
  where: ListenWhere,
  onError: (error: Error) => void,
): Promise<AddressInfo> {
  await again(clock, () => beginAnywhere(server, where));
  hearErrors(server, onError);
  const address = server.address();
  if (address === null || typeof address === "string")
    throw new TypeError("a listener has a TCP address");
  return address;
}

/** Resolves when the socket has its address, or is the one of the descriptor. */
export function bindDatagrams(
  socket: Datagrams,
  where:
    | { readonly port: number; readonly address: string }
    | { readonly fd: number },
): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.once("error", reject);
    socket.bind(where, () => {
      socket.off("error", reject);
      resolve();
    });
  });
}

/** For a server that listens already. */
export function hearErrors(
  server: Server,
  onError: (error: Error) => void,
): void {
  server.on("error", (error) => {
    countMachineError("accept", error);
    onError(error);
  });
}

async function beginAnywhere(
  server: Server,
  where: ListenWhere,
): Promise<void> {
  try {
    await begin(server, where);
  } catch (thrown) {
    const host = "host" in where ? withoutIpv6(where.host, thrown) : undefined;
    if (host === undefined) throw thrown;
    await begin(server, { ...where, host });
  }
}

/** "::" is every address: of IPv4 alone, where the kernel was started without IPv6. Undefined: that is not why it failed. */
export function withoutIpv6(
  host: string | undefined,
  thrown: unknown,
): string | undefined {
  return host === "::" && systemCode(thrown) === "EAFNOSUPPORT"
    ? "0.0.0.0"
    : undefined;
}

function begin(server: Server, where: ListenWhere): Promise<void> {
  return new Promise((resolve, reject) => {
    const settle = (): void => {
      server.off("error", failed);
      server.off("listening", listens);
    };
    const failed = (error: Error): void => {
      settle();
      reject(error);
    };
    const listens = (): void => {
      settle();
      resolve();
    };
    server.on("error", failed);
    server.on("listening", listens);
    server.listen(where);
  });
}

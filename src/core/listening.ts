/** What a person reads where a port cannot be listened on: what, where, why, and which option to change. */
import { messageOf, systemCode, UserError } from "./errors.ts";
import { formatHostPort } from "./text/host-port.ts";

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

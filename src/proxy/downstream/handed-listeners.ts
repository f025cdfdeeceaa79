/** Listening sockets that the process before this one had: each is listened on again once this process is ready to serve what comes there. */
import { closeDescriptor } from "../../runtime/unix/pass-descriptors.ts";

/** A socket that listens, in whichever process. */
export interface ListeningSocket {
  /** What it is for: "link", "published 8080". */
  readonly key: string;
  /** The address as it was asked for: "::". */
  readonly host: string;
  readonly port: number;
  readonly descriptor: number;
}

/** What is handed to one worker. Connections wait in the kernel, or go to the process before, until `begin`. */
export class HandedListeners {
  #sockets: readonly ListeningSocket[];
  readonly #begin: (() => Promise<unknown>)[] = [];

  constructor(sockets: readonly ListeningSocket[]) {
    this.#sockets = sockets;
  }

  /** Those that listen there; where any port will do, those that were for the same. They are the caller's from now on. */
  take(key: string, host: string, port: number): readonly ListeningSocket[] {
    const isWanted = (each: ListeningSocket): boolean =>
      each.host === host &&
      (port === 0 ? each.key === key : each.port === port);
    const taken = this.#sockets.filter(isWanted);
    this.#sockets = this.#sockets.filter((each) => !isWanted(each));
    return taken;
  }

  /** Runs once connections are to be accepted. */
  onBegin(run: () => Promise<unknown>): void {
    this.#begin.push(run);
  }

  /** From now on connections are accepted. What nobody has taken is closed: its port is not asked for any more. */
  async begin(): Promise<void> {
    for (const { descriptor } of this.#sockets) closeDescriptor(descriptor);
    this.#sockets = [];
    await Promise.all(this.#begin.splice(0).map((run) => run()));
  }
}

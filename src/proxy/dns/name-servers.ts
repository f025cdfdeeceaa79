/** Other name servers, for what is not the mesh's: asked one after the other, each from a port of its own, within bounds. */
import { randomInt } from "node:crypto";
import { createSocket, type Socket as Datagrams } from "node:dgram";
import { connect, isIPv6, type Socket } from "node:net";
import type { Cancel, Clock } from "../../core/clock.ts";
import {
  askedAnew,
  codeOf,
  isReplyTo,
  isTruncated,
  RCODE,
  type Question,
} from "../../wire/dns/messages.ts";
import { MessageReader, framed } from "../../wire/dns/stream.ts";

export interface NameServer {
  readonly host: string;
  readonly port: number;
}

/** Milliseconds that one server has, and how often one is asked: before the asker, which waits 5 s, gives up. */
export const ATTEMPT = 1500;
const ATTEMPTS = 3;
/** Questions without a reply: each has a socket. */
export const MOST_ASKED = 512;

export interface NameServersOptions {
  readonly clock: Clock;
  /** The first is asked first. */
  readonly servers: () => readonly NameServer[];
}

export class NameServers {
  readonly #options: NameServersOptions;
  readonly #asking = new Set<Asking>();

  constructor(options: NameServersOptions) {
    this.#options = options;
  }

  get asking(): number {
    return this.#asking.size;
  }

  /** Calls `done` with the reply, as it came; undefined where there is none in time, or too much is asked. `stream`: of any length. */
  ask(
    question: Question,
    stream: boolean,
    done: (reply: Buffer | undefined) => void,
  ): void {
    const servers = this.#options.servers();
    if (servers.length === 0 || this.#asking.size >= MOST_ASKED) {
      done(undefined);
      return;
    }
    const { clock } = this.#options;
    const asking = new Asking({ clock, servers, question, stream }, (reply) => {
      this.#asking.delete(asking);
      done(reply);
    });
    this.#asking.add(asking);
    asking.begin();
  }

  close(): void {
    for (const asking of this.#asking) asking.close();
    this.#asking.clear();
  }
}

interface AskingOptions {
  readonly clock: Clock;
  readonly servers: readonly NameServer[];
  readonly question: Question;
  readonly stream: boolean;
}

/** A server that says so cannot help; another may. */
const UNABLE: readonly number[] = [RCODE.SERVFAIL, RCODE.NOTIMP, RCODE.REFUSED];

class Asking {
  readonly #options: AskingOptions;
  readonly #done: (reply: Buffer | undefined) => void;
  #attempts = 0;
  /** What a server said that could not help. */
  #poor: Buffer | undefined;
  /** Ends what is in progress. */
  #stop: Cancel | undefined;

  constructor(
    options: AskingOptions,
    done: (reply: Buffer | undefined) => void,
  ) {
    this.#options = options;
    this.#done = done;
  }

  begin(): void {
    const { servers } = this.#options;
    const server = servers[this.#attempts % servers.length];
    if (server === undefined || this.#attempts >= ATTEMPTS) {
      this.#done(this.#poor);
      return;
    }
    this.#attempts += 1;
    this.#attempt((id) =>
      askByDatagram(this.#options, server, id, (reply) => {
        if (reply !== undefined && isTruncated(reply) && this.#options.stream)
          this.#attempt((other) =>
            askByStream(this.#options, server, other, (whole) =>
              this.#take(whole),
            ),
          );
        else this.#take(reply);
      }),
    );
  }

  close(): void {
    this.#stop?.();
  }

  #attempt(ask: (id: number) => Cancel): void {
    this.#stop?.();
    const end = ask(randomInt(0x1_0000));
    const late = this.#options.clock.after(ATTEMPT, () =>
      this.#take(undefined),
    );
    this.#stop = () => {
      late();
      end();
    };
  }

  #take(reply: Buffer | undefined): void {
    this.#stop?.();
    this.#stop = undefined;
    if (reply !== undefined && !UNABLE.includes(codeOf(reply))) {
      this.#done(reply);
      return;
    }
    this.#poor = reply ?? this.#poor;
    this.begin();
  }
}

type Take = (reply: Buffer | undefined) => void;

/** From a port that the system chose at random, connected: the kernel lets in what comes from that server alone. */
function askByDatagram(
  { question }: AskingOptions,
  { host, port }: NameServer,
  id: number,
  take: Take,
): Cancel {
  const socket: Datagrams = createSocket(isIPv6(host) ? "udp6" : "udp4");
  let over = false;
  const settle = (reply: Buffer | undefined): void => {
    if (!over) take(reply);
  };
  socket.on("error", () => settle(undefined));
  socket.on("message", (reply) => {
    if (isReplyTo(reply, question, id)) settle(reply);
  });
  socket.on("connect", () => {
    if (!over) socket.send(askedAnew(question, id));
  });
  socket.connect(port, host);
  return () => {
    over = true;
    socket.close();
  };
}

function askByStream(
  { question }: AskingOptions,
  { host, port }: NameServer,
  id: number,
  take: Take,
): Cancel {
  const socket: Socket = connect({ host, port });
  let over = false;
  const settle = (reply: Buffer | undefined): void => {
    if (!over) take(reply);
  };
  const reader = new MessageReader(0xffff, (reply) => {
    if (isReplyTo(reply, question, id)) settle(reply);
  });
  socket.on("error", () => settle(undefined));
  socket.on("close", () => settle(undefined));
  socket.on("data", (bytes: Buffer) => {
    reader.read(bytes);
  });
  socket.write(framed(askedAnew(question, id)));
  return () => {
    over = true;
    socket.destroy();
  };
}

/** The life of a question: names of the mesh are replied to with addresses that stand for them, the others are passed on. */
import type { Lookups } from "../../agent/interest/lookups.ts";
import type { Clock } from "../../core/clock.ts";
import type { Snapshot } from "../../policy/snapshot.ts";
import {
  CLASS,
  fitted,
  IDENTITY_REPLY,
  isIdentity,
  makeReply,
  passedOn,
  codeOf,
  RCODE,
  readMessage,
  TYPE,
  type Question,
  type Rcode,
  type Record,
} from "../../wire/dns/messages.ts";
import { hurried } from "../not-held.ts";
import { judgeName, type NameVerdict } from "./mesh-names.ts";
import type { NameServers } from "./name-servers.ts";
import {
  isVirtual,
  MOST_VIRTUAL,
  type VirtualAddresses,
  type VirtualFamily,
} from "./virtual-addresses.ts";

/** Seconds: applications ask again, and soon learn that a name is the mesh's, or is not any more. */
export const TTL = 5;
/** Milliseconds since a process began in which an application may go by what the one before it replied, which replies for some seconds yet. */
export const HEARD_BEFORE: number = (TTL + 10) * 1000;
/** Questions of this machine's applications that wait, for the control plane or another name server. */
export const MOST_WAITING_QUESTIONS = 1024;
/** Milliseconds that a name waits for the control plane: clients of DNS ask again, or give up, after 1 to 5 s. */
export const NAME_WAITS = 1000;

/** What becomes of a message. */
export type Outcome =
  | "mesh"
  | "no data"
  | "no such name"
  | "passed on"
  | "not resolved"
  | "refused"
  | "malformed"
  | "dropped";

export interface ResolverOptions {
  readonly clock: Clock;
  readonly snapshot: { readonly value: Snapshot | undefined };
  readonly lookups: { readonly value: Lookups | undefined };
  readonly addresses: VirtualAddresses;
  /** Whether applications may go by what a process before this one replied. */
  readonly heardBefore: () => boolean;
  /** The family that this machine calls others by: an application could not connect to an address of the other. */
  readonly family: () => VirtualFamily;
  /** Resolves once all workers that take captured connections know of the address, with the one that the host has: another process may have given it one. */
  readonly share: (host: string, address: string) => Promise<string>;
  readonly nameServers: Pick<NameServers, "ask">;
  readonly count: (outcome: Outcome) => void;
}

export class Resolver {
  readonly #options: ResolverOptions;
  /** Hosts whose address all have, in the order in which they heard of them: each of them forgets the first where there are too many. */
  readonly #shared = new Map<string, string>();
  #waiting = 0;

  constructor(options: ResolverOptions) {
    this.#options = options;
  }

  /** Calls `send` with the reply, once, maybe before this returns; false where there is none to come. `stream`: of any length. */
  hear(bytes: Buffer, stream: boolean, send: (reply: Buffer) => void): boolean {
    const { count } = this.#options;
    const message = readMessage(bytes);
    if (message.kind === "no question") {
      count("dropped");
      return false;
    }
    if (message.kind === "malformed") {
      count("malformed");
      send(message.reply);
      return true;
    }
    const { question } = message;
    const reply = (outcome: Outcome, answer: Buffer): void => {
      count(outcome);
      send(stream ? answer : fitted(answer, question));
    };
    const plain = atOnce(question, this.#options);
    if (plain !== undefined) {
      reply(...plain);
      return true;
    }
    if (this.#waiting >= MOST_WAITING_QUESTIONS) {
      reply("not resolved", makeReply(question, RCODE.SERVFAIL));
      return true;
    }
    this.#waiting += 1;
    this.#resolve(question, stream, (outcome, answer) => {
      this.#waiting -= 1;
      reply(outcome, answer);
    });
    return true;
  }

  #resolve(question: Question, stream: boolean, reply: Reply): void {
    const { clock, snapshot, lookups } = this.#options;
    const { host } = question;
    if (host === undefined) {
      this.#passOn(question, stream, false, reply);
      return;
    }
    const now = ():
      | { snapshot: Snapshot; lookups: Lookups | undefined }
      | undefined =>
      snapshot.value && {
        snapshot: snapshot.value,
        lookups: lookups.value && hurried(lookups.value, clock, NAME_WAITS),
      };
    judgeName(host, now, (verdict) =>
      this.#act(question, stream, verdict, reply),
    );
  }

  #act(
    question: Question,
    stream: boolean,
    verdict: NameVerdict,
    reply: Reply,
  ): void {
    switch (verdict.kind) {
      case "service":
        if (verdict.own || isOfAddresses(question.type))
          this.#answer(question, verdict.host, reply);
        else this.#passOn(question, stream, false, reply);
        return;
      case "nothing":
        reply("no such name", makeReply(question, RCODE.NXDOMAIN));
        return;
      case "unknown":
        reply("not resolved", makeReply(question, RCODE.SERVFAIL));
        return;
      case "elsewhere":
        this.#passOn(question, stream, verdict.unsure, reply);
    }
  }

  /** With the address that stands for the host. */
  #answer(question: Question, host: string, reply: Reply): void {
    const { addresses, share, snapshot, heardBefore } = this.#options;
    const family = this.#options.family();
    const wanted = family === "ipv4" ? TYPE.A : TYPE.AAAA;
    if (question.type !== wanted && question.type !== TYPE.ANY) {
      reply("no data", makeReply(question, RCODE.NOERROR));
      return;
    }
    const others = heardBefore() ? snapshot.value : undefined;
    const first = addresses.addressOf(host, family, others);
    const type = family === "ipv4" ? "A" : "AAAA";
    const answer = (data: string): void =>
      reply(
        "mesh",
        makeReply(question, RCODE.NOERROR, [{ type, data, ttl: TTL }]),
      );
    if (this.#shared.get(host) === first) {
      answer(first);
      return;
    }
    share(host, first).then(
      (data) => {
        this.#noteShared(host, data);
        answer(data);
      },
      () => reply("not resolved", makeReply(question, RCODE.SERVFAIL)),
    );
  }

  /** What is below a wildcard has any number of names. */
  #noteShared(host: string, address: string): void {
    this.#shared.delete(host);
    this.#shared.set(host, address);
    if (this.#shared.size <= MOST_VIRTUAL) return;
    for (const oldest of this.#shared.keys()) {
      this.#shared.delete(oldest);
      return;
    }
  }

  #passOn(
    question: Question,
    stream: boolean,
    unsure: boolean,
    reply: Reply,
  ): void {
    this.#options.nameServers.ask(question, stream, (received) => {
      // That others do not know the name says nothing where the mesh may have it.
      if (
        received === undefined ||
        (unsure && codeOf(received) === RCODE.NXDOMAIN)
      )
        reply("not resolved", makeReply(question, RCODE.SERVFAIL));
      else reply("passed on", passedOn(received, question));
    });
  }
}

type Reply = (outcome: Outcome, answer: Buffer) => void;

/** Types of records that lead a client to an address, or around it. */
function isOfAddresses(type: number): boolean {
  return (
    type === TYPE.A ||
    type === TYPE.AAAA ||
    type === TYPE.SVCB ||
    type === TYPE.HTTPS ||
    type === TYPE.ANY
  );
}

/** What needs neither the mesh nor others. */
function atOnce(
  question: Question,
  options: ResolverOptions,
): Parameters<Reply> | undefined {
  const plain = (
    outcome: Outcome,
    code: Rcode,
    records?: readonly Record[],
  ): Parameters<Reply> => [outcome, makeReply(question, code, records)];
  if (question.opcode !== 0) return plain("refused", RCODE.NOTIMP);
  if (isIdentity(question))
    return plain("mesh", RCODE.NOERROR, [
      { type: "TXT", data: IDENTITY_REPLY, ttl: 0 },
    ]);
  if (question.class !== CLASS.IN) return plain("refused", RCODE.REFUSED);
  const address = addressInReverse(question);
  if (address === undefined || !isVirtual(address)) return undefined;
  const { addresses, snapshot } = options;
  const host = addresses.hostOf(snapshot.value, address);
  if (host === undefined) return plain("no such name", RCODE.NXDOMAIN);
  return question.type === TYPE.PTR
    ? plain("mesh", RCODE.NOERROR, [{ type: "PTR", data: host, ttl: TTL }])
    : plain("no data", RCODE.NOERROR);
}

const IPV4_IN_REVERSE =
  /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.in-addr\.arpa$/;

/** 4.3.2.1.in-addr.arpa is 1.2.3.4. Those of IPv6 are passed on: nobody has ever had an answer for them. */
function addressInReverse({ host }: Question): string | undefined {
  const parts = host === undefined ? undefined : IPV4_IN_REVERSE.exec(host);
  return parts?.slice(1).reverse().join(".");
}

/** What a worker remembers of the calls that its workload gets: their callers, and what policies would do that change no verdict. */
import type { Verdict } from "../../policy/authorization/authorization.ts";
import type { AuthorizationFacts } from "../../policy/authorization/call.ts";
import type {
  Shadow,
  ShadowEffect,
  ShadowFinding,
} from "../../policy/authorization/shadow.ts";
import type { InboundPort } from "../../policy/snapshot.ts";
import {
  keyOfObserved,
  type ObservedCall,
  type Observed,
} from "../../push/messages.ts";
import type { Meters } from "../../telemetry/meters.ts";
import type { RequestRecord } from "../exchange/request-record.ts";
import { Callers, LONGEST_PATH } from "./callers.ts";

/** Distinct findings between two drains; one more is counted and not named. */
const MOST_FINDINGS = 512;

const LINES: Readonly<Record<ShadowEffect, string>> = {
  refused: "a policy on trial would refuse a call",
  admitted: "a policy on trial would let a refused call in",
  matched: "an AUDIT policy matches a call",
};

/** Log lines, a few a second for each effect: `RefusalLog` satisfies it. */
interface Lines {
  warn(
    message: string,
    effect: string,
    fields: Readonly<Record<string, unknown>>,
  ): void;
  /** Tells how many were left out. */
  catchUp(): void;
}

interface ObserverOptions {
  readonly lines: Lines;
  readonly meters: Pick<Meters, "shadow">;
}

type Row = { -readonly [K in keyof ObservedCall]: ObservedCall[K] };

export class Observer {
  readonly #meters: Pick<Meters, "shadow">;
  readonly #lines: Lines;
  readonly #callers = new Callers();
  readonly #findings = new Map<string, Row>();
  #dropped = 0;

  constructor({ lines, meters }: ObserverOptions) {
    this.#meters = meters;
    this.#lines = lines;
  }

  /** A call got its verdict. */
  judged(
    { shadow }: Pick<InboundPort, "shadow">,
    facts: AuthorizationFacts,
    verdict: Verdict,
    record: Pick<RequestRecord, "shadow">,
  ): void {
    const { peer, port, connection, request } = facts;
    this.#callers.add({
      peer,
      address: connection.remoteAddress,
      port,
      request,
    });
    if (shadow !== undefined) this.#judge(shadow, facts, verdict, record);
  }

  /** What has come since the last time. */
  drain(): Observed {
    this.#lines.catchUp();
    const { calls, dropped } = this.#callers.drain();
    const observed = {
      calls: [...calls, ...this.#findings.values()],
      dropped: dropped + this.#dropped,
    };
    this.#findings.clear();
    this.#dropped = 0;
    return observed;
  }

  #judge(
    shadow: Shadow,
    facts: AuthorizationFacts,
    verdict: Verdict,
    record: Pick<RequestRecord, "shadow">,
  ): void {
    const findings = shadow.judge(facts, verdict);
    if (findings.length === 0) return;
    record.shadow = findings
      .map(({ policy, effect }) => `${policy}: ${effect}`)
      .join(", ");
    for (const finding of findings) this.#tell(finding, facts);
  }

  #tell(
    { policy, effect, rule }: ShadowFinding,
    { peer = "", port, connection, request }: AuthorizationFacts,
  ): void {
    const { remoteAddress = "" } = connection;
    const { method = "", host = "", path: whole = "" } = request ?? {};
    const path = whole.length > LONGEST_PATH ? "" : whole;
    const address = peer === "" ? remoteAddress : "";
    this.#meters.shadow.with(policy, effect).add();
    this.#lines.warn(LINES[effect], effect, {
      ...{ policy, peer, port, method, address: remoteAddress },
      path: whole.slice(0, LONGEST_PATH),
      ...(rule === undefined ? {} : { rule }),
    });
    const call = { policy, effect, peer, address, port, method, host, path };
    const key = keyOfObserved(call);
    const row = this.#findings.get(key);
    if (row !== undefined) row.count += 1;
    else if (this.#findings.size >= MOST_FINDINGS) this.#dropped += 1;
    else
      this.#findings.set(key, {
        ...call,
        ...{ count: 1, firstAge: 0, lastAge: 0 },
      });
  }
}

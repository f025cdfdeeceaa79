/** Tells callers on the link that ask for it how busy the application is: in each response, and by a notice where there is none to carry it. */
import type { Cancel, Clock } from "../../core/clock.ts";
import {
  formatLoad,
  isReportDue,
  LoadMeter,
  reported,
  reportPeriod,
  SUBSCRIPTION,
  type Subscriber,
} from "../../policy/balance/load-report.ts";
import { EFFECTS, type Outcome } from "../../policy/outcome.ts";
import type { Notifier, ServerStream } from "../../wire/exchange.ts";
import { FieldClass } from "../../mesh/field-class.ts";
import { makeField, type Field } from "../../wire/fields.ts";
import { encodeLoadNotice } from "../../wire/load-notice.ts";
import { LOAD } from "../exchange/heads.ts";

export interface LoadReports {
  /** What a request to a port of the application is to be counted by; undefined where nobody asks about that port. */
  of(port: number, stream: ServerStream): RequestLoad | undefined;
  close(): void;
}

interface Port {
  readonly number: number;
  readonly meter: LoadMeter;
  readonly subscribers: Map<Notifier, Subscriber>;
  askedAt: number;
}

export function makeLoadReports(clock: Clock): LoadReports {
  const ports = new Map<number, Port>();
  let cancel: Cancel | undefined;

  const schedule = (): void => {
    let subscribers = 0;
    for (const port of ports.values()) subscribers += port.subscribers.size;
    cancel = clock.after(
      reportPeriod(subscribers, () => clock.random()),
      round,
    );
  };

  const round = (): void => {
    cancel = undefined;
    const now = clock.now();
    for (const port of ports.values()) {
      tell(port, now);
      if (now - port.askedAt > SUBSCRIPTION) ports.delete(port.number);
    }
    if (ports.size > 0) schedule();
  };

  const portOf = (number: number, now: number): Port => {
    let port = ports.get(number);
    if (port === undefined) {
      port = {
        number,
        meter: new LoadMeter(now),
        subscribers: new Map(),
        askedAt: now,
      };
      ports.set(number, port);
      if (cancel === undefined) schedule();
    }
    port.askedAt = now;
    return port;
  };

  return {
    of(number, stream) {
      if (!asks(stream)) {
        if (ports.size === 0) return undefined;
        const port = ports.get(number);
        return port === undefined
          ? undefined
          : new RequestLoad(clock, port.meter, undefined);
      }
      const now = clock.now();
      const port = portOf(number, now);
      return new RequestLoad(
        clock,
        port.meter,
        subscriberOf(port, stream.notifier, now),
      );
    },
    close() {
      cancel?.();
      ports.clear();
    },
  };
}

/** A peer whose identity is proved wants to know: applications and strangers learn nothing. */
function asks({ head, connection }: ServerStream): boolean {
  if (connection.peer === undefined) return false;
  for (const { bits, name } of head.fields)
    if ((bits & FieldClass.MESH) !== 0 && name === LOAD) return true;
  return false;
}

function subscriberOf(
  port: Port,
  notifier: Notifier | undefined,
  now: number,
): Subscriber {
  const known =
    notifier === undefined ? undefined : port.subscribers.get(notifier);
  if (known !== undefined) {
    known.askedAt = now;
    return known;
  }
  const subscriber: Subscriber = {
    askedAt: now,
    // Its response tells it; until then there is nothing of its own to miss.
    saidAt: now,
    saidVersion: -1,
  };
  // Over HTTP/1.1 there are responses alone.
  if (notifier !== undefined) port.subscribers.set(notifier, subscriber);
  return subscriber;
}

function tell({ number, meter, subscribers }: Port, now: number): void {
  let payload: Buffer | undefined;
  for (const [notifier, subscriber] of subscribers) {
    if (now - subscriber.askedAt > SUBSCRIPTION) {
      subscribers.delete(notifier);
      continue;
    }
    if (!isReportDue(subscriber, meter, now)) continue;
    payload ??= encodeLoadNotice({
      port: number,
      age: now - meter.sampledAt,
      inFlight: meter.inFlight,
      latency: meter.latency,
      limit: meter.limit,
    });
    if (notifier.notify(payload)) reported(subscriber, meter, now);
    else subscribers.delete(notifier);
  }
}

/** One request, as it counts in the load of its port. */
export class RequestLoad {
  readonly #clock: Clock;
  readonly #meter: LoadMeter;
  /** The caller that its response informs. */
  readonly #subscriber: Subscriber | undefined;
  #arrived = 0;

  constructor(
    clock: Clock,
    meter: LoadMeter,
    subscriber: Subscriber | undefined,
  ) {
    this.#clock = clock;
    this.#meter = meter;
    this.#subscriber = subscriber;
  }

  /** An attempt goes to the application. What it gives back is for `leave`. */
  arrive(): number {
    this.#arrived += 1;
    return this.#meter.arrive();
  }

  /** `latency` in milliseconds to the head of the response, or to the end without one; undefined where it says nothing. */
  leave(bucket: number, outcome: Outcome, latency: number | undefined): void {
    const meter = this.#meter;
    this.#arrived -= 1;
    // A cancelled request still gives a lower bound on its latency.
    const tells =
      EFFECTS[outcome.kind].latency === "measured" ||
      (outcome.kind === "cancelled" &&
        latency !== undefined &&
        latency > meter.latency);
    meter.leave(bucket, tells ? latency : undefined, this.#clock.now());
  }

  /** The field of the response; undefined where its caller has not asked. */
  field(): Field | undefined {
    const subscriber = this.#subscriber;
    if (subscriber === undefined) return undefined;
    const { inFlight, latency, limit } = this.#meter;
    reported(subscriber, this.#meter, this.#clock.now());
    // It is on its way out itself, whether its body has all been sent or not. Hardly ever the same twice: not for HPACK's table.
    return makeField(
      LOAD,
      formatLoad({ inFlight: inFlight - this.#arrived, latency, limit }),
      "without",
    );
  }
}

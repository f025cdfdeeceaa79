/**
 * The calls of the local application to places outside the mesh, each place with a count, kept until they are reported: those that go
 * there, and those that were refused because they would have.
 */
import {
  keyOfOutside,
  type Outside,
  type OutsideCall,
  type OutsideVerdict,
} from "../../push/messages.ts";

/** Distinct places between two drains; calls to others are counted together, for each Service and verdict. */
const MOST_PLACES = 512;
/** Characters of a host that is named: no name of DNS is longer. */
const LONGEST_HOST = 253;

/** What one call says of where it goes. */
export interface Departure {
  readonly verdict: OutsideVerdict;
  /** "NAMESPACE/NAME" of an external Service; "" for none. */
  readonly service: string;
  readonly host: string;
  readonly port: number;
  /** The host that the call says it is for, where it was sent to an address. */
  readonly name: string;
}

type Row = { -readonly [K in keyof OutsideCall]: OutsideCall[K] };

export class Departures {
  #rows = new Map<string, Row>();

  add(call: Departure): void {
    const key = keyOfOutside(call);
    const row = this.#rows.get(key);
    if (row !== undefined) row.count += 1;
    else if (this.#rows.size < MOST_PLACES && isShort(call))
      this.#put(key, call);
    else this.#addOther(call);
  }

  /** What has come since the last time. */
  drain(): Outside {
    const calls = [...this.#rows.values()];
    this.#rows = new Map();
    return { calls, dropped: 0 };
  }

  /** There are not more of these than Services, and one of each verdict. */
  #addOther({ verdict, service }: Departure): void {
    const key = `${verdict} ${service}`;
    const row = this.#rows.get(key);
    if (row !== undefined) row.count += 1;
    else this.#put(key, { verdict, service, host: "", port: 0, name: "" });
  }

  #put(key: string, call: Departure): void {
    this.#rows.set(key, { ...call, count: 1, firstAge: 0, lastAge: 0 });
  }
}

function isShort({ host, name }: Departure): boolean {
  return host.length <= LONGEST_HOST && name.length <= LONGEST_HOST;
}

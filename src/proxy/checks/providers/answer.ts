/** What a provider of authorization is asked, and what it may say: which headers it may write where, and what makes its response unusable. */
import type { Cancel } from "../../../core/clock.ts";
import type { SpiffeUri } from "../../../core/units.ts";
import type { HeaderEdits } from "../../../policy/routing/header-edits.ts";
import { describesBody } from "../../../mesh/field-class.ts";
import {
  isWritable,
  listed,
} from "../../../policy/authorization/provider-headers.ts";
import type { Provider } from "../../../resources/mesh/providers.ts";
import type { ServerStream } from "../../../wire/exchange.ts";
import type { Read } from "../checked-request.ts";

/** What a provider is asked about. */
export interface Asked {
  readonly stream: Pick<ServerStream, "head" | "connection">;
  /** Undefined: a call that is bytes. */
  readonly read: Read | undefined;
  /** The workload that is called, and its port. */
  readonly self: SpiffeUri;
  readonly port: number;
  /** Milliseconds since the epoch. */
  readonly wall: number;
  /** What it may see of the body; undefined where it sees none. */
  readonly body: Buffer | undefined;
  /** There is more of it. */
  readonly partial: boolean;
}

export type Answer = Allowed | Denied | Failed;

export interface Allowed {
  readonly kind: "allowed";
  readonly request: HeaderEdits;
  readonly response: HeaderEdits;
}

export interface Denied {
  readonly kind: "denied";
  /** Undefined: that of the reason, for it denies by one that looks like success, or by none. */
  readonly status: number | undefined;
  readonly fields: readonly (readonly [name: string, value: string])[];
  /** Undefined: our own page says it. */
  readonly body: Buffer | undefined;
}

/** It cannot be used. */
export interface Failed {
  readonly kind: "failed";
  readonly why: string;
}

/** A question in flight. */
export interface Asking {
  readonly cancel: Cancel;
  /** It has denied, and only its page is still missing. */
  readonly denied?: () => Denied | undefined;
}

export interface ProviderClient {
  /** `done` is called once at most, and never from within. */
  ask(asked: Asked, done: (answer: Answer) => void): Asking;
  close(): void;
}

/** A header as a provider gives it. */
export interface Written {
  readonly name: string;
  readonly value: string;
  /** Beside those of the same name, and not in their place. */
  readonly append: boolean;
}

const VALUE = /^[\t\x20-\x7e\x80-\xff]*$/;
/** Bytes of the names and values of one response. */
const MOST_BYTES = 16_384;
/** A page that says more is left out. */
export const MOST_PAGE = 65_536;
/** What the caller of a denied request gets whatever is listed, beside what says how its page is to be read. */
const ALWAYS = ["location", "www-authenticate"];

/** The lists of a provider, made once. */
export class HeaderRules {
  readonly toApplication: (name: string) => boolean;
  readonly toDenied: (name: string) => boolean;
  readonly toAllowed: (name: string) => boolean;

  constructor(provider: Provider) {
    this.toApplication = listed(provider.headersToApplication);
    this.toDenied = listed([...provider.headersToCallerOnDeny, ...ALWAYS]);
    this.toAllowed = listed(provider.headersToCallerOnAllow);
  }

  /** `request` and `response` may be one list, as in HTTP: what it says is said once. */
  allowed(
    request: readonly Written[],
    response: readonly Written[],
    removed: readonly string[] = [],
  ): Allowed | Failed {
    const all = request === response ? request : [...request, ...response];
    const fault = faultOf(all);
    if (fault !== undefined) return { kind: "failed", why: fault };
    const remove = removed
      .map((name) => name.toLowerCase())
      .filter((name) => isWritable(name));
    return {
      kind: "allowed",
      request: editsOf(request, this.toApplication, remove),
      response: editsOf(response, this.toAllowed, []),
    };
  }

  denied(
    status: number,
    written: readonly Written[],
    body: Buffer | undefined,
  ): Denied {
    const page =
      body === undefined || body.length === 0 || body.length > MOST_PAGE
        ? undefined
        : body;
    // A denial stays one, whatever is wrong with what it says besides.
    const usable = faultOf(written) === undefined ? written : [];
    const fields = usable
      .map(({ name, value }) => [name.toLowerCase(), value] as const)
      .filter(([name]) =>
        describesBody(name) ? page !== undefined : this.toDenied(name),
      );
    return {
      kind: "denied",
      status: looksLikeDenial(status) ? status : undefined,
      fields,
      body: page,
    };
  }
}

/** A denial never reaches the caller as success. */
function looksLikeDenial(status: number): boolean {
  return status >= 300 && status <= 599;
}

function editsOf(
  written: readonly Written[],
  isListed: (name: string) => boolean,
  remove: readonly string[],
): HeaderEdits {
  const taken = written
    .map((each) => ({ ...each, name: each.name.toLowerCase() }))
    .filter(({ name }) => isListed(name));
  const pairs = (append: boolean): { name: string; value: string }[] =>
    taken
      .filter((each) => each.append === append)
      .map(({ name, value }) => ({ name, value }));
  // Where several take each other's place, the last one counts.
  const set = new Map(pairs(false).map((pair) => [pair.name, pair]));
  const add = pairs(true);
  const names = new Set(taken.map(({ name }) => name));
  return {
    set: [...set.values()],
    add,
    remove: new Set(remove.filter((name) => !names.has(name))),
  };
}

function faultOf(written: readonly Written[]): string | undefined {
  let bytes = 0;
  for (const { name, value } of written) {
    bytes += name.length + value.length;
    // A name that no list can have is left out; a value that no header can have is the sign of an attack, or of a defect.
    if (!VALUE.test(value))
      return "its response has a header value that no header can have";
  }
  return bytes > MOST_BYTES
    ? `its response has more than ${MOST_BYTES} bytes of headers`
    : undefined;
}

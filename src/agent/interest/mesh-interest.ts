/** What one sidecar in a mesh is interested in: what it uses, what it asked, and what it was started with; it tells the control plane, and forgets what is of no use. */
import { wait, type Cancel, type Clock } from "../../core/clock.ts";
import type { Destination, SelfDescription } from "../../policy/snapshot.ts";
import {
  EVERYTHING,
  formatInterest,
  MOST_SUBSCRIPTIONS,
  SELF,
} from "../../push/interest.ts";
import { formatName, selects } from "../../resources/envelope.ts";
import { isKind } from "../../resources/kind.ts";
import { SERVICE } from "../../resources/service/schema.ts";
import type { ReceivedLookups, ReceivedResources } from "../staging.ts";
import type {
  Named,
  NotKnown,
  OnKnown,
  SharedLookups,
  Want,
} from "./lookups.ts";
import { heldView, type HeldView } from "./held-view.ts";
import { Questions, RESOLVE_WITHIN } from "./questions.ts";
import { PendingSubscriptions, type Send } from "./subscriptions.ts";
import { Uses } from "./uses.ts";

/** What a sidecar is started with, and never gives back. */
export interface Declared {
  /** "NAMESPACE/NAME" */
  readonly services: readonly string[];
  /** Hosts of local ports that lead to one service each. */
  readonly hosts: readonly string[];
}

/** What outlives the process. */
export interface KeptInterest {
  readonly services: readonly string[];
  readonly lookups: ReceivedLookups;
}

export interface MeshInterestOptions {
  readonly clock: Clock;
  readonly declared: Declared;
  /** Something that is kept on disk has changed. */
  readonly onChange: () => void;
}

/** Milliseconds. */
const MINUTE = 60_000;
/** Minutes after which what was of no use is given back. */
export const GIVEN_BACK_AFTER = 60;

/** Milliseconds between two looks at whether requests wait. */
const SETTLING = 20;

export class MeshInterest implements SharedLookups {
  readonly #options: MeshInterestOptions;
  readonly #uses: Uses;
  readonly #questions: Questions;
  readonly #pending = new PendingSubscriptions();
  readonly #onForget = new Set<(forgotten: Named) => void>();
  readonly #openExchanges = new Set<() => Iterable<string>>();
  readonly #stop: Cancel;
  /** Services that select this workload: they are held for it, and for calls to them only once they are asked for. */
  #own: ReadonlySet<string> = new Set();
  /** What is in force: the same objects until a push changes them. */
  #resources: ReceivedResources | undefined;
  #self: SelfDescription | undefined;
  #lookups: ReceivedLookups = new Map();
  /** Why nothing can be asked; undefined while something can be. */
  #gone: NotKnown | undefined;
  #dropped: string[] = [];
  /** The control plane resolves nothing, and sends everything in scope: there is nothing to ask. */
  #everything = false;

  constructor(options: MeshInterestOptions) {
    const { clock, declared } = options;
    this.#options = options;
    this.#uses = new Uses(declared.services);
    this.#questions = new Questions({
      clock,
      declared: declared.hosts.map((host) =>
        formatInterest({ kind: "host", host }),
      ),
      onAsk: (name) => this.#pending.subscribe(name),
      onDrop: (name) => {
        this.#pending.unsubscribe(name);
        this.#dropped.push(name);
      },
      has: (service) => this.#resources?.has(nameOf(service)) === true,
      held: (name) => this.#lookups.get(name)?.services,
    });
    this.#stop = clock.every(MINUTE, () => this.#tick());
  }

  get everything(): boolean {
    return this.#everything;
  }

  /** So it is after a first request for too much, and with an older control plane. */
  set everything(everything: boolean) {
    this.#everything = everything;
  }

  holds({ key, service }: Destination): boolean {
    return (
      this.#uses.called(key) ||
      this.use(formatName(service.namespace, service.name), key)
    );
  }

  use(service: string, destination?: string): boolean {
    // For what it does to this workload alone: without its other instances, and without its routes.
    if (
      !this.#everything &&
      this.#own.has(service) &&
      !this.#uses.has(service) &&
      !this.#questions.leadTo(service)
    )
      return false;
    if (this.#uses.note(service, destination)) {
      if (!this.#everything) this.#pending.subscribe(nameOf(service));
      this.#options.onChange();
    }
    return true;
  }

  knows(question: string): boolean {
    return this.#everything || this.#questions.knows(question);
  }

  look({ service, questions }: Want, done: OnKnown): void {
    if (this.#everything || (service !== undefined && this.use(service)))
      done(undefined);
    else if (
      this.#gone !== undefined &&
      !questions.every((name) => this.#questions.knows(name))
    )
      done(this.#gone);
    else this.#questions.wait(questions, done);
    this.#tellForgotten([]);
  }

  held(): HeldView {
    return heldView({
      resources: this.#resources ?? new Map(),
      own: this.#own,
      uses: new Map(this.#uses.entries()),
      questions: this.#questions.list(),
    });
  }

  mark({ services, questions }: Named): void {
    for (const service of services)
      if (this.#uses.has(service)) this.#uses.note(service);
    for (const name of questions) this.#questions.knows(name);
  }

  onForget(listener: (forgotten: Named) => void): Cancel {
    this.#onForget.add(listener);
    return () => this.#onForget.delete(listener);
  }

  watchExchanges(services: () => Iterable<string>): Cancel {
    this.#openExchanges.add(services);
    return () => this.#openExchanges.delete(services);
  }

  /** A stream begins: gives what its first request subscribes to; `send` takes what changes after it. */
  attach(send: Send): readonly string[] {
    this.#pending.attach(send);
    const names = [
      SELF,
      ...Array.from(this.#uses.entries(), ([service]) => nameOf(service)),
      ...this.#questions.names,
    ];
    return names.length > MOST_SUBSCRIPTIONS ? [EVERYTHING] : names;
  }

  /** The control plane responds. */
  connected(): void {
    this.#gone = undefined;
  }

  /** The stream is over; `following`: another one follows at once. */
  detach(following: boolean): void {
    this.#pending.attach(undefined);
    if (following) return;
    this.#gone = {
      kind: "gone",
      detail: "the control plane is away, and only what was in use is held",
    };
    this.#questions.fail(this.#gone);
    this.#tellForgotten([]);
  }

  /** What a push brought is in force. */
  applied(
    resources: ReceivedResources,
    lookups: ReceivedLookups,
    self: SelfDescription,
  ): void {
    if (this.#resources !== resources || this.#self !== self) {
      this.#resources = resources;
      this.#self = self;
      this.#own = ownServices(resources, self);
      this.#uses.forgetDestinations();
    }
    if (this.#lookups === lookups) return;
    this.#lookups = lookups;
    this.#questions.resolve(lookups);
    this.#options.onChange();
  }

  /** What a push brought cannot be used. */
  refused(reason: string): void {
    this.#questions.fail({
      kind: "refused",
      detail: `the config with the result was refused: ${reason}`,
    });
    this.#tellForgotten([]);
  }

  get lookups(): ReceivedLookups {
    return this.#lookups;
  }

  get kept(): KeptInterest {
    return {
      services: Array.from(this.#uses.entries(), ([service]) => service),
      lookups: this.#lookups,
    };
  }

  /** What the disk held: in use as of now. */
  restore({ services, lookups }: KeptInterest): void {
    for (const service of services) this.#uses.note(service);
    this.#lookups = lookups;
    this.#questions.restore(lookups);
  }

  /** Resolves when no request waits for a result any more, or has waited for as long as it may. */
  async settled(): Promise<void> {
    const { clock } = this.#options;
    const end = clock.now() + RESOLVE_WITHIN;
    while (this.#questions.waiting > 0 && clock.now() < end)
      await wait(clock, SETTLING, new AbortController().signal);
  }

  close(): void {
    this.#stop();
    this.#questions.close();
  }

  #tick(): void {
    for (const services of this.#openExchanges)
      this.mark({ services: [...services()], questions: [] });
    this.#uses.tick();
    const unused = this.#uses.unused(GIVEN_BACK_AFTER);
    for (const service of unused) {
      this.#uses.remove(service);
      this.#pending.unsubscribe(nameOf(service));
    }
    this.#questions.tick(GIVEN_BACK_AFTER);
    this.#tellForgotten(unused);
  }

  #tellForgotten(services: readonly string[]): void {
    const questions = this.#dropped;
    if (services.length === 0 && questions.length === 0) return;
    this.#dropped = [];
    this.#options.onChange();
    for (const listener of this.#onForget) listener({ services, questions });
  }
}

function nameOf(service: string): string {
  const [namespace = "", name = ""] = service.split("/");
  return formatInterest({ kind: "service", namespace, name });
}

function ownServices(
  resources: ReceivedResources,
  { namespace, labels }: SelfDescription,
): ReadonlySet<string> {
  const own = new Set<string>();
  for (const { resource } of resources.values())
    if (
      isKind(SERVICE, resource) &&
      resource.metadata.namespace === namespace &&
      selects(resource.spec.selector ?? {}, labels)
    )
      own.add(formatName(namespace, resource.metadata.name));
  return own;
}

/** One sidecar's stream: sends it what it lacks, one message at a time, and remembers what it took and what it refused. */
import { status } from "@grpc/grpc-js";
import type { Logger } from "../../core/log.ts";
import type { MonotonicMs } from "../../core/units.ts";
import type { DeltaRequest, Node } from "../../push/messages.ts";
import { NODE, resourceName, RESOURCE_TYPE } from "../../push/names.ts";
import type { Entry, Form } from "./catalogue/item.ts";
import { difference, ScopedSet } from "./catalogue/scoped-set.ts";
import type { InterestChange } from "./catalogue/interests.ts";
import type { View } from "./catalogue/scopes.ts";
import { Asks, type Asked } from "./asked/asks.ts";
import { Greeting } from "./greeting.ts";
import { GrpcError } from "./grpc.ts";
import {
  acknowledge,
  heldAtStart,
  isParted,
  refuse,
  type HeldConfig,
  type Offer,
} from "./held-config.ts";
import { workloadOf, type Peer } from "./peer.ts";
import type { SessionOptions } from "./session-options.ts";
import { Offered } from "./offered.ts";
import {
  encodeMessage,
  encodeTrust,
  formFor,
  messagesOf,
  type PushMessage,
} from "./push-messages.ts";
import type { Refusing, SidecarConfig, SidecarStatus } from "./status.ts";
import { holdsOf, refusingOf, statusOf } from "./session-status.ts";
import {
  Subscriptions,
  type SubscriptionFault,
} from "./asked/subscriptions.ts";
import { TrustPush } from "./trust-push.ts";

/** A push on its way. */
interface Push extends Offer {
  readonly rest: PushMessage[];
  /** Nonce of the message that waits for its response. */
  nonce: string;
  /** It closes the push. */
  closes: boolean;
  /** Whether it says so of the store. */
  accepted: boolean;
  readonly startedAt: MonotonicMs;
}

/** Serves the stream; it ends with its connection, which does not outlive the peer's certificate. The first push goes out when the sidecar has said what it holds. */
export class Session {
  /** What the sidecar should hold. */
  readonly view: View;
  readonly #options: SessionOptions;
  readonly #logger: Logger;
  /** Wall milliseconds. */
  readonly #connectedSince: number;
  /** Undefined until the sidecar has said what it is and what it holds. */
  #node: Node | undefined;
  #form: Form = "plain";
  #offered: Offered | undefined;
  /** A push has said the store. */
  #storeSaid = false;
  readonly #greeting = new Greeting();
  readonly #subscriptions: Subscriptions;
  readonly #asks: Asks;
  #known: HeldConfig = { held: new Map() };
  #push: Push | undefined;
  readonly #trust: TrustPush;
  /** The catalogue has changed since the push began. */
  #dirty = false;
  #messages = 0;
  #ended = false;

  constructor(options: SessionOptions) {
    const { peer, call, clock, debts } = options;
    this.#options = options;
    this.view = options.feed.catalogue.open(peer, []);
    this.#logger = options.logger.child({ sidecar: workloadOf(peer) });
    this.#subscriptions = new Subscriptions(clock);
    this.#asks = new Asks({
      ...{ clock, debts, peer },
      room: () => this.#subscriptions.room,
      take: (asked) => this.#asked(asked),
    });
    this.#trust = new TrustPush(options.trust);
    this.#connectedSince = clock.wall();
    const finish = (): void => this.#finish();
    call.on("data", (request: DeltaRequest) => this.#onRequest(request));
    call.on("cancelled", finish);
    call.on("error", finish);
    call.on("close", finish);
    call.on("end", () => {
      finish();
      call.end();
    });
  }

  get peer(): Peer {
    return this.#options.peer;
  }

  get status(): SidecarStatus {
    return statusOf({
      peer: this.peer,
      known: this.#known,
      node: this.#node,
      holds: this.#node && holdsOf(this.view, this.#subscriptions),
      trust: this.#trust.status,
      withheld: this.#offered?.withheld,
      pending: this.#push !== undefined,
      connected: !this.#ended,
      connectedSince: this.#connectedSince,
    });
  }

  /** Undefined where it refuses nothing. */
  get refusing(): Refusing | undefined {
    const { catalogue } = this.#options.feed;
    return refusingOf(this.peer, this.#known, (key) => {
      const entry = catalogue.get(resourceName(key));
      return entry && this.view.set.entries.get(entry.slot) && entry;
    });
  }

  /** The resources of the last push that it acknowledged on this stream, and what it would be given for these hosts and addresses; undefined where there is no such push yet. */
  configFor(asked: readonly string[]): SidecarConfig | undefined {
    const { inForce, acknowledged } = this.#known;
    if (inForce === undefined || acknowledged === undefined) return undefined;
    const set = this.#offer();
    const added = this.#givenFor(asked).filter(
      ({ slot }) =>
        set.entries.get(slot) === undefined &&
        inForce.entries.get(slot) === undefined,
    );
    return {
      version: acknowledged,
      latest: inForce.digest === set.digest,
      resources: [...inForce.entries.values(), ...added].flatMap(
        ({ resource }) => resource ?? [],
      ),
      added: added.filter(({ resource }) => resource !== undefined).length,
    };
  }

  /** All that it would hold if it asked for these names, too. */
  #givenFor(names: readonly string[]): readonly Entry[] {
    if (names.length === 0) return [];
    const { catalogue } = this.#options.feed;
    const asking = catalogue.open(this.peer, [...this.view.names, ...names]);
    const { entries } = asking.set;
    catalogue.close(asking);
    return [...entries.values()];
  }

  /** The catalogue, or what is asked for, changed: push, or push when the response to the last push is here. */
  settled(): void {
    if (this.#node === undefined || this.#ended) return;
    if (this.#push !== undefined || this.#trust.inFlight) this.#dirty = true;
    else {
      const missing = this.#takeMissing();
      if (missing.length > 0 || this.#offer().digest !== this.#known.heldDigest)
        this.#startPush(missing);
    }
  }

  /** Sends the roots, between two pushes of config; after them, what has changed meanwhile. */
  trustMoved(): void {
    const isFree = this.#push === undefined && !this.#trust.inFlight;
    if (this.#node === undefined || this.#ended || !isFree) return;
    const nonce = String(this.#messages + 1);
    const offer = this.#trust.next(nonce);
    if (offer !== undefined) {
      this.#messages += 1;
      this.#options.call.write(encodeTrust(offer.field, nonce));
    } else if (this.#dirty) this.settled();
  }

  /** Sends the Revision again, now that the store is accepted. */
  acceptedNow(): void {
    const { refusal } = this.#known;
    if (refusal !== undefined && this.#push === undefined && !this.#ended)
      this.#startPush(this.#takeMissing());
  }

  end(code: status, reason: string): void {
    if (this.#ended) return;
    this.#finish();
    // The error becomes the stream's status; what was written before it still goes out.
    this.#options.call.emit("error", new GrpcError(code, reason));
  }

  /** What it should hold, as far as it can be told. */
  #offer(): ScopedSet {
    const { set } = this.view;
    return this.#offered?.of(set, this.#known.held) ?? set;
  }

  #finish(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#asks.close();
    // What it said it uses is remembered also where no push has followed.
    this.#takeMissing();
    this.#push = undefined;
    this.#offered?.close();
    this.#options.feed.catalogue.close(this.view);
    this.#options.onEnd();
  }

  #onRequest(request: DeltaRequest): void {
    if (this.#ended) return;
    const push = this.#push;
    if (this.#node === undefined) {
      const greeted = this.#greeting.add(request);
      if (greeted.kind === "whole")
        this.#options.debts.run(this.peer, () =>
          this.#greeted(greeted.request),
        );
      else if (greeted.kind === "long")
        this.end(status.RESOURCE_EXHAUSTED, greeted.message);
      return;
    }
    if (request.subscribe.length + request.unsubscribe.length > 0)
      this.#asks.add(request);
    if (push !== undefined && request.nonce === push.nonce)
      this.#answered(push, request);
    else if (this.#trust.answered(request)) this.trustMoved();
  }

  /** Pushes at once: a call of the application waits for it. */
  #asked(asked: Asked): void {
    if (this.#ask(this.#subscriptions.apply(asked))) this.settled();
  }

  /** False where the stream is over. */
  #ask(change: InterestChange | SubscriptionFault): boolean {
    if ("kind" in change) {
      const { kind, message } = change;
      this.#logger.warn({ reason: message }, "a sidecar asks for too much");
      this.end(
        kind === "many" ? status.RESOURCE_EXHAUSTED : status.INVALID_ARGUMENT,
        message,
      );
      return false;
    }
    this.#options.feed.catalogue.ask(this.view, change);
    return true;
  }

  #greeted(request: DeltaRequest): void {
    const { store, feed } = this.#options;
    if (request.node === undefined || request.typeUrl !== RESOURCE_TYPE) {
      this.end(
        status.INVALID_ARGUMENT,
        `a stream starts with its node and type ${RESOURCE_TYPE}`,
      );
      return;
    }
    this.#node = request.node;
    this.#trust.greeted(request.node);
    this.#form = formFor(request.node);
    const schema = request.node.metadata[NODE.schema];
    this.#offered = new Offered(feed.catalogue.sayingsFor(schema));
    if (!this.#ask(this.#subscriptions.start(request))) return;
    this.#known = heldAtStart(request, { store, revision: feed.revision });
    this.#startPush(this.#takeMissing());
  }

  /** Names of Services that were asked for and are not there: each is said once. */
  #takeMissing(): readonly string[] {
    return this.#subscriptions
      .takeFresh()
      .filter(
        (name) => !this.view.scope.leadsTo(name.slice(name.indexOf("/") + 1)),
      );
  }

  /** `missing`: what is said to be gone besides what was held and is gone. */
  #startPush(missing: readonly string[]): void {
    const { store, feed, counters, clock } = this.#options;
    this.#dirty = false;
    const set = this.#offer();
    const { changed, removed } = difference(this.#known.held, set);
    const lacking = {
      changed,
      removed: [...new Set([...removed, ...missing])],
    };
    const push: Push = {
      set,
      version: {
        ...{ store: store.id, revision: feed.revision, digest: set.digest },
        ...(store.branch === "" ? {} : { branch: store.branch }),
      },
      rest: messagesOf(lacking, this.#form),
      nonce: "",
      closes: true,
      accepted: false,
      startedAt: clock.now(),
    };
    this.#push = push;
    counters.pushes += 1;
    counters.resources += lacking.changed.length;
    counters.removed += lacking.removed.length;
    this.#sendNext(push);
  }

  #sendNext(push: Push): void {
    const { call, counters, store } = this.#options;
    const message = push.rest.shift();
    if (message === undefined || this.#ended) return;
    this.#messages += 1;
    push.nonce = String(this.#messages);
    push.closes = message.closes;
    push.accepted = this.#accepts(push);
    const { version, nonce, accepted } = push;
    const known = this.#known.acknowledged ?? version;
    const bytes = encodeMessage(message, nonce, {
      form: this.#form,
      version,
      storeSaid: this.#storeSaid,
      closing: () => ({
        accepted,
        parted: isParted(known, store),
        selective: !this.#subscriptions.everything,
      }),
    });
    this.#storeSaid ||= message.closes;
    counters.bytes += bytes.length;
    call.write(bytes);
  }

  /** Whether the sidecar, from what it knows, may go on with this store. */
  #accepts({ version }: Offer): boolean {
    return this.#options.accepted(this.#known.acknowledged ?? version);
  }

  #answered(push: Push, { error, unread }: DeltaRequest): void {
    const whole = push.closes;
    if (!whole && error === undefined) {
      this.#sendNext(push);
      return;
    }
    this.#push = undefined;
    this.#options.onResponse?.();
    if (error === undefined) this.#taken(push, unread);
    else this.#refused(push, error.message, whole);
    if (!whole)
      // What it holds now is unknown: it says so itself when it comes back.
      this.end(status.FAILED_PRECONDITION, "a part of a push was refused");
    else if (error !== undefined && !push.accepted && this.#accepts(push))
      // The store was accepted while the push was on its way: it says so now.
      this.#startPush(this.#takeMissing());
    else this.trustMoved();
  }

  #taken(push: Push, unread: DeltaRequest["unread"]): void {
    const { clock, counters, meters } = this.#options;
    counters.acknowledged += 1;
    meters.acknowledgedAfter.record((clock.now() - push.startedAt) / 1000);
    this.#known = acknowledge(this.#known, push, clock.wall(), unread);
    this.view.counts.takes(push.set);
    this.view.counts.refuses(ScopedSet.EMPTY);
  }

  #refused(push: Push, message: string, whole: boolean): void {
    const { clock, counters } = this.#options;
    counters.refused += 1;
    this.#known = refuse(this.#known, push, {
      reason: message,
      at: clock.wall(),
      whole,
    });
    this.view.counts.refuses(push.set);
    this.#logger.warn(
      {
        revision: push.version.revision,
        reason: this.#known.refusal?.reason,
      },
      "the sidecar refused its config and keeps what it has",
    );
  }
}

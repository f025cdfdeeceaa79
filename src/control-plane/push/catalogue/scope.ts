/** The set of all sidecars that see the same and ask for the same: brought up to date by what changes touch, when somebody asks or all has settled. */
import { isQuestion, parseInterest } from "../../../push/interest.ts";
import { ROOT_NAMESPACE } from "../../../resources/envelope.ts";
import { empty } from "../../../runtime/v8.ts";
import type { Answer, Answers, Asker, Result } from "./answers.ts";
import type { InterestChange, Interests } from "./interests.ts";
import type { Item } from "./item.ts";
import {
  FOR_ALL,
  isInScope,
  isNeeded,
  sees,
  type ScopeOf,
} from "./membership.ts";
import type { MeshIndex } from "./mesh-index.ts";
import { Needs, type OnSought } from "./needs.ts";
import { ScopedSet } from "./scoped-set.ts";

/** One sidecar that follows the scope. */
export interface Follower {
  follow(set: ScopedSet): void;
}

export interface ScopeOptions {
  /** Equal for those that see the same and ask for the same. */
  readonly key: string;
  readonly self: ScopeOf;
  readonly interests: Interests;
  readonly index: MeshIndex;
  readonly answers: Answers;
  /** A scope that asks for everything in the namespace, and for nothing besides. */
  readonly like: Scope | undefined;
  /** One of the same workload that asks for the same so far. */
  readonly from?: Scope | undefined;
  /** It is to be flushed when all has settled. */
  readonly onStale: (scope: Scope) => void;
  readonly onSought: OnSought<Scope>;
}

export class Scope implements Asker {
  readonly followers: Set<Follower> = new Set();
  key: string;
  readonly #options: ScopeOptions;
  readonly #index: MeshIndex;
  #interests: Interests;
  readonly #needs: Needs;
  /** What may be in the set or not, or in another version, since it was last looked at. */
  readonly #touched = new Set<Item>();
  readonly #questions = new Map<string, Answer>();
  readonly #results = new Map<Answer, Result>();
  readonly #outdated = new Set<Answer>();
  /** Followers that do not know the set yet. */
  readonly #newcomers = new Set<Follower>();
  #set: ScopedSet = ScopedSet.EMPTY;
  /** The set that the followers know, but for the newcomers. */
  #told: ScopedSet = ScopedSet.EMPTY;

  /** `names`: of its subscriptions. */
  constructor(options: ScopeOptions, names: Iterable<string>) {
    const { key, self, interests, index, like, from, onSought } = options;
    from?.flush();
    this.key = key;
    this.#options = options;
    this.#index = index;
    this.#interests = interests;
    this.#needs = new Needs({
      self,
      index,
      isSelfNeeded: interests.self,
      onSought: (paths, isSought) => onSought(this, paths, isSought),
      onChange: (items) => this.#touch(items),
      from: from === undefined ? undefined : from.#needs,
    });
    if (from !== undefined) this.#copy(from);
    else if (like !== undefined) {
      this.#set = like.set;
      this.#touch(index.faults);
      this.#touch(securityFor(index, self.namespace));
    } else if (interests.everything) this.#touch(index.items.values());
    else {
      for (const { kind } of FOR_ALL) this.#touch(index.ofKind.get(kind));
      this.#touch(securityFor(index, self.namespace));
    }
    for (const name of names) this.#add(name);
  }

  get self(): ScopeOf {
    return this.#options.self;
  }

  get interests(): Interests {
    return this.#interests;
  }

  get set(): ScopedSet {
    this.flush();
    return this.#set;
  }

  /** How many Services calls may lead to; 0 where everything is asked for. */
  get services(): number {
    this.flush();
    return this.#needs.services.size;
  }

  get questions(): number {
    return this.#questions.size;
  }

  /** Whether calls to the Service are decided as with the whole mesh. */
  leadsTo(path: string): boolean {
    if (!this.#interests.everything) {
      this.flush();
      return this.#needs.services.has(path);
    }
    const service = this.#index.service(path);
    return service !== undefined && sees(this.self, service);
  }

  join(follower: Follower): void {
    this.followers.add(follower);
    this.#newcomers.add(follower);
    this.#options.onStale(this);
  }

  leave(follower: Follower): void {
    this.followers.delete(follower);
    this.#newcomers.delete(follower);
  }

  /** Nobody follows it any more. */
  close(): void {
    this.#needs.close();
    for (const answer of this.#questions.values())
      this.#options.answers.leave(answer, this);
  }

  /** Its one follower asks for other Services or questions; `interests`, with `key`: as they are then. */
  alter(change: InterestChange, interests: Interests, key: string): void {
    this.key = key;
    this.#interests = interests;
    for (const name of change.add) this.#add(name);
    for (const name of change.remove) this.#remove(name);
    this.#options.onStale(this);
  }

  /** What is in the set may be another version, or in it no more, or now. */
  touch(items: Iterable<Item>): void {
    this.#touch(items);
    this.#options.onStale(this);
  }

  /** Which Services the sought ones lead to may have changed. */
  outdateClosure(): void {
    this.#needs.outdateClosure();
    this.#options.onStale(this);
  }

  /** Which Services select the workload may have changed. */
  outdateServed(): void {
    this.#needs.outdateServed();
    this.#options.onStale(this);
  }

  outdated(answer: Answer): void {
    this.#outdated.add(answer);
    this.#options.onStale(this);
  }

  flush(): void {
    for (const answer of this.#outdated) this.#take(answer);
    empty(this.#outdated);
    if (!this.#interests.everything) this.#needs.flush();
    for (const item of this.#touched) this.#set = this.#judged(item);
    empty(this.#touched);
    const isKnown = this.#set === this.#told;
    this.#told = this.#set;
    for (const follower of isKnown ? this.#newcomers : this.followers)
      follower.follow(this.#set);
    empty(this.#newcomers);
  }

  /** Its results, and the set that follows from them and from its needs. */
  #copy(from: Scope): void {
    this.#set = from.set;
    for (const [name, answer] of from.#questions) {
      answer.askers.add(this);
      this.#questions.set(name, answer);
    }
    for (const [answer, result] of from.#results)
      this.#results.set(answer, result);
  }

  #touch(items: Iterable<Item>): void {
    for (const item of items) this.#touched.add(item);
  }

  #judged(item: Item): ScopedSet {
    const { entry } = item;
    return entry !== undefined && this.#has(item)
      ? this.#set.with(entry)
      : this.#set.without(item.slot);
  }

  #has(item: Item): boolean {
    const { resource } = item;
    if (resource === undefined) return false;
    return this.#interests.everything
      ? isInScope(this.self, item, resource, this.#index)
      : isNeeded(this.self, this.#needs, item, resource, this.#index);
  }

  #add(name: string): void {
    const interest = parseInterest(name);
    if (interest === undefined) return;
    if (interest.kind === "service")
      this.#needs.addRoot(`${interest.namespace}/${interest.name}`);
    if (!isQuestion(interest)) return;
    const { namespace } = this.self;
    const answer = this.#options.answers.ask(namespace, name, interest, this);
    this.#questions.set(name, answer);
    this.#outdated.add(answer);
  }

  #remove(name: string): void {
    const interest = parseInterest(name);
    if (interest?.kind === "service")
      this.#needs.dropRoot(`${interest.namespace}/${interest.name}`);
    const answer = this.#questions.get(name);
    if (answer === undefined) return;
    this.#questions.delete(name);
    this.#outdated.delete(answer);
    const result = this.#results.get(answer);
    this.#results.delete(answer);
    this.#options.answers.leave(answer, this);
    if (result === undefined) return;
    this.#set = this.#set.without(result.entry.slot);
    for (const path of result.services) this.#needs.dropRoot(path);
  }

  #take(answer: Answer): void {
    const before = this.#results.get(answer);
    const { result } = answer;
    if (result === before) return;
    this.#results.set(answer, result);
    this.#set = this.#set.with(result.entry);
    for (const path of result.services) this.#needs.addRoot(path);
    for (const path of before?.services ?? []) this.#needs.dropRoot(path);
  }
}

function* securityFor(index: MeshIndex, namespace: string): Generator<Item> {
  yield* index.security.get(namespace);
  if (namespace !== ROOT_NAMESPACE) yield* index.security.get(ROOT_NAMESPACE);
}

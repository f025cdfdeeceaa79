/** What hosts and addresses lead to: found once for all sidecars of a namespace that ask, and again when a change concerns it. */
import { Multimap } from "../../../core/multimap.ts";
import type { Question } from "../../../push/interest.ts";
import { keysOfQuestion, servicesFor } from "./closure.ts";
import { lookupEntry, type Entry, type Item } from "./item.ts";
import type { MeshIndex } from "./mesh-index.ts";

/** A value: another result is another object. */
export interface Result {
  /** "NAMESPACE/NAME" */
  readonly services: readonly string[];
  readonly entry: Entry;
}

/** A listener that wants to know of another result. */
export interface Asker {
  outdated(answer: Answer): void;
}

export class Answer {
  readonly askers: Set<Asker> = new Set();
  /** Namespace of those that ask. */
  readonly namespace: string;
  readonly question: Question;
  readonly #item: Item;
  readonly #index: MeshIndex;
  #result: Result | undefined;
  #stale = false;

  constructor(
    namespace: string,
    question: Question,
    item: Item,
    index: MeshIndex,
  ) {
    this.namespace = namespace;
    this.question = question;
    this.#item = item;
    this.#index = index;
  }

  get name(): string {
    return this.#item.name;
  }

  /** As the mesh is now. */
  get result(): Result {
    const known = this.#result;
    if (known !== undefined && !this.#stale) return known;
    this.#stale = false;
    const services = servicesFor(this.question, this, this.#index);
    const entry = lookupEntry(this.#item, services);
    if (known?.entry.version === entry.version) return known;
    return (this.#result = { services, entry });
  }

  outdate(): void {
    this.#stale = true;
    for (const asker of this.askers) asker.outdated(this);
  }
}

export class Answers {
  readonly #index: MeshIndex;
  readonly #newItem: (name: string) => Item;
  /** By the namespace of those that ask, and the question. */
  readonly #all = new Map<string, Answer>();
  readonly #byKey = new Multimap<string, Answer>();

  constructor(index: MeshIndex, newItem: (name: string) => Item) {
    this.#index = index;
    this.#newItem = newItem;
  }

  /** Until `leave`. `name`: of the question's subscription. */
  ask(
    namespace: string,
    name: string,
    question: Question,
    asker: Asker,
  ): Answer {
    const key = `${namespace} ${name}`;
    let answer = this.#all.get(key);
    if (answer === undefined) {
      const item = this.#newItem(name);
      answer = new Answer(namespace, question, item, this.#index);
      this.#all.set(key, answer);
      for (const each of keysOfQuestion(question))
        this.#byKey.add(each, answer);
    }
    answer.askers.add(asker);
    return answer;
  }

  leave(answer: Answer, asker: Asker): void {
    answer.askers.delete(asker);
    if (answer.askers.size > 0) return;
    this.#all.delete(`${answer.namespace} ${answer.name}`);
    for (const each of keysOfQuestion(answer.question))
      this.#byKey.delete(each, answer);
  }

  /** Something has changed that these keys concern. */
  outdate(keys: Iterable<string>): void {
    for (const key of keys)
      for (const answer of this.#byKey.get(key)) answer.outdate();
  }

  outdateAll(): void {
    for (const answer of this.#all.values()) answer.outdate();
  }
}

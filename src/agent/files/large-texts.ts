/** Parses documents that are large by themselves in a thread, which ends when it is idle: on the event loop each would be parsed in one go. */
import { Worker } from "node:worker_threads";
import type { Cancel, Clock } from "../../core/clock.ts";
import { messageOf, systemCode } from "../../core/errors.ts";
import type { Pause } from "../../core/slices.ts";
import type { Resource } from "../../resources/envelope.ts";
import type { Finding } from "../../resources/lint.ts";
import type { Position } from "../../resources/yaml.ts";
import type { ReceivedResources } from "../staging.ts";
import { entryOf, type Content, type Entry } from "./parts.ts";

export type Question =
  /** What is asked next is of this text. */
  | { readonly ask: "parse"; readonly text: Uint8Array }
  /** The next of its resources and findings. */
  | { readonly ask: "more" }
  | { readonly ask: "locate"; readonly wanted: Wanted };

export interface Answers {
  readonly parse: undefined;
  readonly more: Portion;
  readonly locate: Position;
}

export interface Portion {
  /** As JSON, in order. */
  readonly resources: readonly string[];
  readonly findings: readonly Finding[];
  readonly more: boolean;
}

/** A field of one of the text's resources. */
export interface Wanted {
  readonly index: number;
  readonly path: string;
  readonly at?: "key" | undefined;
}

export interface LargeText {
  /** Digest of the text. */
  readonly key: string;
  readonly text: Buffer;
}

/** The last question, while it has no answer. */
interface Waiting {
  resolve(answer: unknown): void;
  reject(error: Error): void;
}

/** Bytes of a document that is parsed within 4 ms. */
const LARGE = 8 * 1024;
/** Bytes up to which a thread costs more than it brings while nothing is served yet. */
const LARGE_AT_START = 1024 * 1024;
/** Bytes that are copied at a time. */
const PIECE = 256 * 1024;
/** MiB of the heap of the thread: YAML takes some hundred times its own size. */
const MOST_MEMORY = 1024;
/** Milliseconds. */
const IDLE = 2000;
const CALLED_OFF = "the parse was called off";

/** Beside this file; the bundle has it beside its own beginning. */
const ENTRY = new URL(
  import.meta.url.endsWith(".ts")
    ? "./large-texts-thread.ts"
    : "./large-texts-thread.mjs",
  import.meta.url,
);

export class LargeTexts {
  /** Calls are served, which a long parse would hold up. */
  serving = false;
  readonly #clock: Clock;
  readonly #mostMemory: number;
  #thread: Worker | undefined;
  /** Key of the text that the thread has parsed. */
  #parsed = "";
  #closed = false;
  #waiting: Waiting | undefined;
  #cancelIdle: Cancel = () => undefined;

  /** `mostMemory`: MiB of the thread's heap. */
  constructor(clock: Clock, mostMemory: number = MOST_MEMORY) {
    this.#clock = clock;
    this.#mostMemory = mostMemory;
  }

  /** Whether the text is one for the thread. */
  has({ length }: { readonly length: number }): boolean {
    return length > (this.serving ? LARGE : LARGE_AT_START);
  }

  /** One at a time. Rejects where the thread fails. */
  async read(
    text: LargeText,
    inForce: ReceivedResources,
    pause: Pause,
  ): Promise<Content> {
    const entries: Entry[] = [];
    const findings: Finding[] = [];
    await this.#parse(text, pause);
    for (let more = true; more;) {
      const portion = await this.#ask({ ask: "more" });
      for (const json of portion.resources) {
        await pause();
        const resource = JSON.parse(json) as Resource;
        entries.push(entryOf(resource, json, entries.length, inForce));
      }
      for (const finding of portion.findings) findings.push(finding);
      more = portion.more;
    }
    return { key: text.key, entries, findings };
  }

  /** Rejects where the thread fails. */
  async locate(
    text: LargeText,
    wanted: Wanted,
    pause: Pause,
  ): Promise<Position> {
    if (this.#parsed !== text.key) await this.#parse(text, pause);
    return this.#ask({ ask: "locate", wanted });
  }

  /** Calls off what is in progress, and what is asked later. */
  close(): Promise<void> {
    this.#closed = true;
    return this.#end();
  }

  async #end(): Promise<void> {
    const thread = this.#thread;
    this.#lose(new Error(CALLED_OFF));
    await thread?.terminate();
  }

  async #parse({ key, text }: LargeText, pause: Pause): Promise<void> {
    this.#parsed = "";
    const copy = new Uint8Array(text.length);
    for (let at = 0; at < text.length; at += PIECE) {
      copy.set(text.subarray(at, at + PIECE), at);
      await pause();
    }
    await this.#ask({ ask: "parse", text: copy }, [copy.buffer]);
    this.#parsed = key;
  }

  #ask<A extends keyof Answers>(
    question: Question & { readonly ask: A },
    moved: readonly ArrayBuffer[] = [],
  ): Promise<Answers[A]> {
    if (this.#closed) return Promise.reject(new Error(CALLED_OFF));
    const thread = (this.#thread ??= this.#start());
    this.#cancelIdle();
    thread.ref();
    return new Promise((resolve, reject) => {
      this.#waiting = {
        resolve: (answer) => resolve(answer as Answers[A]),
        reject,
      };
      thread.postMessage(question, moved);
    });
  }

  #start(): Worker {
    const thread = new Worker(ENTRY, {
      resourceLimits: { maxOldGenerationSizeMb: this.#mostMemory },
    });
    const onEnd = (error: Error): void => {
      if (this.#thread === thread)
        this.#lose(
          new Error(reasonOf(error, this.#mostMemory), { cause: error }),
        );
    };
    thread.on("error", onEnd);
    thread.on("exit", (code) =>
      onEnd(new Error(`its thread ended with ${code}`)),
    );
    thread.on("message", (answer: unknown) => {
      // An idle thread does not keep the process alive.
      thread.unref();
      this.#cancelIdle = this.#clock.after(IDLE, () => {
        // A thread that does not end is not used any more.
        this.#end().catch(() => undefined);
      });
      const waiting = this.#waiting;
      this.#waiting = undefined;
      waiting?.resolve(answer);
    });
    return thread;
  }

  #lose(error: Error): void {
    this.#cancelIdle();
    this.#thread = undefined;
    this.#parsed = "";
    const waiting = this.#waiting;
    this.#waiting = undefined;
    waiting?.reject(error);
  }
}

function reasonOf(error: Error, mostMemory: number): string {
  return systemCode(error) === "ERR_WORKER_OUT_OF_MEMORY"
    ? `it takes more than ${mostMemory} MiB of memory to parse`
    : messageOf(error);
}

/** The store's side of its thread: calls are answered in the order in which they were made. */
import { Worker } from "node:worker_threads";
import { messageOf } from "../../core/errors.ts";
import type { Database, DatabaseOptions, Loaded } from "./database.ts";
import { StoreError } from "./store.ts";

type Name = Exclude<keyof Database, "loaded">;

export type Call = {
  readonly [N in Name]: {
    readonly name: N;
    readonly args: Parameters<Database[N]>;
  };
}[Name];

export type Reply =
  | { readonly result: unknown }
  | { readonly store: Pick<StoreError, "message" | "code" | "damaged"> }
  | { readonly defect: unknown };

interface Waiting {
  readonly resolve: (result: unknown) => void;
  readonly reject: (thrown: unknown) => void;
}

/** The bundle has it beside this file. */
const ENTRY = new URL(
  import.meta.url.endsWith(".ts")
    ? "./database-thread.ts"
    : "./database-thread.mjs",
  import.meta.url,
);

export class DatabaseClient {
  readonly #thread: Worker;
  readonly #waiting: Waiting[] = [];
  /** Why it ended. */
  #end: StoreError | undefined;
  readonly loaded: Promise<Loaded>;

  constructor(options: DatabaseOptions) {
    this.#thread = new Worker(ENTRY, {
      name: "store",
      workerData: options,
      // It needs none of what the process was started with.
      execArgv: [],
    });
    this.#thread.on("message", (reply: Reply) => this.#settle(reply));
    this.#thread.on("error", (error) => this.#lose(messageOf(error)));
    this.#thread.on("exit", (code) => this.#lose(`exit code ${code}`));
    // The thread's own type: see `database-thread.ts`.
    this.loaded = this.#wait() as Promise<Loaded>;
  }

  /** Rejects with StoreError where the machine does not let it be done. */
  call<N extends Name>(
    name: N,
    ...args: Parameters<Database[N]>
  ): Promise<ReturnType<Database[N]>> {
    if (this.#end !== undefined) return Promise.reject(this.#end);
    const answered = this.#wait();
    this.#thread.postMessage({ name, args });
    // The thread's own type: see `database-thread.ts`.
    return answered as Promise<ReturnType<Database[N]>>;
  }

  async close(): Promise<void> {
    await this.call("close");
    await this.#thread.terminate();
  }

  /** What waits keeps the process alive, and an idle thread does not. */
  #wait(): Promise<unknown> {
    const { promise, resolve, reject } = Promise.withResolvers<unknown>();
    this.#waiting.push({ resolve, reject });
    this.#thread.ref();
    return promise;
  }

  #settle(reply: Reply): void {
    const waiting = this.#waiting.shift();
    if (this.#waiting.length === 0) this.#thread.unref();
    if ("result" in reply) waiting?.resolve(reply.result);
    else if ("defect" in reply) waiting?.reject(reply.defect);
    else waiting?.reject(new StoreError(reply.store.message, reply.store));
  }

  #lose(reason: string): void {
    this.#end ??= new StoreError(
      `the thread of the store ended: ${reason}; restart the control plane`,
    );
    for (const { reject } of this.#waiting.splice(0)) reject(this.#end);
  }
}

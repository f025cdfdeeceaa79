/** A stream's first request, put together where it comes in several messages, within a bound. */
import type { DeltaRequest } from "../../push/messages.ts";
import { MOST_STATED, NODE, statedBytes } from "../../push/names.ts";

/** What has come so far, or why it is taken no further. */
export type Greeted =
  | { readonly kind: "whole"; readonly request: DeltaRequest }
  | { readonly kind: "part" }
  | { readonly kind: "long"; readonly message: string };

export class Greeting {
  #first: DeltaRequest | undefined;
  #versions = new Map<string, string>();
  /** Messages that are to come. */
  #left = 0;
  #bytes = 0;

  /** One message after the other, up to the one that makes it whole or too long. */
  add(message: DeltaRequest): Greeted {
    if (this.#first === undefined) {
      const parts = Number(message.node?.metadata[NODE.parts] ?? 0);
      if (!(parts > 0)) return { kind: "whole", request: message };
      this.#first = message;
      this.#left = parts;
    } else this.#left -= 1;
    for (const [name, version] of message.initialVersions) {
      this.#bytes += statedBytes(name, version);
      if (this.#bytes > MOST_STATED)
        return {
          kind: "long",
          message: `over ${MOST_STATED} bytes of names and versions that are held: leave them out, and all is sent`,
        };
      this.#versions.set(name, version);
    }
    if (this.#left > 0) return { kind: "part" };
    const request = { ...this.#first, initialVersions: this.#versions };
    // The session keeps what was said for as long as it needs it.
    this.#first = undefined;
    this.#versions = new Map();
    return { kind: "whole", request };
  }
}

/** How long each test file took when it last ran, kept from one run to the next. */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";

export class Durations {
  readonly #file: string;
  readonly #known: Map<string, number>;

  constructor(file: string) {
    this.#file = file;
    this.#known = read(file);
  }

  /** Milliseconds; undefined where the file never ran here. */
  of(test: string): number | undefined {
    return this.#known.get(test);
  }

  took(test: string, milliseconds: number): void {
    this.#known.set(test, Math.round(milliseconds));
  }

  /** The file was ended before it was done: twice the time is a guess that a few runs make right. */
  tookMoreThan(test: string, milliseconds: number): void {
    this.took(test, Math.max(2 * milliseconds, this.of(test) ?? 0));
  }

  save(): void {
    mkdirSync(dirname(this.#file), { recursive: true });
    writeFileSync(this.#file, JSON.stringify(Object.fromEntries(this.#known)));
  }
}

/** Nothing is known where there is no such file, or where a run was interrupted while it wrote. */
function read(file: string): Map<string, number> {
  try {
    const kept = JSON.parse(readFileSync(file, "utf8")) as object;
    return new Map(
      Object.entries(kept).flatMap(([test, time]: [string, unknown]) =>
        typeof time === "number" ? [[test, time]] : [],
      ),
    );
  } catch {
    return new Map();
  }
}

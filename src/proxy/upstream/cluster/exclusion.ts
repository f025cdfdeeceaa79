/** Which endpoints are kept out of balancing: those that are ejected, doubted, or failing their health checks. */
import type { Ejections } from "../../../policy/balance/eligible.ts";
import type { OutlierDetector } from "../../../policy/outlier.ts";
import type { Health } from "./health.ts";
import type { StallWatch } from "./stall-watch.ts";

/** A class, since each pick asks for the version: V8 keeps an object literal that has getters as a dictionary. */
export class Exclusion implements Ejections {
  readonly #detector: OutlierDetector;
  readonly #health: Pick<Health, "version" | "isHealthy">;
  readonly #stalls: () => Pick<StallWatch, "isOffered">;

  constructor(
    detector: OutlierDetector,
    health: Pick<Health, "version" | "isHealthy">,
    stalls: () => Pick<StallWatch, "isOffered">,
  ) {
    this.#detector = detector;
    this.#health = health;
    this.#stalls = stalls;
  }

  get version(): number {
    return this.#detector.version + this.#health.version;
  }

  until(key: string): number {
    return this.#health.isHealthy(key) && !this.#detector.isHeld(key)
      ? this.#detector.until(key)
      : Number.POSITIVE_INFINITY;
  }

  onProbation(key: string): boolean {
    return this.#detector.onProbation(key);
  }

  isOffered(key: string): boolean {
    return this.#stalls().isOffered(key);
  }
}

/** A trickle of customers: a page twice a second, a purchase every five seconds. */
import type { Clock } from "../core/clock.ts";
import { fetchText } from "./http.ts";

const PAGE_EVERY = 500;
const PURCHASE_EVERY = 5000;

export function startLoad(
  web: string,
  clock: Clock,
  stop: AbortSignal,
): { close(): void } {
  // A failed call is part of the show: it is in the logs, the metrics and the traces.
  const ignore = (): undefined => undefined;
  const pages = clock.every(PAGE_EVERY, () => {
    fetchText(`${web}/`, stop).catch(ignore);
  });
  const purchases = clock.every(PURCHASE_EVERY, () => {
    fetchText(`${web}/buy`, stop, {
      method: "POST",
      body: { product: "rope" },
    }).catch(ignore);
  });
  return {
    close() {
      pages();
      purchases();
    },
  };
}

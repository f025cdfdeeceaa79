/** What an earlier version took into the store and this one refuses: sidecars refuse the config with it, so a person must hear of it at the start. */
import type { Logger } from "../core/log.ts";
import { formatKey, keyOf } from "../resources/envelope.ts";
import { KINDS } from "../resources/registry.ts";
import { validate } from "../resources/validate.ts";
import type { Store } from "./store/store.ts";

/** Logs one line a resource, so many at most. */
const MOST_TOLD = 20;

export async function tellOfStoredFaults(
  store: Store,
  logger: Logger,
): Promise<void> {
  let refused = 0;
  for (const { kind } of KINDS)
    for (const resource of (await store.list(kind)).resources) {
      const validation = validate(resource);
      if (validation.ok) continue;
      refused += 1;
      if (refused > MOST_TOLD) continue;
      const [first] = validation.problems;
      logger.error(
        {
          resource: formatKey(keyOf(resource)),
          field: first?.path ?? "",
          reason: first?.message ?? "",
        },
        "a stored resource is refused by this version, and sidecars keep the config that they have until it is changed or deleted",
      );
    }
  if (refused > MOST_TOLD)
    logger.error(
      { more: refused - MOST_TOLD },
      "more stored resources are refused",
    );
}

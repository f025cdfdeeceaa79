/** An operator's word that this store may take the place of the one that sidecars know: `wherry store accept UUID`. */
import { UserError } from "../../core/errors.ts";
import type { ResourceKey } from "../../resources/envelope.ts";
import { OWN_GROUP } from "../../resources/kind.ts";
import type { Store } from "../store/store.ts";

/** A kind of the store alone. */
const KIND = "StoreAcceptance";

export interface Acceptance {
  /** Whether a sidecar that knows this store, at whatever revision, is to go on with ours. */
  of(known: { readonly store: string }): boolean;
  /** Throws UserError where `storeId` is not this store's. */
  accept(storeId: string): Promise<void>;
}

/**
 * For another store's sidecars the word is kept in this store, so that one that was away hears it too. For this store's own later
 * past (a backup was restored) it holds while this process lives: kept in the store, it would come back with the next backup.
 */
export async function openAcceptance(store: Store): Promise<Acceptance> {
  const key: ResourceKey = { kind: KIND, namespace: "", name: store.id };
  let kept = (await store.get(key)) !== undefined;
  let said = false;
  return {
    of: (known) => said || (kept && known.store !== store.id),
    async accept(storeId) {
      if (storeId !== store.id)
        throw new UserError(
          `this control plane's store is ${store.id}, not ${storeId}: accept that one, if it is the one that the mesh shall follow`,
        );
      await store.put(
        {
          apiVersion: `${OWN_GROUP}/v1alpha1`,
          kind: KIND,
          metadata: { name: store.id },
          spec: {},
        },
        undefined,
      );
      kept = true;
      said = true;
    },
  };
}

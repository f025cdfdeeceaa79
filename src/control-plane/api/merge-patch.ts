/** JSON merge patch, RFC 7396: objects merge, null removes, everything else replaces. */
import { isObject } from "../../core/text/json.ts";

/** The patched value; neither argument is changed. */
export function mergePatch(target: unknown, patch: unknown): unknown {
  if (!isObject(patch)) return patch;
  const merged = new Map(isObject(target) ? Object.entries(target) : []);
  for (const [name, value] of Object.entries(patch)) {
    if (value === null) merged.delete(name);
    else merged.set(name, mergePatch(merged.get(name), value));
  }
  // Defines own properties, so that a member called "__proto__" is data here as anywhere.
  return Object.fromEntries(merged);
}

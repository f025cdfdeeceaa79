/** Long work in slices: what would hold the event loop lets others go first in between. */

/** Resolves once the event loop has served what was there. */
export function nextTurn(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}

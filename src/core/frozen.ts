/** Data that nobody can change any more: keepers need no copy. */

/** Freezes `value` and all that is in it, which must be plain data without circles. */
export function deepFreeze<T extends object>(value: T): T {
  Object.freeze(value);
  for (const each of Object.values(value) as readonly unknown[])
    if (typeof each === "object" && each !== null) deepFreeze(each);
  return value;
}

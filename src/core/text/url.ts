/** Addresses that people give as the beginning of others. */

/** The address without slashes at its end, so that a path can follow it. */
export function withoutFinalSlashes(url: string): string {
  let end = url.length;
  while (end > 0 && url.charCodeAt(end - 1) === 0x2f) end -= 1;
  return url.slice(0, end);
}

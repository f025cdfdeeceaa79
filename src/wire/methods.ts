/** Finding the method in the bytes of a request line. */
import { METHODS } from "../core/text/methods.ts";

/** The method that text[0, length) is, as one text each, whatever sends it: what looks at it later finds it by identity. */
export function knownMethod(text: string, length: number): string | undefined {
  for (const method of METHODS)
    if (method.length === length && text.startsWith(method)) return method;
  return undefined;
}

const KNOWN: ReadonlySet<string> = new Set(METHODS);

/** Whether a method crosses the proxy. Methods are case-sensitive (RFC 9110 9.1). */
export function isKnownMethod(method: string): boolean {
  return KNOWN.has(method);
}

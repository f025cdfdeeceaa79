/** The patterns of an AuthorizationPolicy for names, hosts, paths and addresses, compiled to predicates. */
import { canonicalAuthority } from "../../core/text/authority.ts";
import { rangeBits } from "../../core/text/network.ts";
import { upperEscapes } from "../../core/text/percent.ts";

export interface Pattern {
  readonly meets: (value: string) => boolean;
  /** The one value that meets it; absent where others may. */
  readonly only?: string;
}

export type CompilePattern = (pattern: string) => Pattern;

/** Whether a value meets any of the patterns. */
export function anyOf(
  patterns: readonly Pattern[],
): (value: string) => boolean {
  const texts = new Set<string>();
  const tests: Pattern["meets"][] = [];
  for (const { meets, only } of patterns)
    if (only === undefined) tests.push(meets);
    else texts.add(only);
  const [first] = tests;
  if (first !== undefined && tests.length === 1 && texts.size === 0)
    return first;
  return (value) => texts.has(value) || tests.some((test) => test(value));
}

/** Exact, "abc*", "*abc", or "*" for present and not empty (trap 5). */
export function matchText(pattern: string): Pattern {
  if (pattern === "*") return { meets: (value) => value !== "" };
  if (pattern.endsWith("*")) return matchPrefix(pattern.slice(0, -1));
  if (pattern.startsWith("*")) {
    const suffix = pattern.slice(1);
    return { meets: (value) => value.endsWith(suffix) };
  }
  return matchExact(pattern);
}

export function matchExact(text: string): Pattern {
  return { meets: (value) => value === text, only: text };
}

function matchPrefix(text: string): Pattern {
  return { meets: (value) => value.startsWith(text) };
}

/** Hosts: without port and without regard to case, in the one form that requests have (`core/text/authority.ts`). */
export function matchHost(pattern: string): Pattern {
  const name = pattern.replace(/:([0-9]+|\*)$/, "");
  return matchText(
    canonicalAuthority(name) ?? name.toLowerCase().replace(/\.$/, ""),
  );
}

/** An address or a range, compared with the bits of an address (`addressBits`). */
export function matchRange(range: string): Pattern {
  const bits = rangeBits(range);
  return bits === undefined ? { meets: () => false } : matchPrefix(bits);
}

/** "%c3" and "%C3" are one byte to the application: paths come with escapes in upper case, so patterns are compared so. */
export function matchPath(pattern: string): Pattern {
  const canonical = upperEscapes(pattern);
  return pattern.includes("{")
    ? matchTemplate(canonical)
    : matchText(canonical);
}

/** "{*}" is one element that is not empty, "{**}" the rest of the path or any part of it, slashes and all. */
function matchTemplate(template: string): Pattern {
  const wanted = template.split("/");
  const open = wanted.indexOf("{**}");
  const head = open < 0 ? wanted : wanted.slice(0, open);
  const tail = open < 0 ? [] : wanted.slice(open + 1);
  const beginning = template.slice(0, template.indexOf("{"));
  const end = template.slice(template.lastIndexOf("}") + 1);
  const meets = (value: string): boolean => {
    if (!value.startsWith(beginning) || !value.endsWith(end)) return false;
    const elements = value.split("/");
    if (open < 0 && elements.length !== wanted.length) return false;
    // "{**}" stands for one element at least, which may be empty: "/a/{**}" takes "/a/" and not "/a".
    if (open >= 0 && elements.length < head.length + 1 + tail.length)
      return false;
    const offset = elements.length - tail.length;
    return (
      head.every((want, index) => takes(want, elements[index])) &&
      tail.every((want, index) => takes(want, elements[offset + index]))
    );
  };
  return { meets };
}

function takes(want: string, element: string | undefined): boolean {
  return want === "{*}" ? element !== "" : want === element;
}
